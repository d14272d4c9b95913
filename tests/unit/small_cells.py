"""Small cells of noble gases, and whether tensors turn with them."""

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from e3nn import o3


def structure(seed=1, n=16, a=6.5):
    """Atoms in a small triclinic cell, not too close to each other."""
    rng = np.random.default_rng(seed)
    cell = np.array([[a, 0, 0], [0.8, a, 0], [-0.5, 0.9, a]])
    grid = np.array(np.meshgrid(*[[0.0, 0.5]] * 3)).T.reshape(-1, 3)
    places = np.concatenate([grid, grid + 0.25])[:n]
    atoms = Atoms(["Ne", "Ar"] * (n // 2), scaled_positions=places, cell=cell, pbc=True)
    atoms.positions += rng.normal(scale=0.25, size=atoms.positions.shape)
    return atoms


def rotation(improper=False):
    """Some rotation matrix, float64, or one with inversion."""
    turn = o3.matrix_x(torch.tensor(0.7)) @ o3.matrix_y(torch.tensor(-1.9)) @ o3.matrix_z(torch.tensor(0.4))
    return torch.linalg.qr(turn.double())[0] * (-1 if improper else 1)


def assert_tensors_turn(tensors, atoms, improper):
    """That ``tensors(atoms)`` ``(N, 3, 3)``, float64, turn with the atoms, to rounding."""
    turn, before = rotation(improper), tensors(atoms)
    order = np.random.default_rng(3).permutation(len(atoms))
    moved = atoms[order]
    moved.set_cell(atoms.cell.array @ turn.numpy().T)
    moved.positions = moved.positions @ turn.numpy().T + 0.7
    assert (tensors(moved) - turn @ before[order] @ turn.T).abs().max() < 1e-10 * before.abs().max()


def assert_tensors_vanish_in_cubic_crystals(tensors):
    """That ``tensors(atoms)`` ``(N, 3, 3)``, float64, are zero by symmetry, to rounding, and not where it is broken."""
    crystal = bulk("NeAr", "cesiumchloride", a=3.1)
    shaken = crystal.copy()
    shaken.positions[0, 0] += 0.2
    assert tensors(crystal).abs().max() < 1e-12
    assert tensors(shaken).abs().max() > 1e-3
