"""Output of CP2K with DFT/PRINT/ELECTRIC_FIELD_GRADIENT (GAPW)."""

import re
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms

from efgmd.errors import DataError
from efgmd.frames.text import FloatArray, TextFile
from efgmd.frames.with_ase import read_structure
from efgmd.tensors import VOLT_PER_ANGSTROM2

#: 1 a.u. of EFG in CP2K's unit, 1e21 V/m^2.
_AU = VOLT_PER_ANGSTROM2 / 10

#: What is known about the tensors themselves, apart from their format.
CAUTION = (
    "CP2K: in version 2023.1 the part of the tensor close to the nucleus does not turn with the molecule, and is wrong "
    "for all elements but hydrogen; compare yours on a turned NH3 molecule (14N: Cq about -4.1 MHz, eta 0)"
)

_HEADER = "ELECTRIC FIELD GRADIENTS ["
_ATOM = re.compile(r"\s*(\d+)\s+([A-Z][a-z]?)\s+EFG Tensor\s(.*)")
_COORDINATES = "ATOMIC COORDINATES IN"
_VECTOR = re.compile(r"CELL\| Vector [abc] \[angstrom\]:?\s+(\S+)\s+(\S+)\s+(\S+)")


def read(path: Path, structure: Path | None = None) -> list[Atoms]:
    """Structure of a CP2K calculation, as a list of one frame, with its tensors.

    CP2K prints the gradient of the electric field in 1e21 V/m^2: its sign is the opposite of that of the second
    derivatives of the electrostatic potential, and is changed here. The structure is that of the output, or of
    ``structure``, any file that ASE reads (its last frame).

    Raises
    ------
    DataError
        Names file and line.
    """
    text = TextFile(path)
    headers = list(text.all(_HEADER))
    if not headers:
        raise text.error(len(text.lines) - 1, "no 'ELECTRIC FIELD GRADIENTS' up to here; ask for them in DFT/PRINT")
    if len(headers) > 1:
        raise text.error(
            headers[1], "a second table of EFG tensors; structures of several steps are not read, split the output"
        )
    if "[10**21 V/m^2]" not in text.lines[headers[0]] and "[V/m^2]" not in text.lines[headers[0]]:
        raise text.error(headers[0], "the unit of the tensors is unknown, expected [10**21 V/m^2]")
    atoms = _structure_of(text) if structure is None else read_structure(structure)
    starts = [(index, found) for index, line in enumerate(text.lines) if (found := _ATOM.match(line))]
    if [found[2] for _, found in starts] != list(atoms.symbols):
        raise text.error(
            headers[0], f"EFG tensors of {len(starts)} atoms, which are not the {len(atoms)} atoms of the structure"
        )
    atoms.arrays["efg"] = -np.array([_tensor(text, index, found) for index, found in starts]) / _AU
    warnings.warn(f"{path}: {CAUTION}", stacklevel=2)
    return [atoms]


def _structure_of(text: TextFile) -> Atoms:
    cell = []
    for index in list(text.all("CELL| Vector"))[:3]:
        found = _VECTOR.search(text.lines[index])
        if not found:
            raise text.error(index, "cannot read this cell vector in angstrom")
        cell.append(text.numbers(index, found.groups(), 3, "cell"))
    table = text.find(_COORDINATES)
    if table is None or len(cell) != 3:
        raise DataError(
            f"{text.path}: holds no structure (cell and 'ATOMIC COORDINATES IN angstrom'); give --structure FILE"
        )
    if "angstrom" not in text.lines[table].lower():
        raise text.error(table, "coordinates are not in angstrom")
    header = text.find("Atom", table + 1)
    if header is None:
        raise text.error(table, "the table of coordinates is truncated")
    symbols: list[str] = []
    positions: list[FloatArray] = []
    for index in range(header + 1, len(text.lines)):
        words = text.lines[index].split()
        if len(words) < 7:
            if symbols or words:
                break
            continue
        symbols.append(words[2])
        positions.append(text.numbers(index, words[4:7], 3, "coordinates"))
    return Atoms(symbols, positions=positions, cell=cell, pbc=True)


def _tensor(text: TextFile, index: int, found: re.Match[str]) -> FloatArray:
    what = "EFG tensor"
    rows = [found[3], text.line(index + 1, what), text.line(index + 2, what)]
    tensor = np.array([text.numbers(index + k, row.split(), 3, what) for k, row in enumerate(rows)])
    stated = text.find("EFG Tensor eigenvalues", index, min(index + 6, len(text.lines)))
    if stated is None:
        raise text.error(index, "no eigenvalues after this tensor; the file is truncated")
    eigenvalues = text.numbers(stated, text.lines[stated].split("eigenvalues")[1].split(), 3, "eigenvalues")
    if not np.allclose(np.sort(eigenvalues), np.linalg.eigvalsh(tensor), rtol=0, atol=5e-7):
        raise text.error(stated, "these are not the eigenvalues of the tensor above; the file is damaged")
    return tensor
