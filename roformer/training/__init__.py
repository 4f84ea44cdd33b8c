"""From a configuration to a trained model: the plan, the loop and its side effects."""
