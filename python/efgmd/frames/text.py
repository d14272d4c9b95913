"""Text output of other programs: lines, numbers in them, and errors that name file and line."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO, cast

import numpy as np
from ase.io.formats import open_with_compression
from numpy.typing import NDArray

from efgmd.errors import DataError
from efgmd.nuclei import MHZ_PER_BARN_AU
from efgmd.tensors import asymmetry, principal_values

FloatArray = NDArray[np.float64]

_DAMAGED = re.compile(r"\*\*\*|\bNaN\b|\bInf(inity)?\b", re.IGNORECASE)


class TextFile:
    """The lines of a text file, plain or compressed.

    Parameters
    ----------
    path
        File.

    Raises
    ------
    DataError
        The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with cast(TextIO, open_with_compression(str(path), "r")) as stream:
                self.lines = stream.read().splitlines()
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as text ({error})") from error

    def error(self, index: int, message: str) -> DataError:
        """Error about the line of this index (from 0), to be raised."""
        return DataError(f"{self.path}, line {index + 1}: {message}")

    def find(self, text: str, start: int = 0, stop: int | None = None) -> int | None:
        """Index of the first line from ``start`` on that contains a text, or None."""
        return next(self.all(text, start, stop), None)

    def all(self, text: str, start: int = 0, stop: int | None = None) -> Iterator[int]:
        """Indices of the lines that contain a text."""
        for index in range(start, len(self.lines) if stop is None else stop):
            if text in self.lines[index]:
                yield index

    def line(self, index: int, what: str) -> str:
        """Line of an index; an error where the file ends before."""
        if index >= len(self.lines):
            raise self.error(len(self.lines) - 1, f"the file ends within the {what}; it is truncated")
        return self.lines[index]

    def numbers(self, index: int, fields: Sequence[str], count: int, what: str) -> FloatArray:
        """Fields of a line as finite numbers.

        Raises
        ------
        DataError
            Another count of fields, or one that is not a finite number (Fortran prints asterisks where a number does
            not fit its column).
        """
        for field in fields:
            if "*" in field:
                raise self.error(index, f"'{field}' in the {what} is not a finite number; repeat the calculation")
        if len(fields) != count:
            raise self.error(
                index, f"expected {count} numbers of the {what}, got {len(fields)}; the table is truncated or damaged"
            )
        values = np.empty(count)
        for k, field in enumerate(fields):
            try:
                values[k] = float(field.replace("D", "E").replace("d", "e"))
            except ValueError:
                values[k] = np.nan
            if not np.isfinite(values[k]):
                raise self.error(index, f"'{field}' in the {what} is not a finite number; repeat the calculation")
        return values

    def damaged_line(self) -> str:
        """Where in the file a number was not printed properly, for the message about a failed parse; or nothing."""
        for index, line in enumerate(self.lines):
            if _DAMAGED.search(line):
                return f"; line {index + 1} holds '{' '.join(line.split())[:60]}'"
        return ""


def check_stated(
    text: TextFile,
    index: int,
    tensor: FloatArray,
    stated: tuple[float, float, float],
    rounding: float,
    printed: tuple[float, float] = (5e-4, 5e-4),
) -> None:
    """Compare a tensor with the Cq and eta that its own file states.

    Parameters
    ----------
    text, index
        Where they are stated.
    tensor
        Of shape ``(3, 3)``, a.u.
    stated
        Cq (MHz), eta, and Q (mb) that they were computed with.
    rounding
        Of the tensor's components, a.u.
    printed
        Rounding of the printed Cq (MHz) and eta.

    Raises
    ------
    DataError
        They disagree by more than the rounding of both: the table is damaged, or in another order or unit.
    """
    cq, eta, moment = stated
    values = principal_values(tensor)
    # Rounding every component by r moves each principal value by at most 3 r (the norm of such a matrix).
    shift = 3 * rounding
    expected = MHZ_PER_BARN_AU * moment * 1e-3 * values[2]
    tolerance = printed[0] + abs(MHZ_PER_BARN_AU * moment * 1e-3) * shift + 1e-4 * abs(expected)
    # Where |Vyy| is as large as |Vzz|, rounding may exchange the two, and with them the sign of Cq.
    sign_open = abs(values[2]) - abs(values[1]) <= 2 * shift
    distance = abs(abs(cq) - abs(expected)) if sign_open else abs(cq - expected)
    if distance > tolerance:
        raise text.error(
            index,
            f"states Cq = {cq:g} MHz for Q = {moment:g} mb, but the tensor above gives {expected:.4g} MHz; "
            "the file is damaged",
        )
    if abs(values[2]) > 10 * shift:
        found = float(asymmetry(values))
        if abs(eta - found) > printed[1] + 4 * shift / abs(values[2]):
            raise text.error(
                index, f"states eta = {eta:g}, but the tensor above gives {found:.4f}; the file is damaged"
            )
