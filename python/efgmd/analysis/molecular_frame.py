"""Tensors in the frame of the molecule they belong to."""

from dataclasses import replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from efgmd.analysis.correspondence import corresponding, spanning_triangle, superpose
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
    atoms closest (`superpose`), and their tensors are turned along. Atoms correspond that are bonded alike and lie at
    the same place when the starting geometries are laid over each other, in whatever order they are listed.

    Parameters
    ----------
    start
        Starting structure of all N atoms, molecules intact.
    framework
        Elements that belong to no molecule; their tensors stay as they are.

    Raises
    ------
    DataError
        If there is no molecule, or one whose atoms are in line, which has no frame.
    """

    def __init__(self, start: Atoms, framework: tuple[str, ...]) -> None:
        molecules = Molecules(frozenset(framework)).compute(start)
        kinds = np.array(molecules.kinds)
        if not len(kinds):
            raise DataError("a molecular frame needs molecules: name the elements of the framework (sites.framework)")
        self._molecules = molecules
        self._start = molecules.whole(start.get_scaled_positions(wrap=False)) @ start.cell.array
        # (molecules, atoms): rows of equal molecules, atoms corresponding, as positions in molecules.indices.
        self._members = [
            self._correspondence([molecules.members(int(number)) for number in np.flatnonzero(kinds == kind)])
            for kind in dict.fromkeys(kinds)
        ]
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

    def _correspondence(self, rows: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Rows of equal molecules with corresponding atoms in the same column."""
        environment = np.array(self._molecules.environment)[rows[0]]
        classes = np.unique(environment, return_inverse=True)[1]
        reference = self._start[rows[0]]
        triangle = spanning_triangle(reference, classes)
        if triangle is None:
            numbers = ", ".join(str(index + 1) for index in self._molecules.indices[rows[0]])
            raise DataError(
                f"the molecule of atoms {numbers} is linear and has no frame; add its elements to the framework"
            )
        return np.array([row[corresponding(self._start[row], reference, classes, triangle)] for row in rows])

    def rotations(self, frames: TensorFrames) -> list[FloatArray]:
        """Rotations ``(n, molecules, 3, 3)`` into the frame of the first molecule, for each kind of molecule."""
        whole, cells = self._molecules.whole(frames.scaled), cell_matrix(frames.cell)
        found = []
        for group in self._members:
            positions = whole[:, group] @ cells[:, None]
            positions = positions - positions.mean(axis=2, keepdims=True)
            reference = self._start[group[0]] - self._start[group[0]].mean(axis=0)
            found.append(superpose(positions, reference))
        return found

    def apply(self, frames: TensorFrames) -> TensorFrames:
        """The frames with the tensors of molecules turned into the molecular frame."""
        efg = frames.efg.copy()
        for group, rotations in zip(self._groups, self.rotations(frames), strict=True):
            efg[:, group] = efg[:, group] @ six_rotation(rotations)
        return replace(frames, efg=efg)
