"""Extended XYZ before ASE reads it: ASE names no line where a file is damaged, and drops what a row has too much."""

import re
from pathlib import Path

from ase import Atoms

from efgmd.frames.text import TextFile
from efgmd.frames.with_ase import read_with_ase

_NAME = re.compile(r"\.(ext)?xyz(\.(gz|bz2|xz))?$", re.IGNORECASE)
_PROPERTIES = re.compile(r"(?:^|\s)properties\s*=\s*[\"{']?([^\s\"}']+)", re.IGNORECASE)
_PLAIN = "species:S:1:pos:R:3"


def is_extxyz(path: Path) -> bool:
    """Whether a file has a name of XYZ files."""
    return _NAME.search(path.name) is not None


def read(path: Path) -> list[Atoms]:
    """Read the frames of an XYZ file.

    Raises
    ------
    DataError
        Names the file, and the line where a table of atoms is damaged.
    """
    _check(TextFile(path))
    return read_with_ase(path, "extxyz", advice="repair the file or write it again")


def _check(text: TextFile) -> None:
    """Refuse tables of atoms that are not what the first two lines of their frame announce."""
    lines, index, end = text.lines, 0, len(text.lines)
    while end and not lines[end - 1].strip():
        end -= 1
    while index < end:
        if not lines[index].strip().isdigit():
            raise text.error(index, f"'{lines[index].strip()}' is not the number of atoms of a frame")
        count = int(lines[index])
        comment = text.line(index + 1, "frame")
        stated = _PROPERTIES.search(comment)
        columns = _columns(text, index + 1, stated.group(1) if stated else _PLAIN)
        for row in range(index + 2, index + 2 + count):
            _check_row(text, row, count, columns, bool(stated))
        index += 2 + count
        while index < end and lines[index].lstrip().startswith("VEC"):  # lattice vectors of some programs
            index += 1


def _columns(text: TextFile, index: int, properties: str) -> list[tuple[str, str]]:
    """Name and kind of each column."""
    fields = properties.split(":")
    if len(fields) % 3 or not all(width.isdigit() for width in fields[2::3]):
        raise text.error(index, f"Properties={properties} does not list NAME:KIND:COLUMNS")
    columns = []
    for name, kind, width in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        columns += [(name, kind)] * int(width)
    return columns


def _check_row(text: TextFile, row: int, count: int, columns: list[tuple[str, str]], stated: bool) -> None:
    fields = text.line(row, f"table of {count} atoms").split()
    if len(fields) < len(columns) or (stated and len(fields) > len(columns)):
        raise text.error(
            row, f"{len(fields)} fields where a frame of {count} atoms has rows of {len(columns)}; the table is damaged"
        )
    for field, (name, kind) in zip(fields, columns, strict=False):
        if kind in "RI":
            try:
                float(field)
            except ValueError:
                raise text.error(row, f"'{field}' in column {name} is not a number") from None
