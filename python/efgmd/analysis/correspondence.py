"""Which atom of one molecule corresponds to which of another."""

from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

FloatArray = NDArray[np.float64]

# A triangle spans a molecule if no corner is nearer to the opposite side than this (angstrom).
_LEAST_HEIGHT = 0.3


def superpose(positions: FloatArray, reference: FloatArray) -> FloatArray:
    """Proper rotations ``(..., 3, 3)`` that bring positions closest to a reference (W. Kabsch, Acta Cryst. A 32, 922
    (1976)).

    Parameters
    ----------
    positions, reference
        Of shape ``(..., n, 3)`` and ``(n, 3)``, each with its mean at the origin; ``positions @ rotation.T`` is close
        to ``reference``.
    """
    left, _, right = np.linalg.svd(np.swapaxes(positions, -1, -2) @ reference)
    signs = np.ones(left.shape[:-1])
    signs[..., 2] = np.sign(np.linalg.det(left) * np.linalg.det(right))
    return np.asarray(np.swapaxes((left * signs[..., None, :]) @ right, -1, -2))


def spanning_triangle(positions: FloatArray, classes: NDArray[np.int64]) -> tuple[int, int, int] | None:
    """Three atoms of a molecule that are not in line, of classes with as few members as possible; None if there are
    none."""
    counts = np.bincount(classes)[classes]
    triples = np.array(list(combinations(range(len(positions)), 3)), dtype=int).reshape(-1, 3)
    corners = positions[triples]
    sides = corners - np.roll(corners, 1, axis=1)
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    heights = area / np.linalg.norm(sides, axis=2).max(axis=1, initial=0)
    wide = triples[heights > _LEAST_HEIGHT]
    if not len(wide):
        return None
    best = wide[np.argmin(counts[wide].prod(axis=1))]
    return int(best[0]), int(best[1]), int(best[2])


def corresponding(
    positions: FloatArray, reference: FloatArray, classes: NDArray[np.int64], triangle: tuple[int, int, int]
) -> NDArray[np.int64]:
    """Order of the atoms of a molecule in which it can be laid over a reference best.

    Three atoms of the reference are laid over every three of the same classes in the molecule. The others then
    correspond to the nearest of their class, and the trial with the smallest deviation wins. So atoms that are bonded
    alike may be listed in any order, and a mirror image corresponds as well as it can.

    Parameters
    ----------
    positions, reference
        Of shape ``(n, 3)``, angstrom, not broken up.
    classes
        Of shape ``(n,)``, the same for both: only atoms of one class can correspond.
    triangle
        Three atoms of the reference that are not in line (`spanning_triangle`).

    Returns
    -------
    ndarray of shape ``(n,)``
        ``positions[order]`` corresponds to ``reference``.
    """
    forbidden = np.where(classes[:, None] == classes, 0.0, np.inf)
    corners = reference[list(triangle)]
    best, least = np.arange(len(positions)), np.inf
    for trial in product(*(np.flatnonzero(classes == classes[corner]) for corner in triangle)):
        if len(set(trial)) < 3:
            continue
        origin = positions[list(trial)].mean(axis=0)
        turn = superpose(positions[list(trial)] - origin, corners - corners.mean(axis=0))
        laid = (positions - origin) @ turn.T + corners.mean(axis=0)
        squares = ((reference[:, None] - laid) ** 2).sum(axis=2) + forbidden
        order = linear_sum_assignment(squares)[1]
        deviation = _deviation(positions[order], reference)
        if deviation < least:
            best, least = order, deviation
    return best


def _deviation(positions: FloatArray, reference: FloatArray) -> float:
    positions, reference = positions - positions.mean(axis=0), reference - reference.mean(axis=0)
    return float(((positions @ superpose(positions, reference).T - reference) ** 2).sum())
