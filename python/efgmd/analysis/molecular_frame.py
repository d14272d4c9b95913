"""Tensors in the frame of the molecule they belong to."""

from dataclasses import replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from efgmd.analysis.molecules import Molecules
from efgmd.analysis.sites import Site
from efgmd.campaign.sampling import cell_matrix
from efgmd.errors import DataError
from efgmd.tensors import six_rotation
from efgmd.trajectories.frames import TensorFrames

FloatArray = NDArray[np.float64]


class MolecularFrame:
    """Turns tensors into the frame of their molecule, to average what the molecule's tumbling would wipe out.

    Molecules of one kind are laid over the starting geometry of the first of them, by the rotation that brings their
    atoms closest (W. Kabsch, Acta Cryst. A 32, 922 (1976)), and their tensors are turned along.

    Parameters
    ----------
    start
        Starting structure of all N atoms, molecules intact.
    framework
        Elements that belong to no molecule; their tensors stay as they are.

    Raises
    ------
    DataError
        If there is no molecule, or one of less than three atoms, which has no frame.
    """

    def __init__(self, start: Atoms, framework: tuple[str, ...]) -> None:
        molecules = Molecules(frozenset(framework)).compute(start)
        kinds = np.array(molecules.kinds)
        if not len(kinds):
            raise DataError("a molecular frame needs molecules: name the elements of the framework (sites.framework)")
        self._molecules = molecules
        self._start = molecules.whole(start.get_scaled_positions(wrap=False)) @ start.cell.array
        # (molecules, atoms): rows of equal molecules, atoms corresponding, as positions in molecules.indices.
        self._members: list[NDArray[np.int64]] = []
        for kind in dict.fromkeys(kinds):
            rows = [molecules.members(int(number)) for number in np.flatnonzero(kinds == kind)]
            self._members.append(np.array(rows))
            if len(rows[0]) < 3:
                formula = start[molecules.indices[rows[0]]].get_chemical_formula()
                raise DataError(f"molecule {formula} has fewer than three atoms and no frame; add it to the framework")
        self._groups = [molecules.indices[rows] for rows in self._members]
        neighbours = dict(zip(molecules.indices.tolist(), molecules.neighbours, strict=True))
        symbols = start.get_chemical_symbols()
        self.sites = [
            Site(
                symbols[row[0]],
                f"{neighbours[int(row[0])]} {number + 1}",
                np.array(row),
                np.tile(np.eye(3), (len(row), 1, 1)),
                np.eye(3)[None],
            )
            for group in self._groups
            for number, row in enumerate(group.T)
        ]

    def rotations(self, frames: TensorFrames) -> list[FloatArray]:
        """Rotations ``(n, molecules, 3, 3)`` into the frame of the first molecule, for each kind of molecule."""
        whole, cells = self._molecules.whole(frames.scaled), cell_matrix(frames.cell)
        found = []
        for group in self._members:
            positions = whole[:, group] @ cells[:, None]
            positions = positions - positions.mean(axis=2, keepdims=True)
            reference = self._start[group[0]] - self._start[group[0]].mean(axis=0)
            left, _, right = np.linalg.svd(np.swapaxes(positions, -1, -2) @ reference)
            signs = np.ones(left.shape[:-1])
            signs[..., 2] = np.sign(np.linalg.det(left) * np.linalg.det(right))
            found.append(np.swapaxes((left * signs[..., None, :]) @ right, -1, -2))
        return found

    def apply(self, frames: TensorFrames) -> TensorFrames:
        """The frames with the tensors of molecules turned into the molecular frame."""
        efg = frames.efg.copy()
        for group, rotations in zip(self._groups, self.rotations(frames), strict=True):
            efg[:, group] = efg[:, group] @ six_rotation(rotations)
        return replace(frames, efg=efg)
