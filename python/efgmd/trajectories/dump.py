"""Text dumps of LAMMPS with the columns of ``compute efg/atom``, or of a ``fix ave/atom`` over them."""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from efgmd.errors import DataError

FloatArray = NDArray[np.float64]

_TENSOR = re.compile(r"([cfv]_\w+)\[(\d+)\]$")
_TEXT_COLUMNS = ("element", "typelabel")
# Columns of positions, best first: whether they are fractions of the cell, whether they are unwrapped.
_POSITIONS = (
    (("xsu", "ysu", "zsu"), True, True),
    (("xu", "yu", "zu"), False, True),
    (("xs", "ys", "zs"), True, False),
    (("x", "y", "z"), False, False),
)
_IMAGES = ("ix", "iy", "iz")


@dataclass(frozen=True)
class DumpFrame:
    """One frame of a dump, atoms sorted by id.

    Attributes
    ----------
    step
        MD step.
    cell
        lx ly lz xy xz yz, of shape ``(6,)``.
    efg
        xx yy zz xy xz yz, of shape ``(N, 6)``.
    scaled
        Fractional coordinates, of shape ``(N, 3)``.
    unwrapped
        Whether they are continuous over the periodic boundaries.
    types
        Type of each atom, of shape ``(N,)``, or None if the dump does not tell.
    elements
        Element of each atom, from the column ``element``, or ``typelabel`` where these are elements; or None.
    """

    step: int
    cell: FloatArray
    efg: FloatArray
    scaled: FloatArray
    unwrapped: bool
    types: NDArray[np.int64] | None
    elements: list[str] | None


@dataclass(frozen=True)
class _Header:
    step: int
    count: int
    cell: FloatArray
    origin: FloatArray
    names: list[str]


class Dump:
    """Frames of dump files, plain or compressed with gzip, read one at a time.

    Parameters
    ----------
    paths
        The files, in any order; each holds one frame or more, in time order.
    columns
        Name of the six columns of tensors, for example ``c_efg`` or ``f_avg``; found by itself if there is only one
        set of six or more.

    Attributes
    ----------
    name
        Name of the columns.
    averaged
        Whether they are time averages (of a fix), so that instantaneous values are not known.
    ignored
        Columns that the same compute or fix has beyond the tensor.

    Raises
    ------
    DataError
        For files that are missing, no text dumps, or without ids, positions or tensors.
    """

    def __init__(self, paths: list[Path], columns: str | None = None) -> None:
        starts = [(_first_header(path), path) for path in paths]
        starts.sort(key=lambda item: item[0].step)
        self.paths = [path for _, path in starts]
        header = starts[0][0]
        self.name, self.ignored = _find_tensors(header.names, columns, starts[0][1])
        self.averaged = self.name.startswith("f_")

    def __iter__(self) -> Iterator[DumpFrame]:
        last = None
        for path in self.paths:
            with _open(path) as stream, _readable(path):
                while (header := _read_header(stream, path)) is not None:
                    if last is not None and header.step <= last:
                        raise DataError(
                            f"{path}: step {header.step} comes after step {last}; give each frame once (a continued "
                            "run writes its first frame again: start its dump with dump_modify first no)"
                        )
                    last = header.step
                    yield self._read_frame(stream, header, path)

    def _read_frame(self, stream: IO[str], header: _Header, path: Path) -> DumpFrame:
        where = f"{path}, step {header.step}"
        names = header.names
        lines = [stream.readline() for _ in range(header.count)]
        if not lines or not lines[-1].endswith("\n"):  # else a number may be cut off and still look like one
            raise DataError(f"{where}: the file ends within a frame; remove that frame")
        try:
            table, texts = _numbers(lines, names)
            place = {name: number for number, name in enumerate(names)}
            order = np.argsort(table[:, place["id"]], kind="stable")
            table = table[order]
            if not np.array_equal(table[:, place["id"]], np.arange(1, header.count + 1)):
                raise DataError(f"{where}: its ids are not 1 to {header.count}; dump all atoms, each once")
            efg = table[:, [place[f"{self.name}[{column}]"] for column in range(1, 7)]]
        except (KeyError, ValueError) as error:
            raise DataError(f"{where}: cannot be read ({error}); each frame needs the columns of the first") from error
        if not np.isfinite(efg).all():
            raise DataError(f"{where}: tensors are not finite; look for broken frames in the run")
        scaled, unwrapped = _scaled_positions(table, place, header, where)
        types = table[:, place["type"]].astype(np.int64) if "type" in place else None
        elements = next((found for found in texts.values() if set(found) <= set(atomic_numbers)), None)
        ordered = None if elements is None else [elements[number] for number in order]
        return DumpFrame(header.step, header.cell, efg, scaled, unwrapped, types, ordered)


def is_dump(path: Path) -> bool:
    """Whether a file is a dump of LAMMPS, by its name (``.dump``, ``.lammpstrj``, also with ``.gz``) or content."""
    names = [suffix for suffix in path.suffixes if suffix != ".gz"]
    if names and names[-1] in (".dump", ".lammpstrj"):
        return True
    if path.suffix == ".gz" or not path.is_file():
        return False
    with open(path, "rb") as stream:
        return stream.read(5) == b"ITEM:"


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what a damaged or cut file raises into an error that says so."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is damaged or cut off ({error}); remove its end, or give another file") from error


