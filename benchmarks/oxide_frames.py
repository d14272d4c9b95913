"""Distorted cells of four oxides: frames for labels that have nothing to do with CH3NH3PbI3.

usage: python benchmarks/oxide_frames.py OUT.xyz [FRAMES OF EACH]
Corundum, alpha-quartz, alpha-cristobalite, spinel; each cell is strained by up to 3 %, each atom displaced at random
by 0.02 to 0.08 angstrom. Cells and positions are those of experiment (R. W. G. Wyckoff, Crystal Structures, 2nd ed.).
"""

import sys

import numpy as np
from ase import Atoms
from ase.io import write
from ase.spacegroup import crystal

#: Space group, lattice (angstrom, degrees), and position of each inequivalent atom.
OXIDES = {
    "corundum": (167, (4.759, 4.759, 12.991, 90, 90, 120), {"Al": (0, 0, 0.3522), "O": (0.3063, 0, 0.25)}),
    "quartz": (154, (4.913, 4.913, 5.405, 90, 90, 120), {"Si": (0.4699, 0, 2 / 3), "O": (0.4141, 0.2681, 0.7854)}),
    "cristobalite": (92, (4.972, 4.972, 6.922, 90, 90, 90), {"Si": (0.3003, 0.3003, 0), "O": (0.2392, 0.1044, 0.1787)}),
    "spinel": (227, (8.083,) * 3 + (90,) * 3, {"Mg": (1 / 8,) * 3, "Al": (1 / 2,) * 3, "O": (0.2624,) * 3}),
}


def primitive(name: str) -> Atoms:
    """The primitive cell of an oxide."""
    group, lattice, sites = OXIDES[name]
    return crystal(
        list(sites),
        list(sites.values()),
        spacegroup=group,
        cellpar=lattice,
        setting=2 if group == 227 else 1,
        primitive_cell=True,
    )


def main():
    rng = np.random.default_rng(0)
    frames = []
    for number in range(int(sys.argv[2]) if len(sys.argv) > 2 else 20):
        for name in OXIDES:
            atoms = primitive(name)
            strain = rng.uniform(-0.03, 0.03, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
            atoms.positions += rng.normal(scale=rng.uniform(0.02, 0.08), size=atoms.positions.shape)
            atoms.info["tag"] = f"{name}run{number}"
            frames.append(atoms)
    write(
        sys.argv[1],
        [Atoms(a.symbols, a.positions, cell=a.cell, pbc=True, info={"tag": a.info["tag"]}) for a in frames],
        format="extxyz",
    )


if __name__ == "__main__":
    main()
