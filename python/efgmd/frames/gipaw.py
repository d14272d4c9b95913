"""Text output of QE-GIPAW (``job = 'efg'``), with the structure of the calculation of pw.x before it."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from efgmd.errors import DataError
from efgmd.frames.text import FloatArray, TextFile, check_stated
from efgmd.frames.with_ase import read_structure

#: Half of the last digit of the tensors (six decimals, a.u.).
ROUNDING = 5e-7

_TABLE = "total EFG (symmetrized)"
_UNIT = "ELECTRIC FIELD GRADIENTS TENSORS IN Hartree/bohrradius^2"
_COUPLING = re.compile(r"Q=\s*(\S+)\s+(?:10e-30|1e-30) m\^2\s+Cq=\s*(\S+)\s+MHz\s+eta=\s*(\S+)")
_HEADS = {"espresso-out": ("Program PWSCF",), "espresso-in": ("&control", "&CONTROL", "&system", "&SYSTEM")}


def read(path: Path, structure: Path | None = None) -> list[Atoms]:
    """Structure of a QE-GIPAW calculation, as a list of one frame, with its symmetrised tensors.

    The output of gipaw.x does not hold the structure. It is taken from ``structure``, the output or input of pw.x or
    any file that ASE reads (its last frame), or else from the one output (or input) of pw.x in the same folder.

    Raises
    ------
    DataError
        Names file and line.
    """
    text = TextFile(path)
    table = text.find(_TABLE)
    if table is None:
        raise text.error(
            len(text.lines) - 1, "no table 'total EFG (symmetrized)' up to here; the run has not finished or had no EFG"
        )
    if text.find(_UNIT, 0, table) is None:
        raise text.error(table, f"the unit of the tensors is not given; expected '{_UNIT}' above")
    source = structure or _beside(path)
    atoms = read_structure(source)
    tensors = _tensors(text, table, list(atoms.symbols), source)
    _check(text, table, tensors)
    atoms.arrays["efg"] = tensors
    return [atoms]


def _beside(path: Path) -> Path:
    """The one file of pw.x in the folder of an output of gipaw.x; outputs go before inputs."""
    found: dict[str, list[Path]] = {kind: [] for kind in _HEADS}
    for other in sorted(path.parent.iterdir()):
        if other == path or not other.is_file():
            continue
        with other.open("rb") as stream:
            head = stream.read(4096).decode(errors="ignore")
        for kind, marks in _HEADS.items():
            if any(mark in head for mark in marks) and "&inputgipaw" not in head.lower():
                found[kind].append(other)
                break
    for files in found.values():
        if len(files) == 1:
            return files[0]
    several = [file.name for files in found.values() for file in files]
    have = f"there are several files of pw.x beside it ({', '.join(several)})" if several else "none is beside it"
    raise DataError(f"{path}: holds no structure, and {have}; give the output of pw.x with --structure FILE")


def _tensors(text: TextFile, table: int, symbols: Sequence[str], source: Path) -> FloatArray:
    """The tensors of a table, after making sure that its atoms are those of the structure."""
    what = "table of EFG tensors"
    n = len(symbols)
    tensors = np.empty((n, 3, 3))
    for k, symbol in enumerate(symbols):
        # The name is the label of the species and the number of the atom, or asterisks where that is too long.
        name = re.compile(rf"({symbol}(?![a-z])\S*?)(?:{k + 1}|\*+)", re.IGNORECASE)
        for row in range(3):
            index = table + 1 + 4 * k + row
            words = text.line(index, what).split()
            if not name.fullmatch("".join(words[:-3])):
                raise text.error(
                    index,
                    f"expected atom {k + 1} of {n} in the {what}, {symbol} in {source}; is it the right structure?",
                )
            tensors[k, row] = text.numbers(index, words[-3:], 3, what)
    after = text.lines[table + 4 * n + 1 : table + 4 * n + 2]
    if after and after[0].strip():
        raise text.error(
            table + 4 * n + 1, f"the {what} goes on after the {n} atoms of {source}; is it the right structure?"
        )
    return tensors


def _check(text: TextFile, table: int, tensors: FloatArray) -> None:
    matches = ((index, _COUPLING.search(text.lines[index])) for index in range(table, len(text.lines)))
    stated = [(index, found) for index, found in matches if found]
    if len(stated) != len(tensors):
        raise text.error(
            len(text.lines) - 1,
            f"only {len(stated)} of {len(tensors)} atoms have Cq and eta; the file is truncated",
        )
    for (index, found), tensor in zip(stated, tensors, strict=True):
        moment, cq, eta = text.numbers(index, found.groups(), 3, "Cq and eta")
        check_stated(text, index, tensor, (cq, eta, 10 * moment), ROUNDING, printed=(5e-5, 5e-6))
