"""Training and evaluation of energy and EFG models."""
