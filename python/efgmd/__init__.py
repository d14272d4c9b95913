"""Quadrupolar couplings from molecular dynamics: field gradients inside LAMMPS runs, and what NMR sees of them."""

__version__ = "0.1.0"
