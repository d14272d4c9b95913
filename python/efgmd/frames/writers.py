"""Write frames with EFG tensors: extended XYZ, magres, and tables of couplings as CSV."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

import efgmd
from efgmd.errors import ConfigError, DataError
from efgmd.frames.labels import known_atoms
from efgmd.nuclei import Nucleus, known_nuclei
from efgmd.tensors import asymmetry, matrix_to_six, principal_values

#: Formats that can be written, by the end of the file name.
WRITTEN = {"extxyz": (".xyz", ".extxyz"), "magres": (".magres",), "csv": (".csv",)}


def written_format(path: Path, name: str | None = None) -> str:
    """Name of the format to write a file in: the one that is given, or that of the file's ending.

    Raises
    ------
    ConfigError
        Unknown name or ending.
    """
    if name is not None:
        if name not in WRITTEN:
            raise ConfigError(f"format '{name}' cannot be written, expected one of {', '.join(WRITTEN)}")
        return name
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    for known, suffixes in WRITTEN.items():
        if suffix in suffixes:
            if path.suffix == ".gz" and known != "extxyz":
                raise ConfigError(f"{path}: only extended XYZ is written compressed; leave out .gz")
            return known
    endings = ", ".join(ending for suffixes in WRITTEN.values() for ending in suffixes)
    raise ConfigError(f"{path}: cannot tell the format to write from the name; end it in {endings}, or say --to FORMAT")


def write_frames(
    path: str | Path, frames: Sequence[Atoms], file_format: str | None = None, nuclei: Sequence[Nucleus] | None = None
) -> list[Path]:
    """Write frames with their tensors.

    Parameters
    ----------
    path
        File. A magres file holds one structure: of several frames, frame K goes to ``STEM-K.magres``.
    frames
        As `efgmd.frames.readers.read_frames` returns them.
    file_format
        "extxyz", "magres" or "csv"; by the ending of the name if None.
    nuclei
        For CSV: nuclei whose couplings are listed. All built-in nuclei of the elements present if None.

    Returns
    -------
    The files written.

    Raises
    ------
    ConfigError
        Unknown format, or nuclei for a format without couplings.
    DataError
        The file cannot be written, or the frames have no atom of a nucleus.
    """
    path = Path(path)
    chosen = written_format(path, file_format)
    if nuclei is not None and chosen != "csv":
        raise ConfigError(f"nuclei are chosen for csv only, not for {chosen}")
    try:
        if chosen == "extxyz":
            ase.io.write(path, [_flat(atoms) for atoms in frames], format="extxyz")
            return [path]
        if chosen == "csv":
            _check_nuclei(frames, nuclei or [])
            _write_csv(path, frames, nuclei)
            return [path]
        if len(frames) == 1:
            names = [path]
        else:
            digits = len(str(len(frames) - 1))  # the order of names is that of frames
            names = [path.with_name(f"{path.stem}-{n:0{digits}}{path.suffix}") for n in range(len(frames))]
        for name, atoms in zip(names, frames, strict=True):
            name.write_text(_magres(atoms), encoding="utf-8")
        return names
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error})") from error


def _flat(atoms: Atoms) -> Atoms:
    """Copy with the tensors in nine columns, as extended XYZ keeps them."""
    copy = atoms.copy()
    copy.calc = atoms.calc
    if "efg" in copy.arrays:
        copy.arrays["efg"] = copy.arrays["efg"].reshape(len(copy), 9)
    return copy


def _magres(atoms: Atoms) -> str:
    """Text of a magres file; labels are the elements, indices count the atoms of each element from 1."""
    lines = ["#$magres-abinitio-v1.0", "[calculation]", "calc_code efgmd", f"calc_code_version {efgmd.__version__}"]
    lines += ["[/calculation]", "[atoms]"]
    if atoms.pbc.all():
        lines += ["units lattice Angstrom", "lattice " + _row(atoms.cell.array)]
    elif atoms.pbc.any():
        raise DataError(
            "magres holds crystals and molecules, not structures that are periodic along some axes only: write extxyz"
        )
    lines.append("units atom Angstrom")
    counts: Counter[str] = Counter()
    names = []
    for symbol, position in zip(atoms.symbols, atoms.positions, strict=True):
        counts[symbol] += 1
        names.append(f"{symbol} {counts[symbol]}")
        lines.append(f"atom {symbol} {names[-1]} {_row(position)}")
    lines += ["[/atoms]", "[magres]"]
    known = known_atoms(atoms)
    if known.any():
        lines.append("units efg au")
        lines += [f"efg {names[k]} {_row(atoms.arrays['efg'][k])}" for k in np.flatnonzero(known)]
    lines.append("[/magres]")
    return "\n".join(lines) + "\n"


def _row(values: np.ndarray) -> str:
    return " ".join(f"{value:.10f}" for value in np.ravel(values))


_COLUMNS = ("frame", "tag", "atom", "element", "nucleus", "Q_mb", "Cq_MHz", "eta", "Vxx_au", "Vyy_au", "Vzz_au")
_COMPONENTS = ("xx_au", "yy_au", "zz_au", "xy_au", "xz_au", "yz_au")


def _write_csv(path: Path, frames: Sequence[Atoms], nuclei: Sequence[Nucleus] | None) -> None:
    """One line per frame, atom and nucleus; atoms count from 1. Of an element without nucleus, Cq stays empty."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow((*_COLUMNS, *_COMPONENTS))
        for number, atoms in enumerate(frames):
            tag = atoms.info.get("tag", "")
            for k in np.flatnonzero(known_atoms(atoms)):
                symbol = atoms.symbols[k]
                tensor = atoms.arrays["efg"][k]
                values = principal_values(tensor)
                eta = float(asymmetry(values))
                shape = ["" if np.isnan(eta) else f"{eta:.6f}", *(f"{value:.8f}" for value in values)]
                six = [f"{value:.8f}" for value in matrix_to_six(tensor)]
                for nucleus in _of_element(symbol, nuclei):
                    coupling = ["", "", ""]
                    if nucleus is not None:
                        cq = float(nucleus.coupling_mhz(values[2]))
                        coupling = [nucleus.name, f"{nucleus.moment_mb:g}", f"{cq:.6f}"]
                    writer.writerow([number, tag, k + 1, symbol, *coupling, *shape, *six])


def _check_nuclei(frames: Sequence[Atoms], nuclei: Sequence[Nucleus]) -> None:
    present = {str(symbol) for atoms in frames for symbol in atoms.symbols}
    for nucleus in nuclei:
        if nucleus.element not in present:
            raise DataError(f"there is no {nucleus.element} whose couplings {nucleus.name} could have")


def _of_element(symbol: str, nuclei: Sequence[Nucleus] | None) -> Sequence[Nucleus | None]:
    if nuclei is not None:
        return [nucleus for nucleus in nuclei if nucleus.element == symbol]
    return known_nuclei(symbol) or [None]
