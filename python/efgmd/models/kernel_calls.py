"""What all calls of the compiled kernels have in common: the form for a dtype, and arrays as addresses."""

from collections.abc import Sequence
from typing import Any

import torch

from efgmd import _kernels

CHUNK = 8  # channels of the kernels are filled up to multiples of it
_SUFFIXES = {torch.float32: "Float", torch.float64: "Double"}


def filling(rank: int) -> int:
    """How many channels of zeros fill up so many channels for the kernels."""
    return -rank % CHUNK


def kernel_class(name: str, dtype: torch.dtype) -> Any:
    """The class of `efgmd._kernels` of this name for a floating type.

    Raises
    ------
    ValueError
        If there is none, as for half precision.
    """
    if dtype not in _SUFFIXES:
        raise ValueError(f"there is no compiled {name} of dtype {dtype}: use float32 or float64")
    return getattr(_kernels, name + _SUFFIXES[dtype])


def addresses(dtype: torch.dtype, integers: Sequence[torch.Tensor], floats: Sequence[torch.Tensor]) -> list[int]:
    """Addresses of arrays of int64 and of the given dtype, in this order.

    Raises
    ------
    ValueError
        If one is not contiguous, not on the CPU or of another dtype.
    """
    for tensor, expected in [*((t, torch.int64) for t in integers), *((t, dtype) for t in floats)]:
        if tensor.dtype != expected or tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise ValueError(
                f"compiled kernels need contiguous arrays of dtype {expected} on the CPU, got {tensor.dtype} on "
                f"{tensor.device}, contiguous: {tensor.is_contiguous()}"
            )
    return [tensor.data_ptr() for tensor in (*integers, *floats)]
