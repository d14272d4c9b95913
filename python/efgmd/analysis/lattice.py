"""Mean lattice parameters with sampling errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efgmd.analysis.statistics import BlockAverage, Estimate
from efgmd.campaign.sampling import cell_matrix
from efgmd.errors import DataError

FloatArray = NDArray[np.float64]


def lattice_parameters(cell: ArrayLike) -> FloatArray:
    """Lengths a, b, c (angstrom) and angles alpha, beta, gamma (degrees), of shape ``(..., 6)``.

    Parameters
    ----------
    cell
        lx ly lz xy xz yz, of shape ``(..., 6)``.
    """
    vectors = cell_matrix(cell)
    lengths = np.linalg.norm(vectors, axis=-1)
    unit = vectors / lengths[..., None]
    cosines = [np.sum(unit[..., i, :] * unit[..., j, :], axis=-1) for i, j in ((1, 2), (0, 2), (0, 1))]
    return np.concatenate([lengths, np.degrees(np.arccos(np.stack(cosines, axis=-1)))], axis=-1)


@dataclass(frozen=True)
class LatticeMeans:
    """Mean lattice of one temperature.

    Attributes
    ----------
    parameters
        a b c alpha beta gamma of the simulated cell (angstrom, degrees).
    per_cell
        a b c divided by the number of pseudo-cubic cells along each axis, angstrom.
    volume
        angstrom^3, of the simulated cell.
    """

    parameters: Estimate
    per_cell: Estimate
    volume: Estimate


class LatticeAverage:
    """Averages the cell over a run.

    Parameters
    ----------
    cells
        Pseudo-cubic cells along the axes of the simulated cell.
    """

    def __init__(self, cells: tuple[int, int, int]) -> None:
        self._cells = np.asarray(cells, dtype=np.float64)
        self._means: LatticeMeans | None = None

    def compute(self, cell: ArrayLike) -> "LatticeAverage":
        """Average a series of cells lx ly lz xy xz yz, of shape ``(n, 6)``."""
        series = lattice_parameters(cell)
        volume = np.abs(np.linalg.det(cell_matrix(cell)))
        self._means = LatticeMeans(
            BlockAverage().compute(series).estimate,
            BlockAverage().compute(series[:, :3] / self._cells).estimate,
            BlockAverage().compute(volume).estimate,
        )
        return self

    @property
    def means(self) -> LatticeMeans:
        """The averages.

        Raises
        ------
        DataError
            Before `compute`.
        """
        if self._means is None:
            raise DataError("call compute(cell) before asking for its results")
        return self._means


_WINDOWS = 8
_SIGNIFICANT = 4.0


def unique_axes(cell: ArrayLike, cells: tuple[int, int, int]) -> list[str | None]:
    """Which axis of a pseudo-cubic cell stands out in each eighth of a run.

    A small flexible cell can exchange its unique axis between x, y and z; tensors averaged over such a run belong to no
    single crystal.

    Parameters
    ----------
    cell
        lx ly lz xy xz yz in time order, of shape ``(n, 6)``.
    cells
        Pseudo-cubic cells along the axes.

    Returns
    -------
    list
        ``a``, ``b`` or ``c`` for each window, None where no axis differs from the mean of the others by four standard
        errors. Empty for runs of fewer than four samples a window.
    """
    lengths = lattice_parameters(cell)[:, :3] / np.asarray(cells, dtype=np.float64)
    if len(lengths) < 4 * _WINDOWS:
        return []
    against_others = lengths @ (1.5 * np.eye(3) - 0.5)  # each length minus the mean of the other two
    found: list[str | None] = []
    for window in np.array_split(against_others, _WINDOWS):
        estimate = BlockAverage().compute(window).estimate
        axis = int(np.argmax(np.abs(estimate.mean)))
        clear = abs(estimate.mean[axis]) > _SIGNIFICANT * estimate.error[axis]
        found.append("abc"[axis] if clear else None)
    return found
