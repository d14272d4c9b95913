"""Crystals of known symmetry, and tensors with the symmetry of a structure."""

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal

from efgmd.tensors import symmetric_traceless


def perovskite(tilt_deg, stretch=1.0, repeats=2):
    """Pb-I framework of the a0a0c- pattern; the tilt makes I4/mcm, none makes Pm-3m."""
    shift, symbols, scaled = 0.5 * np.tan(np.radians(tilt_deg)), [], []
    for cell in np.ndindex(repeats, repeats, repeats):
        origin, sign = np.array(cell), (-1) ** sum(cell)
        symbols += ["Pb", "I", "I", "I"]
        scaled += [
            origin,
            origin + np.array([0.5, sign * shift, 0]),
            origin + np.array([-sign * shift, 0.5, 0]),
            origin + np.array([0, 0, 0.5]),
        ]
    lattice = 6.28 * repeats * np.array([1, 1, stretch])
    return Atoms(symbols, scaled_positions=np.array(scaled) / repeats, cell=lattice, pbc=True)


def trigonal():
    """Lead and iodine on general positions of P3_1: turns by a third relate the atoms, and their inverses do not."""
    places = [(0.05, 0.3, 0.1), (0.4, 0.55, 0.2)]
    return crystal(["Pb", "I"], places, spacegroup=144, cellpar=[7.0, 7.0, 9.0, 90, 90, 120])


def point_charge_tensors(atoms, cutoff=7.0):
    """A tensor at every atom that has the symmetry of the structure: sum over neighbours of (3rr - r^2)/r^5."""
    i, vectors = neighbor_list("iD", atoms, cutoff)
    distance = np.linalg.norm(vectors, axis=1)[:, None, None]
    terms = (3 * vectors[:, :, None] * vectors[:, None, :] - distance**2 * np.eye(3)) / distance**5
    terms *= (1 - distance / cutoff) ** 2
    total = np.zeros((len(atoms), 3, 3))
    np.add.at(total, i, terms)
    return symmetric_traceless(total)
