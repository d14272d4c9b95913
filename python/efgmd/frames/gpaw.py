"""Frames labelled with GPAW, one ``.npz`` file each, as ``efgmd label`` keeps them while it runs."""

import zipfile
from pathlib import Path

import numpy as np
from ase import Atoms

from efgmd.errors import DataError
from efgmd.frames.labels import KNOWN


def read(path: Path, _structure: Path | None = None) -> list[Atoms]:
    """Frame of a file of ``efgmd label``, as a list of one, with what `attach` gives it; errors as in `load`."""
    held = load(path)
    atoms = Atoms(held["sym"].tolist(), positions=held["pos"], cell=held["cell"], pbc=True)
    attach(atoms, held)
    return [atoms]


def load(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a file, by name.

    Raises
    ------
    DataError
        The file is damaged or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            held = {name: found[name] for name in found.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: is damaged ({reason}); remove it and label the frame again") from error
    missing = {"V", "E", "F", "sym", "pos", "cell"} - set(held)
    if missing:
        raise DataError(f"{path}: holds no {', '.join(sorted(missing))}, so it is no labelled frame of GPAW")
    return held


def attach(atoms: Atoms, result: dict[str, np.ndarray]) -> None:
    """Give a frame the labels of a result.

    Energy and forces are named ``dft_energy`` (eV) and ``dft_forces`` (eV/angstrom), so that they are not taken for
    those of another reference method by accident.
    """
    atoms.arrays.pop(KNOWN, None)
    atoms.arrays["efg"] = result["V"]
    atoms.arrays["dft_forces"] = result["F"]
    atoms.info["dft_energy"] = float(result["E"])
    for name, key in (("gap", "gap_eV"), ("method", "efg_method")):
        if name in result:
            atoms.info[key] = result[name].item()
