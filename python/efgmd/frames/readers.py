"""Read labelled frames: energy, forces, stress and EFG tensors, from the output of many codes."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from efgmd.errors import ConfigError, DataError
from efgmd.frames.formats import FORMATS, find_format, recognise
from efgmd.frames.labels import LabelKeys, labelled


def read_frames(
    path: str | Path,
    keys: LabelKeys | None = None,
    require: Sequence[str] = (),
    file_format: str | None = None,
    structure: str | Path | None = None,
    some_tensors: bool = False,
) -> list[Atoms]:
    """Read all frames of a file, with their labels in one place and checked.

    Where only some of the ionic steps of a run have EFG tensors (VASP can compute them at the end), and ``require``
    asks for them, the others are left out with a warning.

    Parameters
    ----------
    path
        File of one of `efgmd.frames.formats.FORMATS`.
    keys
        Names of the labels in the file.
    require
        Labels ("energy", "forces", "stress", "efg") that every frame must have; "efg" means the tensor of every atom,
        or with ``some_tensors`` that of one atom at least.
    file_format
        Name of the format; recognised by name and content if None.
    structure
        File with the structure, for formats that keep it apart (gipaw, elk, cp2k).
    some_tensors
        Whether the tensors of some atoms will do where "efg" is required.

    Returns
    -------
    Frames with ``energy``, ``forces`` and ``stress`` (Voigt) as results of ``atoms.calc`` and, where present, the
    symmetric traceless tensors in ``atoms.arrays["efg"]``, of shape ``(N, 3, 3)``, a.u., with the sign of the second
    derivatives of the electrostatic potential. Atoms without a tensor have NaN there and False in ``efg_known``, an
    array that is there only if there are such atoms; see `efgmd.frames.labels.known_atoms`. ``atoms.info`` is kept.

    Raises
    ------
    DataError
        Unreadable file, missing label, wrong shape, a value that is not finite, or a tensor that is
        not symmetric and traceless. Names file and line, or file and frame.
    ConfigError
        Unknown format, or a structure for a format that has its own.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "n2.magres").write_text('''#$magres-abinitio-v1.0
    ... [atoms]
    ... units atom Angstrom
    ... atom N N 1 0 0 0
    ... [/atoms]
    ... [magres]
    ... units efg au
    ... efg N 1 0.6 0 0  0 0.6 0  0 0 -1.2
    ... [/magres]
    ... ''')
    >>> read_frames(folder / "n2.magres")[0].arrays["efg"][0, 2, 2]
    np.float64(-1.2)
    """
    keys = keys or LabelKeys()
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    chosen = find_format(file_format) if file_format else recognise(path)
    if structure is not None and not chosen.takes_structure:
        having = ", ".join(item.name for item in FORMATS.values() if item.takes_structure)
        raise ConfigError(f"{path}: format {chosen.name} has its own structure; --structure is for {having}")
    frames = chosen.read(path, Path(structure) if structure is not None else None)
    if not frames:
        raise DataError(f"{path}: holds no frames")
    numbered = list(enumerate(frames))
    if "efg" in require and chosen.name == "vasp":
        numbered = _with_tensors(path, numbered)
    return [
        labelled(atoms, keys, require, f"{path}, frame {number}", chosen.rounding, some_tensors)
        for number, atoms in numbered
    ]


def _with_tensors(path: Path, numbered: list[tuple[int, Atoms]]) -> list[tuple[int, Atoms]]:
    """Frames that have a table of tensors, if any has one."""
    having = [(number, atoms) for number, atoms in numbered if "efg" in atoms.arrays]
    if not having:
        raise DataError(f"{path}: holds no EFG tensors; run VASP with LEFG = .TRUE.")
    if len(having) < len(numbered):
        left_out = len(numbered) - len(having)
        warnings.warn(
            f"{path}: {left_out} of {len(numbered)} ionic steps have no EFG tensors and are left out", stacklevel=3
        )
    return having
