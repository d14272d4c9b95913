"""What the ASE calculators find for the structures that LAMMPS has dumped."""

from pathlib import Path

import numpy as np
from ase import Atoms
from lammps_cases import ELEMENTS, columns, efg_columns, read_dump

RELATIVE = 1e-8


def ase_results(models, atoms):
    """Energy, forces and tensors of the float64 ASE calculators of the two models in a folder."""
    from efgmd.calculators import EFGCalculator, EnergyCalculator

    atoms = atoms.copy()
    atoms.calc = EnergyCalculator(models / "energy.safetensors", dtype="float64")
    efg = EFGCalculator(models / "efg.safetensors", dtype="float64").get_property("efg", atoms)
    return atoms.get_potential_energy(), atoms.get_forces(), efg


def assert_frame_is_right(models, frame, atoms, relative=RELATIVE):
    """A dumped frame has the energy, forces and tensors that ASE finds for its positions."""
    structure = atoms.copy()
    structure.positions = columns(frame, "x", "y", "z")
    energy, forces, efg = ase_results(models, structure)
    assert abs(frame["c_energy"].sum() - energy) < relative * abs(energy)
    assert np.abs(columns(frame, "fx", "fy", "fz") - forces).max() < relative * np.abs(forces).max()
    assert np.abs(efg_columns(frame) - efg).max() < relative * np.abs(efg).max()


def dumped_structures(path, elements=ELEMENTS):
    """The structure of each frame of a dump with the columns type, x, y and z, in its own box."""
    frames, lines = read_dump(path), Path(path).read_text().splitlines()
    headers = [k for k, line in enumerate(lines) if line.startswith("ITEM: BOX BOUNDS")]
    return [dumped_structure(frame, lines[k : k + 4], elements) for frame, k in zip(frames, headers, strict=True)]


def dumped_structure(frame, header, elements):
    """One frame with the four lines that describe its box; LAMMPS gives bounds that enclose a tilted one."""
    bounds = np.array([[float(word) for word in line.split()] for line in header[1:]])
    xy, xz, yz = bounds[:, 2] if bounds.shape[1] == 3 else (0.0, 0.0, 0.0)
    low, high = bounds[:, 0], bounds[:, 1]
    low = low - [min(0, xy, xz, xy + xz), min(0, yz), 0]
    high = high - [max(0, xy, xz, xy + xz), max(0, yz), 0]
    cell = np.diag(high - low)
    cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    symbols = [elements[int(kind) - 1] for kind in frame["type"]]
    periodic = [word == "pp" for word in header[0].split()[-3:]]
    return Atoms(symbols, positions=columns(frame, "x", "y", "z") - low, cell=cell, pbc=periodic)
