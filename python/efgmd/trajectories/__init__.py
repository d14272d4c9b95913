"""Trajectories of tensors: stores, LAMMPS dumps, and files of structures, read a few frames at a time."""
