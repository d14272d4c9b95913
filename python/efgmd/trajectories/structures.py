"""Files of structures with tensors (extended XYZ, magres, any format of ASE), read one frame at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from efgmd.errors import DataError
from efgmd.frames.labels import LabelKeys, known_atoms, labelled
from efgmd.tensors import matrix_to_six, rotate

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class StructureFrame:
    """One structure, turned so that its first cell vector points along x and its second lies in the xy plane.

    Attributes
    ----------
    step
        MD step (``step`` of the frame), or the number of the frame from 0.
    time_fs
        Time (``time_fs`` of the frame), or None.
    cell
        lx ly lz xy xz yz (angstrom), of shape ``(6,)``.
    efg
        xx yy zz xy xz yz (a.u.), of shape ``(N, 6)``; zero for atoms without a tensor.
    known
        Whether each atom has a tensor, of shape ``(N,)``.
    scaled
        Fractional coordinates, of shape ``(N, 3)``, as unwrapped as the file has them.
    temperature
        ``temperature_K`` of the frame, or NaN.
    symbols
        Element of each atom.
    """

    step: int
    time_fs: float | None
    cell: FloatArray
    efg: FloatArray
    known: NDArray[np.bool_]
    scaled: FloatArray
    temperature: float
    symbols: list[str]


class Structures:
    """Frames of one or several files of structures.

    Parameters
    ----------
    paths
        The files, in time order.
    key
        Name of the tensors in the files.
    """

    def __init__(self, paths: list[Path], key: str = "efg") -> None:
        self.paths, self._keys = paths, LabelKeys(efg=key)

    def __iter__(self) -> Iterator[StructureFrame]:
        number = 0
        for path in self.paths:
            for inside, atoms in enumerate(_each(path)):
                yield _frame(atoms, number, self._keys, f"{path}, frame {inside}")
                number += 1


def _each(path: Path) -> Iterator[Atoms]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        yield from ase.io.iread(path)
    except Exception as error:  # ASE's readers raise anything, down to StopIteration
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: ASE cannot read it ({reason}); give extended XYZ or another ASE format") from error


def _frame(atoms: Atoms, number: int, keys: LabelKeys, where: str) -> StructureFrame:
    frame = labelled(atoms, keys, ("efg",), where, some_tensors=True, option="--columns NAME")
    known = known_atoms(frame)
    tensors = np.where(known[:, None, None], frame.arrays["efg"], 0.0)
    if not frame.pbc.all() or abs(frame.cell.volume) < 1e-6:
        raise DataError(f"{where}: is not periodic in three directions; set pbc and a cell")
    upright, turn = frame.cell.standard_form()
    matrix = np.asarray(upright)
    matrix = matrix * np.sign(matrix[0, 0])  # left-handed cells are inverted, which does not change an EFG
    return StructureFrame(
        int(frame.info.get("step", number)),
        float(frame.info["time_fs"]) if "time_fs" in frame.info else None,
        np.array([matrix[place] for place in ((0, 0), (1, 1), (2, 2), (1, 0), (2, 0), (2, 1))]),
        matrix_to_six(rotate(tensors, np.asarray(turn))),
        known,
        frame.get_scaled_positions(wrap=False),
        float(frame.info.get("temperature_K", np.nan)),
        frame.get_chemical_symbols(),
    )