def _open(path: Path) -> IO[str]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return open(path, encoding="utf-8")


def _first_header(path: Path) -> _Header:
    with _open(path) as stream, _readable(path):
        header = _read_header(stream, path)
    if header is None:
        raise DataError(f"{path}: holds no frame; give text dumps of `dump custom`")
    return header


def _read_header(stream: IO[str], path: Path) -> _Header | None:
    """Read up to and including the line that names the columns; None at the end of the file."""
    step = count = bounds = None
    try:
        while line := stream.readline():
            item = line.split()
            if item[:2] == ["ITEM:", "TIMESTEP"]:
                step = int(stream.readline())
            elif item[:4] == ["ITEM:", "NUMBER", "OF", "ATOMS"]:
                count = int(stream.readline())
            elif item[:3] == ["ITEM:", "BOX", "BOUNDS"]:
                if "abc" in item:
                    raise DataError(f"{path}: general triclinic output; dump with dump_modify triclinic/general no")
                bounds = [[float(word) for word in stream.readline().split()] for _ in range(3)]
            elif item[:2] == ["ITEM:", "ATOMS"]:
                if step is None or count is None or bounds is None:
                    break
                cell, origin = _box(np.array(bounds))
                return _Header(step, count, cell, origin, item[2:])
            elif item[:1] == ["ITEM:"]:
                stream.readline()  # units or time
            elif item:
                break
        else:
            if step is None:
                return None
    except (ValueError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: is not a text dump of LAMMPS ({error})") from error
    raise DataError(f"{path}: is not a text dump of LAMMPS, or is cut off within a header; give `dump custom` files")


def _box(bounds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cell and origin from the bounds of a dump, which are those of the box around a tilted cell."""
    tilt = bounds[:, 2] if bounds.shape[1] == 3 else np.zeros(3)
    xy, xz, yz = tilt
    low, high = bounds[:, 0].copy(), bounds[:, 1].copy()
    corners = [0.0, xy, xz, xy + xz]
    low[0], high[0] = low[0] - min(corners), high[0] - max(corners)
    low[1], high[1] = low[1] - min(0.0, yz), high[1] - max(0.0, yz)
    return np.array([*(high - low), xy, xz, yz]), low


def _find_tensors(names: list[str], wanted: str | None, path: Path) -> tuple[str, list[str]]:
    if "id" not in names:
        raise DataError(f"{path}: has no column id; dump id with the tensors")
    if not any(set(columns) <= set(names) for columns, _, _ in _POSITIONS):
        raise DataError(f"{path}: has no positions; dump xu yu zu with the tensors")
    sets: dict[str, list[int]] = {}
    for match in filter(None, map(_TENSOR.match, names)):
        sets.setdefault(match[1], []).append(int(match[2]))
    full = [name for name, numbers in sets.items() if set(range(1, 7)) <= set(numbers)]
    if wanted is not None:
        full = [name for name in full if name == wanted]
    if len(full) != 1:
        found = ", ".join(sorted(sets)) or "none"
        need = f"six columns {wanted}[1] to {wanted}[6]" if wanted else "one set of six columns such as c_efg[*]"
        hint = "name the set (--columns)" if len(full) > 1 else "dump all six"
        raise DataError(f"{path}: expected {need}, found numbered columns of: {found}; {hint}")
    return full[0], [f"{full[0]}[{number}]" for number in sorted(sets[full[0]]) if number > 6]


def _numbers(lines: list[str], names: list[str]) -> tuple[FloatArray, dict[str, list[str]]]:
    """Table of numbers, NaN in columns of text, and these columns."""
    texts: dict[str, list[str]] = {}
    text = [number for number, name in enumerate(names) if name in _TEXT_COLUMNS]
    if text:
        rows = [line.split() for line in lines]
        for row in rows:
            if len(row) != len(names):
                raise ValueError(f"an atom has {len(row)} columns instead of {len(names)}")
        for number in sorted(text, key=lambda number: _TEXT_COLUMNS.index(names[number])):
            texts[names[number]] = [row[number] for row in rows]
            for row in rows:
                row[number] = "nan"
        words = [word for row in rows for word in row]
    else:
        words = "".join(lines).split()
    return np.array(words, dtype=np.float64).reshape(len(lines), len(names)), texts


def _scaled_positions(table: FloatArray, place: dict[str, int], header: _Header, where: str) -> tuple[FloatArray, bool]:
    from efgmd.campaign.sampling import cell_matrix

    columns, fractions, unwrapped = next(found for found in _POSITIONS if set(found[0]) <= set(place))
    positions = table[:, [place[name] for name in columns]]
    if not np.isfinite(positions).all():
        raise DataError(f"{where}: positions are not finite; look for broken frames in the run")
    scaled = positions if fractions else (positions - header.origin) @ np.linalg.inv(cell_matrix(header.cell))
    if not unwrapped and set(_IMAGES) <= set(place):
        return scaled + table[:, [place[name] for name in _IMAGES]], True
    return scaled, unwrapped
