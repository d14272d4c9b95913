"""Tensor series of some atoms of a trajectory on disk, read a part at a time."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efgmd.store import Store
from efgmd.trajectories.frames import TensorFrames


class StoreSeries:
    """Blocks of some atoms of a store, as `efgmd.analysis.correlation.TensorSeries`; nothing is kept in memory.

    Parameters
    ----------
    store
        The store.
    indices
        The atoms, of shape ``(N,)``.
    transformation
        Applied to the frames, for example `efgmd.analysis.following.Followed.apply`; None for the store's own frame.
    """

    def __init__(
        self, store: Store, indices: ArrayLike, transformation: Callable[[TensorFrames], TensorFrames] | None = None
    ) -> None:
        self._store, self._indices = store, np.asarray(indices, dtype=np.int64)
        self._transformation = transformation

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames, atoms, 6."""
        return len(self._store.block_steps), len(self._indices), 6

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[np.float64]:
        """Frames and atoms of two ranges, of shape ``(frames, atoms, 6)``."""
        first, last, _ = key[0].indices(self.shape[0])
        chosen = self._indices[key[1]]
        result = np.empty((last - first, len(chosen), 6))
        row = 0
        for frames in self._store.frames(first, last):
            changed = frames if self._transformation is None else self._transformation(frames)
            result[row : row + len(frames.step)] = changed.efg[:, chosen]
            row += len(frames.step)
        return result
