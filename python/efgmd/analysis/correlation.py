"""Time correlation of EFG tensors: all 25 products of their five components, from series too long for memory."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft

from efgmd.errors import DataError
from efgmd.tensors import (
    cartesian_to_l2,
    cartesian_to_spherical,
    l2_basis,
    rotate,
    six_rotation,
    six_to_matrix,
)

FloatArray = NDArray[np.float64]

_MEMORY = 128 << 20
_GROUPS = 4


class TensorSeries(Protocol):
    """Evenly spaced six-vectors xx yy zz xy xz yz (a.u.) of shape ``(n, N, 6)``: an array, or a dataset on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, nuclei, 6."""

    def __getitem__(self, key: tuple[slice, slice], /) -> Any:
        """Frames and nuclei of two ranges, of shape ``(frames, nuclei, 6)``."""


def field_weights(direction: ArrayLike | None) -> FloatArray:
    """Weights that turn a correlation matrix into the functions of |m| = 0, 1, 2 along a field.

    ``G_m = sum_ab W[m, a, b] C[a, b]`` is the mean of the functions of +m and -m, ``<conj(V_m(0)) V_m(t)>`` with the
    components of `efgmd.tensors.cartesian_to_spherical` in a frame whose z axis is the field.

    Parameters
    ----------
    direction
        Of the field, of shape ``(3,)`` and any length; None for the average over all directions, in which the three
        functions are equal, a fifth of the trace of the matrix.

    Returns
    -------
    ndarray
        Of shape ``(3, 5, 5)``.

    Raises
    ------
    DataError
        When the direction is not a vector of finite length.
    """
    if direction is None:
        return np.tile(np.eye(5) / 5, (3, 1, 1))
    z = np.asarray(direction, dtype=np.float64)
    if z.shape != (3,) or not np.isfinite(z).all() or not np.linalg.norm(z) > 0:
        raise DataError(f"field direction must be three numbers, not all zero, got {direction}")
    z = z / np.linalg.norm(z)
    x = np.cross(np.eye(3)[np.argmin(np.abs(z))], z)
    x /= np.linalg.norm(x)
    frame = np.stack([x, np.cross(z, x), z])
    components = cartesian_to_spherical(rotate(l2_basis(), frame)).T  # (m = -2..2, l2 component)
    products = np.real(np.conj(components)[:, :, None] * components[:, None, :])
    symmetric = (products + np.swapaxes(products, 1, 2)) / 2
    return np.stack([symmetric[2], (symmetric[1] + symmetric[3]) / 2, (symmetric[0] + symmetric[4]) / 2])


class EFGCorrelation:
    """Correlation matrix ``C[a, b](t) = <V_a(0) V_b(t)>`` of the five components of EFG tensors, by FFT.

    The components are those of `efgmd.tensors.l2_basis`. They hold everything that relaxation needs, for every
    direction of the field. Both orders of a pair are averaged (microscopic reversibility), and so are all nuclei.
    Estimates are unbiased: each lag is divided by its number of pairs; pairs across two time blocks are not used.

    Parameters
    ----------
    interval_ps
        Time between frames.
    max_lag
        Longest lag, in frames; by default half a time block.
    blocks
        Time blocks for the errors.
    mean
        What is removed to obtain the fluctuating part: ``pooled``, the mean of all nuclei, which must be symmetry
        equivalent and turned onto each other; or ``nucleus``, the mean of each one, which takes out static differences
        but also a share ``2 tau / (run length)`` of the motion.
    """

    def __init__(
        self,
        interval_ps: float,
        max_lag: int | None = None,
        blocks: int = 4,
        mean: Literal["pooled", "nucleus"] = "pooled",
    ) -> None:
        if not interval_ps > 0 or blocks < 1 or (max_lag is not None and max_lag < 1):
            raise DataError(
                "correlation needs a positive interval, lag and number of blocks, "
                f"got {interval_ps}, {max_lag}, {blocks}"
            )
        self._interval, self._max_lag, self._blocks, self._mean_kind = interval_ps, max_lag, blocks, mean
        self._sums: FloatArray | None = None

    def compute(self, series: TensorSeries, rotations: ArrayLike | None = None) -> "EFGCorrelation":
        """Correlate a series; at most about 128 MiB of it are in memory at a time.

        Parameters
        ----------
        series
            Tensors of n frames and N nuclei, of shape ``(n, N, 6)``. Frames that do not fill a block are left out at
            the start.
        rotations
            Of shape ``(N, 3, 3)``, taking the tensors of each nucleus into the orientation of the first one, as in
            `efgmd.analysis.sites.Site`: the crystal frame. None leaves them in the frame of the series (laboratory).

        Raises
        ------
        DataError
            When the series is too short, not of that shape, or not finite.
        """
        frames, nuclei = self._check(series.shape, rotations)
        length = frames // self._blocks
        lags = self._max_lag if self._max_lag is not None else length // 2
        if length < 2 or lags < 1 or lags >= length:
            raise DataError(
                f"lags must be shorter than one of {self._blocks} blocks of the run, which has {frames} frames, and "
                f"{max(lags, 1)} frames are asked: run longer or take shorter lags (--max-lag)"
            )
        turns = np.tile(np.eye(3), (nuclei, 1, 1)) if rotations is None else np.asarray(rotations, dtype=np.float64)
        # Of shape (N, 6, 5): from six-vectors to the five components, in the turned frame.
        transform = cartesian_to_l2(six_to_matrix(six_rotation(turns)))
        start = frames - self._blocks * length
        means = np.einsum("ks,ksm->km", self._means(series, start), transform)
        removed = means if self._mean_kind == "nucleus" else np.tile(means.mean(axis=0), (nuclei, 1))
        groups = np.array_split(np.arange(nuclei), min(nuclei, _GROUPS))
        sums = np.zeros((self._blocks, len(groups), lags + 1, 5, 5))
        for block in range(self._blocks):
            rows = slice(start + block * length, start + (block + 1) * length)
            for index, members in enumerate(groups):
                sums[block, index] = self._products(series, rows, members, transform, removed, lags)
        pairs = length - np.arange(lags + 1)
        self._sums, self._means_removed = sums, removed
        self._counts = np.array([len(members) for members in groups])[:, None] * pairs
        return self

    def _check(self, shape: tuple[int, ...], rotations: ArrayLike | None) -> tuple[int, int]:
        if len(shape) != 3 or shape[2] != 6 or shape[1] < 1:
            raise DataError(f"tensor series must have shape (frames, nuclei, 6), got {shape}")
        if rotations is not None and np.shape(rotations) != (shape[1], 3, 3):
            raise DataError(f"rotations must have shape ({shape[1]}, 3, 3), got {np.shape(rotations)}")
        return shape[0], shape[1]

    def _means(self, series: TensorSeries, start: int) -> FloatArray:
        frames, nuclei = series.shape[:2]
        total = np.zeros((nuclei, 6))
        step = max(1, _MEMORY // (nuclei * 6 * 8))
        for first in range(start, frames, step):
            total += np.asarray(series[first : min(first + step, frames), :], dtype=np.float64).sum(axis=0)
        if not np.isfinite(total).all():
            raise DataError("the tensor series has values that are not finite; look for broken frames in the run")
        return np.asarray(total / (frames - start))

    @staticmethod
    def _products(
        series: TensorSeries,
        rows: slice,
        members: NDArray[np.int64],
        transform: FloatArray,
        removed: FloatArray,
        lags: int,
    ) -> FloatArray:
        """Sums of products over pairs of frames and over nuclei, of shape ``(lags + 1, 5, 5)``."""
        length = rows.stop - rows.start
        padded = next_fast_len(length + lags, real=True)
        spectrum = np.zeros((padded // 2 + 1, 5, 5))
        step = max(1, _MEMORY // (padded * 5 * 8 * 4))
        for first in range(members[0], members[-1] + 1, step):
            chunk = slice(first, min(first + step, members[-1] + 1))
            tensors = np.asarray(series[rows, chunk], dtype=np.float64)
            components = np.einsum("nks,ksm->nkm", tensors, transform[chunk]) - removed[chunk]
            waves = rfft(components, padded, axis=0)
            spectrum += np.real(np.einsum("fka,fkb->fab", np.conj(waves), waves, optimize=True))
        return np.asarray(irfft(spectrum, padded, axis=0)[: lags + 1])

    def _done(self) -> FloatArray:
        if self._sums is None:
            raise DataError("call compute(series) before asking for its results")
        return self._sums

    @property
    def lags_ps(self) -> FloatArray:
        """Lags in picoseconds, from 0, of shape ``(n_lags,)``."""
        return np.asarray(self._interval * np.arange(self._done().shape[2]))

    @property
    def matrix(self) -> FloatArray:
        """Correlation matrix of the fluctuating part, a.u.^2, of shape ``(n_lags, 5, 5)``."""
        return np.asarray(self._done().sum(axis=(0, 1)) / (self._blocks * self._counts.sum(axis=0))[:, None, None])

    @property
    def mean_matrix(self) -> FloatArray:
        """Products of the means that were removed, averaged over nuclei, a.u.^2, of shape ``(5, 5)``."""
        self._done()
        return np.asarray(self._means_removed.T @ self._means_removed) / len(self._means_removed)

    @property
    def total(self) -> FloatArray:
        """Correlation matrix of the whole tensor, which tends to `mean_matrix`, of shape ``(n_lags, 5, 5)``."""
        return self.matrix + self.mean_matrix

    def irreducible(self, direction: ArrayLike | None = None, total: bool = False) -> FloatArray:
        """Correlation functions of |m| = 0, 1, 2 along a field, or their powder average (see `field_weights`).

        Returns
        -------
        ndarray
            Of shape ``(n_lags, 3)``, a.u.^2.
        """
        matrix = self.total if total else self.matrix
        return np.asarray(np.einsum("mab,tab->tm", field_weights(direction), matrix))

    def estimate(self, statistic: Callable[[FloatArray], Any]) -> tuple[FloatArray, FloatArray]:
        """A function of the correlation matrix with its jackknife error.

        Parameters
        ----------
        statistic
            Takes a matrix of shape ``(n_lags, 5, 5)`` and returns a number or an array.

        Returns
        -------
        tuple of ndarray
            Value and standard error: the largest of the errors over time blocks, over up to four groups of nuclei, and
            over both; NaN with one block and one nucleus. Time blocks miss motion slower than a block, groups of nuclei
            what all nuclei do together.
        """
        sums = self._done()
        value = np.asarray(statistic(self.matrix), dtype=np.float64)
        error = np.full(value.shape, np.nan)
        every = np.broadcast_to(self._counts, sums.shape[:3])
        for parts, weights in (
            (sums.sum(axis=1), every.sum(axis=1)),
            (sums.sum(axis=0), every.sum(axis=0)),
            (sums.reshape(-1, *sums.shape[2:]), every.reshape(-1, every.shape[2])),
        ):
            size = len(parts)
            if size < 2:
                continue
            kept_sum, kept_count = parts.sum(axis=0) - parts, weights.sum(axis=0) - weights
            left_out = np.array([statistic(s / c[:, None, None]) for s, c in zip(kept_sum, kept_count, strict=True)])
            spread = np.sqrt((size - 1) * np.mean((left_out - left_out.mean(axis=0)) ** 2, axis=0))
            error = np.fmax(error, spread)
        return value, error
