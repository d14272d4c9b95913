"""The axes of a crystal that turns, or that exchanges its unique axis, followed through a run."""

from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter1d
from scipy.spatial import cKDTree

from efgmd.analysis.lattice import lattice_parameters
from efgmd.analysis.molecules import Molecules
from efgmd.campaign.sampling import cell_matrix
from efgmd.errors import DataError
from efgmd.tensors import six_rotation
from efgmd.trajectories.frames import TensorFrames

FloatArray = NDArray[np.float64]

_HYSTERESIS = 0.5
_CLEAR = 3.0


class CellFrame:
    """Tensors in a frame that turns with the cell.

    In a cell whose angles move, a crystal turns against the axes x, y, z even if its first vector stays along x. The
    rotation is the orthogonal part of the deformation from a reference cell (polar decomposition), and is undone.

    Parameters
    ----------
    reference
        lx ly lz xy xz yz of the reference, usually the mean cell, of shape ``(6,)``.
    atoms
        Mask of the atoms whose tensors are turned, of shape ``(N,)``.
    """

    def __init__(self, reference: ArrayLike, atoms: NDArray[np.bool_]) -> None:
        self._inverse, self._atoms = np.linalg.inv(cell_matrix(reference)), atoms

    def rotations(self, cell: ArrayLike) -> FloatArray:
        """Rotations ``(n, 3, 3)`` that take tensors back into the frame of the reference, for cells ``(n, 6)``."""
        deformation = np.swapaxes(self._inverse @ cell_matrix(cell), -1, -2)
        left, _, right = np.linalg.svd(deformation)
        return np.swapaxes(left @ right, -1, -2)

    def apply(self, frames: TensorFrames) -> TensorFrames:
        """The frames with their tensors turned back."""
        turned = frames.efg @ six_rotation(self.rotations(frames.cell))
        return replace(frames, efg=np.where(self._atoms[:, None], turned, frames.efg))


@dataclass(frozen=True)
class Segment:
    """Part of a run in which the unique axis stays.

    Attributes
    ----------
    first, last
        Indices of its first frame and of the one after its last.
    axis
        0, 1 or 2.
    """

    first: int
    last: int
    axis: int


class UniqueAxis:
    """Finds which axis of a pseudo-cubic cell stands out, and when that changes.

    Each length per pseudo-cubic cell less the mean of the other two is smoothed over a window. The axis changes only
    when another one stands out by more than the present one and half of the typical amount (hysteresis).

    Parameters
    ----------
    cells
        Pseudo-cubic cells along the axes of the simulated cell.
    window
        Frames to smooth over.
    """

    def __init__(self, cells: tuple[int, int, int], window: int) -> None:
        self._cells, self._window = np.asarray(cells, dtype=np.float64), max(1, window)

    def compute(self, cell: ArrayLike) -> "UniqueAxis":
        """Segment a series of cells lx ly lz xy xz yz, of shape ``(n, 6)``.

        Sets
        ----
        segments : list of Segment
            In time order, without gaps.
        amplitude : float
            Mean by which the axis stands out, angstrom per pseudo-cubic cell; negative for a short axis.
        clear : bool
            Whether it does so by more than three times its scatter. Otherwise the axis followed would be that of the
            largest fluctuation, and a cubic crystal would look tetragonal.
        """
        lengths = lattice_parameters(cell)[:, :3] / self._cells
        against_others = lengths @ (1.5 * np.eye(3) - 0.5)
        smooth = uniform_filter1d(against_others, self._window, axis=0, mode="nearest")
        strongest = np.take_along_axis(smooth, np.abs(smooth).argmax(axis=1)[:, None], axis=1)[:, 0]
        sign = 1.0 if np.median(strongest) >= 0 else -1.0
        score = sign * smooth
        margin = _HYSTERESIS * float(np.median(score.max(axis=1)))
        current = int(score[0].argmax())
        changes = [(0, current)]
        for frame, row in enumerate(score):
            best = int(row.argmax())
            if row[best] - row[current] > margin:
                current = best
                changes.append((frame, best))
        ends = [frame for frame, _ in changes[1:]] + [len(score)]
        self.segments = [Segment(first, last, axis) for (first, axis), last in zip(changes, ends, strict=True)]
        along = np.concatenate([score[part.first : part.last, part.axis] for part in self.segments])
        self.amplitude = sign * float(along.mean())
        self.clear = bool(along.mean() > _CLEAR * along.std())
        return self


