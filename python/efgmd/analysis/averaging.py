"""Streaming averages of tensors: of each nucleus, and of each site against time."""

import numpy as np
from numpy.typing import NDArray

from efgmd.analysis.sites import Site
from efgmd.errors import DataError
from efgmd.tensors import six_rotation
from efgmd.trajectories.frames import TensorFrames

FloatArray = NDArray[np.float64]

_SERIES_BYTES = 1 << 28


class NucleusAverage:
    """Running mean of the tensor of each nucleus.

    Frames are handed over a chunk at a time, in time order; only sums are kept.

    Parameters
    ----------
    window
        First step (exclusive) and last step (inclusive) of the frames to use; None for all.

    Examples
    --------
    >>> average = NucleusAverage()
    >>> chunk = TensorFrames(
    ...     np.array([10, 20]), np.ones((2, 6)), np.ones((2, 1, 6)), np.ones((2, 1)), np.zeros((2, 1, 3))
    ... )
    >>> average.compute(chunk).mean.shape
    (1, 6)
    """

    def __init__(self, window: tuple[int, int] | None = None) -> None:
        self._window = window
        self._reset()

    def _reset(self) -> None:
        self._count = 0
        self._sums: dict[str, FloatArray] = {}

    def compute(self, frames: TensorFrames, reset: bool = False) -> "NucleusAverage":
        """Add frames; ``reset`` forgets earlier ones first."""
        if reset:
            self._reset()
        inside = slice(None)
        if self._window is not None:
            first, last = np.searchsorted(frames.step, self._window, side="right")
            inside = slice(int(first), int(last))
        if len(frames.step[inside]) == 0:
            return self
        for name in ("efg", "abs_vzz", "scaled", "cell"):
            self._sums[name] = getattr(frames, name)[inside].sum(axis=0) + self._sums.get(name, 0.0)
        self._count += len(frames.step[inside])
        return self

    @property
    def count(self) -> int:
        """Number of frames averaged."""
        return self._count

    def _mean(self, name: str) -> FloatArray:
        if not self._count:
            raise DataError("no frames to average: call compute(frames) first, with frames inside the window")
        return np.asarray(self._sums[name] / self._count)

    @property
    def mean(self) -> FloatArray:
        """Mean tensors xx yy zz xy xz yz (a.u.), of shape ``(N, 6)``.

        Raises
        ------
        DataError
            Before any frame inside the window has been added; likewise the other properties.
        """
        return self._mean("efg")

    @property
    def abs_vzz(self) -> FloatArray:
        """Mean of the instantaneous abs(Vzz), of shape ``(N,)``, a.u."""
        return self._mean("abs_vzz")

    @property
    def scaled(self) -> FloatArray:
        """Mean unwrapped fractional coordinates, of shape ``(N, 3)``."""
        return self._mean("scaled")

    @property
    def cell(self) -> FloatArray:
        """Mean lx ly lz xy xz yz (angstrom), of shape ``(6,)``."""
        return self._mean("cell")


class SiteSeries:
    """Tensor of each site, averaged over its nuclei, against time.

    The tensors of a site's nuclei are rotated onto that of its reference nucleus first. Where sites are so many that
    their series would not fit in memory, neighbouring frames are averaged.

    Parameters
    ----------
    sites
        S sites.
    n_frames
        Frames that will come.
    memory
        Bytes that the series may take.
    """

    def __init__(self, sites: list[Site], n_frames: int, memory: int = _SERIES_BYTES) -> None:
        self._sites = [
            (site.indices, six_rotation(site.rotations).reshape(-1, 6) / len(site.indices)) for site in sites
        ]
        most = max(1, memory // max(1, len(sites) * 6 * 8))
        self.frames_per_point = -(-n_frames // most)
        points = n_frames // self.frames_per_point
        self._sums = np.zeros((points, len(sites), 6))
        self._frames = 0

    def compute(self, frames: TensorFrames) -> "SiteSeries":
        """Add frames, in time order."""
        points = (self._frames + np.arange(len(frames.step))) // self.frames_per_point
        self._frames += len(frames.step)
        kept = points < len(self._sums)
        for number, (indices, rotations) in enumerate(self._sites):
            chosen = frames.efg[:, indices].reshape(len(points), -1)
            np.add.at(self._sums[:, number], points[kept], (chosen @ rotations)[kept])
        return self

    @property
    def series(self) -> FloatArray:
        """Six-vectors (a.u.) of shape ``(points, S, 6)``, each the mean of `frames_per_point` frames.

        Raises
        ------
        DataError
            Before all frames have been added.
        """
        if self._frames < len(self._sums) * self.frames_per_point:
            raise DataError(f"{self._frames} frames have been added, fewer than announced; call compute(frames)")
        return self._sums / self.frames_per_point
