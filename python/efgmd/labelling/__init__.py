"""First-principles labels: frames run through a density-functional code for EFG tensors, forces and energies."""
