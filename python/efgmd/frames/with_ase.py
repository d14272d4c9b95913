"""Reading with ASE, and its many exceptions turned into one line."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import ase.io
from ase import Atoms

from efgmd.errors import DataError


def read_with_ase(
    path: Path, file_format: str | None = None, *, advice: str, detail: Callable[[], str] = str
) -> list[Atoms]:
    """All frames of a file in a format of ASE.

    Parameters
    ----------
    path
        File.
    file_format
        ASE's name of the format; ASE finds out if None.
    advice
        What to do where it fails.
    detail
        Called to find out what else is known about a failure.

    Raises
    ------
    DataError
        ASE cannot read it.
    """
    try:
        return cast(list[Atoms], ase.io.read(path, index=":", format=file_format))
    except Exception as error:  # ASE's readers raise anything, down to StopIteration
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: ASE cannot read it ({reason}){detail()}; {advice}") from error


def read_structure(path: Path, file_format: str | None = None) -> Atoms:
    """Last structure of a file, for formats that keep it apart from the tensors."""
    frames = read_with_ase(path, file_format, advice="give the structure with --structure FILE")
    if not frames:
        raise DataError(f"{path}: holds no structure; give it with --structure FILE")
    return frames[-1]
