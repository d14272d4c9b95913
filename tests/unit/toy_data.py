"""Small labelled structures with labels that are known functions of the positions."""

import numpy as np
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from vesin import NeighborList

ELEMENTS = ("Ne", "Ar")
#: Hyperparameters that keep a model tiny.
TINY = {"cutoff": 4.0, "n_radial": 4, "lmax": 2, "channels": 3, "hidden": 8}


def structure(rng, n=8, length=6.0):
    """Random periodic Ne/Ar mixture of varied composition, no two atoms closer than 2 angstrom."""
    cell = np.diag(length * rng.uniform(0.97, 1.03, 3)) + rng.normal(0, 0.1, (3, 3))
    positions: list[np.ndarray] = []
    while len(positions) < n:
        trial = rng.uniform(size=3) @ cell
        atoms = Atoms(f"Ne{len(positions) + 1}", [*positions, trial], cell=cell, pbc=True)
        if not positions or atoms.get_distances(-1, range(len(positions)), mic=True).min() > 2.0:
            positions.append(trial)
    symbols = rng.choice(ELEMENTS, n)
    symbols[0] = "Ne"
    symbols[1] = "Ar"
    return Atoms(list(symbols), positions=positions, cell=cell, pbc=True)


def tensors(atoms):
    """Symmetric traceless tensors from the neighbours within 4 angstrom, larger on Ar; of shape ``(N, 3, 3)``."""
    search = NeighborList(cutoff=4.0, full_list=True)
    i, vectors, distances = search.compute(atoms.positions, atoms.cell.array, True, quantities="iDd")
    weight = (1 - distances / 4.0) ** 2 / distances**2
    outer = weight[:, None, None] * (vectors[:, :, None] * vectors[:, None, :])
    outer -= np.trace(outer, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
    result = np.zeros((len(atoms), 3, 3))
    np.add.at(result, i, outer)
    return result * np.where(np.array(atoms.get_chemical_symbols()) == "Ar", 3.0, 1.0)[:, None, None]


def frame(rng, tag, references=(-2.0, -5.0)):
    """Structure with Lennard-Jones energy (plus references per element), forces and stress, EFG tensors and a tag."""
    atoms = structure(rng)
    lj = LennardJones(sigma=2.2, epsilon=0.05, rc=4.0, smooth=True)
    lj.calculate(atoms, ["energy", "forces", "stress"])
    offset = sum(references[ELEMENTS.index(symbol)] for symbol in atoms.get_chemical_symbols())
    atoms.calc = SinglePointCalculator(
        atoms, energy=lj.results["energy"] + offset, forces=lj.results["forces"], stress=lj.results["stress"]
    )
    atoms.new_array("efg", tensors(atoms).reshape(-1, 9))
    atoms.info["tag"] = tag
    return atoms


def write_frames(path, runs=6, per_run=2, seed=0):
    """Write frames of several runs as extended XYZ and return them; tags are run0-0, run0-1, run1-0, ..."""
    rng = np.random.default_rng(seed)
    frames = [frame(rng, f"run{run}-{k}") for run in range(runs) for k in range(per_run)]
    write(path, frames, format="extxyz")
    return frames
