"""magres files (CASTEP, QE-GIPAW and others): structure and EFG tensors."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms, units

from efgmd.frames.text import FloatArray, TextFile

_LENGTHS = {"angstrom": 1.0, "angstroms": 1.0, "bohr": units.Bohr}  # older versions of QE-GIPAW write the plural
_OPEN = re.compile(r"[\[<](\w+)[\]>]$")
_CLOSE = re.compile(r"[\[<]/(\w+)[\]>]$")

#: Index of a line, its words.
Record = tuple[int, list[str]]
#: Label and index of an atom.
Name = tuple[str, str]


def read(path: Path, _structure: Path | None = None) -> list[Atoms]:
    """Structure of a magres file, as a list of one frame, with the tensors of its ``efg`` records.

    Tensors are row-major and in atomic units. Contributions under names of their own (``efg_local``, ``efg_nonlocal``),
    ``ms``, ``isc`` and other quantities are not read. Atoms without an ``efg`` record are marked in ``efg_known``.

    Raises
    ------
    DataError
        Names file and line.
    """
    text = TextFile(path)
    if not text.lines or not re.match(r"#\$magres-abinitio-v1\.\d", text.lines[0]):
        raise text.error(0, "is not a magres file; its first line must read #$magres-abinitio-v1.0")
    records: dict[str, list[Record]] = {}
    for block, index, words in _records(text):
        records.setdefault(block, []).append((index, words))
    if "atoms" not in records:
        raise text.error(len(text.lines) - 1, "the file has no block [atoms]")
    atoms, names = _structure_of(text, records["atoms"])
    _attach(text, records.get("magres", []), atoms, names)
    return [atoms]


def _records(text: TextFile) -> Iterator[tuple[str, int, list[str]]]:
    """Block, line index and words of every record of the blocks [atoms] and [magres]."""
    block, opened = "", 0
    for index, line in enumerate(text.lines):
        content = line.split("#")[0].strip()
        if found := _OPEN.match(content):
            if block:
                raise text.error(index, f"block [{found[1]}] begins within [{block}], which never ends")
            block, opened = found[1], index
        elif found := _CLOSE.match(content):
            if found[1] != block:
                raise text.error(index, f"block [{found[1]}] ends but has not begun")
            block = ""
        elif content and block in ("atoms", "magres"):
            yield block, index, content.split()
    if block in ("atoms", "magres"):
        raise text.error(opened, f"block [{block}] never ends; the file is truncated")


def _units(text: TextFile, records: list[Record]) -> dict[str, str]:
    found = {}
    for index, words in records:
        if words[0] == "units":
            if len(words) != 3:
                raise text.error(index, "write: units QUANTITY UNIT")
            found[words[1]] = words[2]
    return found


def _length(text: TextFile, index: int, declared: dict[str, str], quantity: str) -> float:
    if quantity not in declared:
        raise text.error(index, f"no unit is given for {quantity}; add 'units {quantity} Angstrom' if that is it")
    unit = declared[quantity]
    if unit.lower() not in _LENGTHS:
        raise text.error(index, f"unit '{unit}' of {quantity} is unknown, expected Angstrom or Bohr")
    return _LENGTHS[unit.lower()]


def _structure_of(text: TextFile, records: list[Record]) -> tuple[Atoms, dict[Name, int]]:
    declared = _units(text, records)
    cell: FloatArray | None = None
    symbols: list[str] = []
    positions: list[FloatArray] = []
    names: dict[Name, int] = {}
    for index, words in records:
        if words[0] == "lattice":
            cell = text.numbers(index, words[1:], 9, "lattice").reshape(3, 3)
            cell *= _length(text, index, declared, "lattice")
        elif words[0] == "atom":
            if len(words) != 7:
                raise text.error(index, f"expected 'atom SPECIES LABEL INDEX X Y Z', got {len(words)} words")
            species = re.match(r"[A-Z][a-z]?", words[1])
            if not species:
                raise text.error(index, f"'{words[1]}' is not an element")
            symbols.append(species[0])
            name = (words[2], words[3])
            if name in names:
                raise text.error(index, f"atom {words[2]} {words[3]} is there twice")
            names[name] = len(positions)
            factor = _length(text, index, declared, "atom")
            positions.append(text.numbers(index, words[4:], 3, "position") * factor)
    if not positions:
        raise text.error(records[0][0], "the block [atoms] holds no atom")
    try:
        return Atoms(symbols, positions=positions, cell=cell, pbc=cell is not None), names
    except KeyError as error:
        raise text.error(records[0][0], f"{error} is not an element") from None


def _atom(text: TextFile, index: int, words: list[str], names: dict[Name, int]) -> int:
    """Number of the atom that a record names; Fortran runs label and index together where the index is long."""
    if len(words) == 2 and (words[0], words[1]) in names:
        return names[words[0], words[1]]
    joined = [atom for name, atom in names.items() if [name[0] + name[1]] == words]
    if len(joined) == 1:
        return joined[0]
    raise text.error(
        index, f"'{' '.join(words)}' is no atom of the block [atoms] (or of several), or the nine numbers are not there"
    )


def _attach(text: TextFile, records: list[Record], atoms: Atoms, names: dict[Name, int]) -> None:
    declared = _units(text, records)
    tensors = np.full((len(atoms), 3, 3), np.nan)
    known = np.zeros(len(atoms), dtype=bool)
    for index, words in records:
        if words[0] != "efg":
            continue
        if "efg" not in declared:
            raise text.error(index, "no unit is given for efg; add 'units efg au' if that is it")
        if declared["efg"] != "au":
            raise text.error(index, f"unit '{declared['efg']}' of efg is unknown, expected au")
        atom = _atom(text, index, words[1:-9], names)
        if known[atom]:
            raise text.error(index, f"a second efg tensor for atom {' '.join(words[1:-9])}")
        tensors[atom] = text.numbers(index, words[-9:], 9, "efg tensor").reshape(3, 3)
        known[atom] = True
    if known.any():
        atoms.arrays["efg"] = tensors
    if known.any() and not known.all():
        atoms.arrays["efg_known"] = known
