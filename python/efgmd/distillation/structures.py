"""Files of frames, perturbed structures, and the check that a configuration of the dynamics makes sense."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import iread, write
from ase.neighborlist import natural_cutoffs, neighbor_list

from efgmd.distillation.config import Perturbation
from efgmd.files import replacing

#: What some calculators start from, arrays of ASE.
INITIAL = ("initial_magmoms", "initial_charges")


def bare(atoms: Atoms) -> Atoms:
    """Elements, positions and periodic cell, with starting magnetic moments and charges where there are any."""
    return with_initial(Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True), atoms)


def with_initial(atoms: Atoms, start: Atoms) -> Atoms:
    """Give atoms the starting magnetic moments and charges of others of the same order; returns them."""
    for name in INITIAL:
        if start.has(name):
            atoms.set_array(name, start.get_array(name))
    return atoms


def write_all(path: Path, frames: Sequence[Atoms]) -> None:
    """Write frames, maybe none, as extended XYZ in one step, so that a file that is there is complete."""
    with replacing(path) as unfinished:
        if frames:
            write(unfinished, list(frames), format="extxyz")
        else:
            unfinished.write_text("")


def read_all(path: Path) -> list[Atoms]:
    """Frames of a file of `write_all`; none if there is no file."""
    return list(iread(path, ":", format="extxyz")) if path.exists() and path.stat().st_size else []


def perturbed(atoms: Atoms, perturbation: Perturbation, rng: np.random.Generator) -> Atoms:
    """Copy with a random symmetric strain and normally distributed displacements, both of random size."""
    copy = bare(atoms)
    strain = rng.uniform(-perturbation.strain, perturbation.strain, (3, 3))
    copy.set_cell(copy.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    width = perturbation.displacement * rng.uniform(0.1, 1)
    copy.positions += rng.normal(0, width, copy.positions.shape)
    return copy


def fault(atoms: Atoms, closest: float) -> str:
    """What is wrong with a configuration, or nothing.

    Parameters
    ----------
    atoms
        Configuration.
    closest
        Smallest distance of two atoms, as a share of the sum of their covalent radii.
    """
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        return "positions or cell are not finite"
    i, j, distances = neighbor_list("ijd", atoms, natural_cutoffs(atoms, mult=closest))
    if not len(i):
        return ""
    k = int(np.argmin(distances))
    return f"{atoms.symbols[i[k]]} and {atoms.symbols[j[k]]} are {distances[k]:.2f} angstrom apart"