@dataclass(frozen=True)
class Relabelling:
    """What takes a segment of a run onto the reference.

    Attributes
    ----------
    fractional
        Acts on fractional coordinates, of shape ``(3, 3)``; a signed permutation.
    rotation
        Acts on vectors and tensors, of shape ``(3, 3)``.
    shift
        Added to fractional coordinates, of shape ``(N, 3)``.
    target
        Atom whose place each of the N atoms takes.
    rms
        Distance between framework atoms and the places they take, angstrom.
    """

    fractional: FloatArray
    rotation: FloatArray
    shift: FloatArray
    target: NDArray[np.int64]
    rms: float


@dataclass(frozen=True)
class AxisFrame:
    """Crystal that the relabelled frames of a run are laid onto.

    Attributes
    ----------
    axis
        0, 1 or 2: which axis of the simulated cell became z.
    scaled
        Fractional coordinates of all atoms in it, of shape ``(N, 3)``.
    """

    axis: int
    scaled: FloatArray


class AxisFollower:
    """Relabels a crystal whose unique axis moves between x, y and z, so that the axis stays along z.

    For each segment the operation of the cubic crystal (a rotation and a translation) is searched that brings its mean
    framework closest to that of the longest segment. Tensors are rotated by it, and the atoms take the places that it
    maps them to.

    Parameters
    ----------
    start
        Starting structure of all N atoms, molecules intact.
    framework
        Elements of the framework; None for all.
    """

    def __init__(self, start: Atoms, framework: tuple[str, ...] | None) -> None:
        symbols = np.array(start.get_chemical_symbols())
        chosen = frozenset(framework or symbols)
        self._symbols = symbols
        self._framework = np.flatnonzero(np.isin(symbols, list(chosen)))
        self._molecules = Molecules(chosen).compute(start)

    def compute(
        self,
        steps: NDArray[np.int64],
        segments: list[Segment],
        scaled: list[FloatArray],
        cells: list[FloatArray],
        onto: AxisFrame | None = None,
    ) -> "AxisFollower":
        """Find the relabelling of each segment.

        Parameters
        ----------
        steps
            MD step of each frame, of shape ``(n,)``.
        segments
            S segments.
        scaled
            Mean unwrapped fractional coordinates ``(N, 3)`` of each.
        cells
            Mean cell lx ly lz xy xz yz of each.
        onto
            Crystal of another run to lay the frames onto, in place of the longest segment.

        Sets
        ----
        frame : AxisFrame
            The crystal that the frames are laid onto.
        relabellings : list of Relabelling
            One for each segment.

        Raises
        ------
        DataError
            When no operation maps the atoms of a segment one to one onto those of the reference.
        """
        longest = int(np.argmax([part.last - part.first for part in segments]))
        axis = segments[longest].axis
        self.frame = onto or AxisFrame(axis, scaled[longest] @ _rotations_onto_z(axis)[0].T)
        self.relabellings = [
            self._relabel(part.axis, positions, cell_matrix(cell), self.frame.scaled)
            for part, positions, cell in zip(segments, scaled, cells, strict=True)
        ]
        self._ends = steps[[part.last - 1 for part in segments]]
        return self

    def _relabel(self, axis: int, positions: FloatArray, cell: FloatArray, reference: FloatArray) -> Relabelling:
        own, places = positions[self._framework], reference[self._framework]
        symbols = self._symbols[self._framework]
        members = {name: np.flatnonzero(symbols == name) for name in dict.fromkeys(symbols)}
        trees = {name: cKDTree(_wrapped(places[chosen]), boxsize=1) for name, chosen in members.items()}
        anchors = min(members.values(), key=len)
        length = float(np.linalg.norm(cell, axis=1).mean())
        best = np.inf
        for fractional in _rotations_onto_z(axis):
            turned = own @ fractional.T
            for place in places[anchors]:
                moved = turned + (place - turned[anchors[0]])
                nearest = np.empty(len(moved), dtype=np.int64)
                for name, chosen in members.items():
                    nearest[chosen] = chosen[trees[name].query(_wrapped(moved[chosen]))[1]]
                away = places[nearest] - moved
                away -= np.round(away)
                away -= away.mean(axis=0)  # the anchor's own noise
                rms = float(np.sqrt((away**2).sum(axis=1).mean())) * length
                if rms < best - 1e-9:
                    best, kept, found = rms, (fractional, place - turned[anchors[0]]), nearest
        fractional, translation = kept
        target = np.arange(len(positions))
        target[self._framework] = self._framework[_one_to_one(found)]
        moved = positions @ fractional.T + translation
        self._map_molecules(moved, reference, target)
        shift = translation + np.round(reference[target] - moved)
        return Relabelling(fractional, _upright_rotation(fractional @ cell), shift, target, best)

    def _map_molecules(self, moved: FloatArray, reference: FloatArray, target: NDArray[np.int64]) -> None:
        """Molecules take the place of the molecule nearest to where the operation puts their centre."""
        molecules = self._molecules
        if not len(molecules.indices):
            return
        kinds = molecules.kinds
        members = [molecules.indices[molecules.members(number)] for number in range(len(kinds))]
        for kind in dict.fromkeys(kinds):
            numbers = np.flatnonzero(np.array(kinds) == kind)
            places = _wrapped(molecules.centres(reference)[numbers])
            found = cKDTree(places, boxsize=1).query(_wrapped(molecules.centres(moved)[numbers]))[1]
            for number, other in zip(numbers, numbers[_one_to_one(found)], strict=True):
                target[members[number]] = members[other]

    def apply(self, frames: TensorFrames) -> TensorFrames:
        """The frames, relabelled."""
        segment = self._segments(frames.step)
        efg, size = np.empty_like(frames.efg), np.empty_like(frames.abs_vzz)
        scaled = np.empty_like(frames.scaled)
        for number in np.unique(segment):
            rows = segment == number
            chosen = self.relabellings[number]
            efg[np.ix_(rows, chosen.target)] = frames.efg[rows] @ six_rotation(chosen.rotation)
            size[np.ix_(rows, chosen.target)] = frames.abs_vzz[rows]
            scaled[np.ix_(rows, chosen.target)] = frames.scaled[rows] @ chosen.fractional.T + chosen.shift
        return TensorFrames(frames.step, self.cells(frames.step, frames.cell), efg, size, scaled)

    def cells(self, steps: NDArray[np.int64], cell: FloatArray) -> FloatArray:
        """Cells lx ly lz xy xz yz ``(n, 6)`` at steps of the run, relabelled."""
        segment, turned = self._segments(steps), np.empty_like(cell)
        for number in np.unique(segment):
            rows = segment == number
            turned[rows] = _turned_cells(cell[rows], self.relabellings[number].fractional)
        return turned

    def _segments(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Segment that each step belongs to: frames are means over the steps up to theirs."""
        return np.minimum(np.searchsorted(self._ends, steps), len(self._ends) - 1)


def _wrapped(scaled: FloatArray) -> FloatArray:
    wrapped = scaled % 1.0
    return np.where(wrapped >= 1.0, 0.0, wrapped)


def _one_to_one(found: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(np.unique(found)) != len(found):
        raise DataError(
            "the atoms of one part of the run cannot be mapped onto those of another; sample longer between changes of "
            "the axis, or do not follow it (sites.follow_axis)"
        )
    return found


def _rotations_onto_z(axis: int) -> list[FloatArray]:
    """The eight proper signed permutations that take an axis to z or -z, those with the smallest turn first."""
    found = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if order[2] == axis and np.linalg.det(matrix) > 0:
                found.append(matrix)
    return sorted(found, key=lambda matrix: -np.trace(matrix))


def _upright_rotation(rows: FloatArray) -> FloatArray:
    """Rotation of vectors into the frame in which the cell vectors ``rows`` are lower triangular."""
    orthogonal, triangle = np.linalg.qr(rows.T)
    return np.sign(np.diag(triangle))[:, None] * orthogonal.T


def _turned_cells(cell: FloatArray, fractional: FloatArray) -> FloatArray:
    """Cells lx ly lz xy xz yz ``(n, 6)`` of which the vectors have been permuted by ``fractional``."""
    turned = [rows @ _upright_rotation(rows).T for rows in fractional @ cell_matrix(cell)]
    return np.array(turned)[:, (0, 1, 2, 1, 2, 2), (0, 1, 2, 0, 0, 1)]
