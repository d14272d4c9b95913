"""EFG.OUT of Elk (task 115), with the structure of GEOMETRY.OUT beside it."""

import re
from pathlib import Path

import numpy as np
from ase import Atoms

from efgmd.errors import DataError
from efgmd.frames.text import FloatArray, TextFile
from efgmd.frames.with_ase import read_structure

_ATOM = re.compile(r"Species :\s*\d+ \((\w+)\), atom :\s*\d+")
_DIGITS = 1e-8  # relative, of ten significant digits printed


def read(path: Path, structure: Path | None = None) -> list[Atoms]:
    """Structure of an Elk calculation, as a list of one frame, with the tensors of EFG.OUT.

    Elk's tensor is that of the potential energy of an electron: its sign is the opposite of that of the electrostatic
    potential, and is changed here. The printed trace and eigenvalues are compared with the tensor.

    Raises
    ------
    DataError
        Names file and line.
    """
    text = TextFile(path)
    source = structure or path.parent / "GEOMETRY.OUT"
    if not source.is_file():
        raise DataError(f"{path}: holds no structure, and {source} is not there; give it with --structure FILE")
    atoms = read_structure(source, "elk" if source.name == "GEOMETRY.OUT" else None)
    headers = [(index, found[1]) for index, line in enumerate(text.lines) if (found := _ATOM.search(line))]
    if [symbol for _, symbol in headers] != list(atoms.symbols):
        last = headers[-1][0] if headers else 0
        raise text.error(last, f"EFG tensors of {len(headers)} atoms, which are not the {len(atoms)} atoms of {source}")
    atoms.arrays["efg"] = -np.array([_tensor(text, index) for index, _ in headers])
    return [atoms]


def _tensor(text: TextFile, header: int) -> FloatArray:
    what = "EFG tensor"
    begin = text.find("EFG tensor :", header, min(header + 4, len(text.lines)))
    if begin is None:
        raise text.error(header, "no 'EFG tensor :' after this line; the file is truncated or damaged")
    tensor = np.array([text.numbers(k, text.line(k, what).split(), 3, what) for k in range(begin + 1, begin + 4)])
    eigenvalues = text.find("eigenvalues :", begin, min(begin + 7, len(text.lines)))
    if eigenvalues is None:
        raise text.error(begin, "no 'eigenvalues :' after this tensor; the file is truncated")
    line = text.line(eigenvalues + 1, "eigenvalues")
    stated = text.numbers(eigenvalues + 1, line.split(), 3, "eigenvalues")
    scale = np.abs(tensor).max()
    if not np.allclose(np.sort(stated), np.linalg.eigvalsh((tensor + tensor.T) / 2), rtol=0, atol=10 * _DIGITS * scale):
        raise text.error(eigenvalues + 1, "these are not the eigenvalues of the tensor above; the file is damaged")
    return tensor
