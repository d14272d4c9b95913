"""OUTCAR of VASP with LEFG: tensors, and structure, energy, forces and stress of every ionic step."""

import re
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms

from efgmd.errors import DataError
from efgmd.frames.text import FloatArray, TextFile, check_stated
from efgmd.frames.with_ase import read_with_ase
from efgmd.tensors import VOLT_PER_ANGSTROM2, six_to_matrix

#: Half of the last digit of the table (three decimals, V/angstrom^2), a.u.
ROUNDING = 5e-4 / VOLT_PER_ANGSTROM2

_TABLE = "Electric field gradients (V/A^2)"
_COUPLINGS = "NMR quadrupolar parameters"
_ITERATION = re.compile(r"Iteration\s+(\d+)\s*\(\s*(\d+)")
# Columns are ten wide with three decimals and may touch.
_NUMBER = re.compile(r"-?\d+\.\d{3}|\*+|[+-]?(?:NaN|Inf\w*)", re.IGNORECASE)


def read(path: Path, _structure: Path | None = None) -> list[Atoms]:
    """Frames of an OUTCAR, one for each complete ionic step; ``efg`` where the step has a table of tensors.

    VASP prints V/angstrom^2, columns xx yy zz xy xz yz, with the sign of the second derivatives of the electrostatic
    potential. Its table of Cq and eta is compared with the tensors.

    Raises
    ------
    DataError
        Names file and line of what is wrong with a table.
    """
    text = TextFile(path)
    steps, tables = _tables(text)
    frames = _frames(path, text)
    if len(frames) < len(steps):
        lost = [place for place in range(len(frames), len(steps)) if place in tables]
        if lost:
            raise text.error(
                tables[lost[0]],
                f"ionic step {steps[lost[0]]} has EFG tensors but no energy and forces; the file is truncated",
            )
        warnings.warn(
            f"{path}: {len(steps) - len(frames)} of {len(steps)} ionic steps are incomplete and left out", stacklevel=2
        )
    for place, table in tables.items():
        atoms = frames[place]
        atoms.arrays["efg"] = _tensors(text, table, len(atoms))
    return frames


def _frames(path: Path, text: TextFile) -> list[Atoms]:
    """Structures, energies, forces and stresses, as ASE reads them."""
    frames = read_with_ase(path, "vasp-out", advice="give a complete OUTCAR", detail=text.damaged_line)
    if not frames:
        raise DataError(f"{path}: holds no complete ionic step (energy, positions and forces)")
    return frames


def _tables(text: TextFile) -> tuple[list[int], dict[int, int]]:
    """Numbers of the ionic steps as the file has them, and by place among these the line of a table of tensors."""
    steps: list[int] = []
    tables: dict[int, int] = {}
    electronic = 0
    for index, line in enumerate(text.lines):
        if "Iteration" in line and (found := _ITERATION.search(line)):
            # In outputs that were joined the same number can come twice; electronic steps then start again.
            if int(found[1]) not in steps[-1:] or int(found[2]) <= electronic:
                steps.append(int(found[1]))
            electronic = int(found[2])
        elif _TABLE in line:
            if not steps:
                raise text.error(index, "a table of EFG tensors before the first ionic step; the file is damaged")
            # VASP may print the table again at the end of the last step; the later one is of the final density.
            tables[len(steps) - 1] = index
    return steps, tables


def _tensors(text: TextFile, table: int, n: int) -> FloatArray:
    tensors = np.array([_row(text, table + 4 + k, k, n) for k in range(n)])
    end = text.line(table + 4 + n, "table of EFG tensors")
    if not end.strip().startswith("---"):
        raise text.error(table + 4 + n, f"the table of EFG tensors should end here, after {n} atoms")
    matrices = six_to_matrix(tensors) / VOLT_PER_ANGSTROM2
    following = text.find(_TABLE, table + 1)
    couplings = text.find(_COUPLINGS, table, following)
    if couplings is not None:
        _check(text, couplings, matrices)
    return matrices


def _row(text: TextFile, index: int, atom: int, n: int) -> FloatArray:
    what = "table of EFG tensors"
    line = text.line(index, what)
    fields = line.split(maxsplit=1)
    if len(fields) < 2 or fields[0] != str(atom + 1):
        raise text.error(index, f"expected atom {atom + 1} of {n} in the {what}; it is truncated or of another system")
    return text.numbers(index, _NUMBER.findall(fields[1]), 6, what)


def _check(text: TextFile, couplings: int, tensors: FloatArray) -> None:
    header = text.find("Cq(MHz)", couplings)
    if header is None:
        raise text.error(couplings, "the table of Cq and eta is truncated")
    for k, tensor in enumerate(tensors):
        index = header + 2 + k
        fields = text.line(index, "table of Cq and eta").split()
        if not fields or fields[0] != str(k + 1):
            raise text.error(index, f"expected atom {k + 1} of {len(tensors)} in the table of Cq and eta")
        cq, eta, moment = text.numbers(index, fields[1:], 3, "table of Cq and eta")
        check_stated(text, index, tensor, (cq, eta, moment), ROUNDING)
