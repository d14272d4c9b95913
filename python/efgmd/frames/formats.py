"""File formats with EFG tensors: what they are called, how they are recognised, and who reads them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from ase import Atoms
from ase.io.formats import open_with_compression

from efgmd.errors import ConfigError, DataError
from efgmd.frames import cp2k, database, elk, extxyz, gipaw, gpaw, magres, vasp
from efgmd.frames.with_ase import read_with_ase

#: As much of a file as is looked at to recognise it, bytes.
_HEAD = 20_000


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes
    ----------
    name
        On the command line.
    description
        What writes it.
    read
        Reader: path and path of the structure (or None) to frames.
    rounding
        Rounding of its tensors' trace and asymmetry, a.u.; several codes print few digits.
    takes_structure
        Whether the structure may lie in a file of its own.
    """

    name: str
    description: str
    read: Callable[[Path, Path | None], list[Atoms]]
    rounding: float = 0.0
    takes_structure: bool = False


def _read_with_ase(path: Path, _structure: Path | None = None) -> list[Atoms]:
    if extxyz.is_extxyz(path):
        return extxyz.read(path)
    advice = f"give extended XYZ, another ASE format, or say which format it is ({', '.join(FORMATS)})"
    return read_with_ase(path, advice=advice)


FORMATS: dict[str, Format] = {
    item.name: item
    for item in (
        Format("ase", "extended XYZ and every other format that ASE recognises", _read_with_ase),
        Format("vasp", "OUTCAR of VASP with LEFG", vasp.read, rounding=3 * vasp.ROUNDING),
        # QE-GIPAW prints four decimals here, so that a trace may be off by 1.5e-4.
        Format("magres", "magres files of CASTEP, QE-GIPAW and others", magres.read, rounding=2e-4),
        Format("gipaw", "text output of QE-GIPAW, job = 'efg'", gipaw.read, takes_structure=True),
        Format("elk", "EFG.OUT of Elk", elk.read, takes_structure=True),
        Format("cp2k", "output of CP2K with ELECTRIC_FIELD_GRADIENT", cp2k.read, takes_structure=True),
        Format("ase-db", "database of ASE (.db)", database.read),
        Format("gpaw", "labelled frame of efgmd label (.npz)", gpaw.read),
    )
}


def find_format(name: str) -> Format:
    """Look a format up by its name.

    Raises
    ------
    ConfigError
        There is no such format.
    """
    if name not in FORMATS:
        raise ConfigError(f"format '{name}' is unknown, expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def recognise(path: Path) -> Format:
    """Format of a file, by its name and its first lines; everything unknown is left to ASE.

    Raises
    ------
    DataError
        The file cannot be opened.
    """
    by_suffix = {".npz": "gpaw", ".db": "ase-db", ".magres": "magres"}
    if path.suffix in by_suffix:
        return FORMATS[by_suffix[path.suffix]]
    try:
        with cast(IO[bytes], open_with_compression(str(path), "rb")) as stream:
            head = stream.read(_HEAD).decode(errors="ignore")
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if head.startswith("#$magres"):
        return FORMATS["magres"]
    if path.name.upper().startswith("OUTCAR") or head.lstrip().startswith("vasp."):
        return FORMATS["vasp"]
    if "Program GIPAW" in head:
        return FORMATS["gipaw"]
    if path.name == "EFG.OUT" or "(electric field gradient tensor is in Cartesian coordinates)" in head:
        return FORMATS["elk"]
    if "CP2K|" in head or "ELECTRIC FIELD GRADIENTS [" in head:
        return FORMATS["cp2k"]
    return FORMATS["ase"]
