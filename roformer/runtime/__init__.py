"""What depends on the machine: precision, memory, timing."""
