"""Frames of tensors as they travel from a trajectory to the analysis, a chunk at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TensorFrames:
    """Some successive frames, or block means, of N atoms.

    Attributes
    ----------
    step
        MD step of each frame, of shape ``(n,)``.
    cell
        lx ly lz xy xz yz (angstrom), of shape ``(n, 6)``; tensors are in the frame of this cell, whose first vector
        points along x and whose second lies in the xy plane.
    efg
        xx yy zz xy xz yz (a.u.), of shape ``(n, N, 6)``.
    abs_vzz
        Absolute values of the instantaneous Vzz (a.u.), of shape ``(n, N)``.
    scaled
        Unwrapped fractional coordinates, of shape ``(n, N, 3)``.
    """

    step: NDArray[np.int64]
    cell: FloatArray
    efg: FloatArray
    abs_vzz: FloatArray
    scaled: FloatArray


class TensorTrajectory(Protocol):
    """What can be averaged: gives its frames in time order, a few at a time, as often as asked."""

    @property
    def symbols(self) -> list[str]:
        """Element of each atom, of length N."""

    def frames(self) -> Iterator[TensorFrames]:
        """Chunks of frames, together the whole trajectory."""
