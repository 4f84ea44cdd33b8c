"""What entry points share: one-line errors, sweeps, commands."""
