"""Convert the output of first-principles codes into one file of frames with EFG tensors."""

import warnings
from collections import Counter as Tally
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from rich.console import Console

from efgmd.errors import ConfigError, DataError
from efgmd.frames.labels import LabelKeys, known_atoms
from efgmd.frames.readers import read_frames
from efgmd.frames.writers import write_frames, written_format
from efgmd.nuclei import Nucleus
from efgmd.progress import Counter
from efgmd.tensors import principal_values


def convert(
    inputs: Sequence[Path],
    output: Path,
    *,
    read_as: str | None = None,
    write_as: str | None = None,
    structure: Path | None = None,
    keys: LabelKeys | None = None,
    nuclei: Sequence[Nucleus] | None = None,
    keep_unlabelled: bool = False,
    console: Console | None = None,
) -> list[Path]:
    """Read files, say what is in them, and write their frames into one file.

    Frames that do not name their run in ``tag`` get the name of their file (and of its folder where files share a
    name), so that training can hold out whole files.

    Parameters
    ----------
    inputs
        Files of any format in `efgmd.frames.formats.FORMATS`.
    output
        File to write.
    read_as, write_as
        Names of formats; recognised if None.
    structure
        Structure of the one input, for formats that keep it apart.
    keys
        Names of the labels in the inputs.
    nuclei
        Nuclei of a table of couplings.
    keep_unlabelled
        Also write frames without EFG tensors, and atoms without.
    console
        Where to report; standard output if None.

    Returns
    -------
    The files written.

    Raises
    ------
    ConfigError
        Wrong options.
    DataError
        An input that cannot be used.
    """
    console = console or Console()
    written_format(output, write_as)
    if structure is not None and len(inputs) > 1:
        raise ConfigError("--structure is the structure of one input; convert the inputs one by one")
    if any(path.resolve() == output.resolve() for path in inputs):
        raise ConfigError(f"{output}: is also an input; choose another name")
    frames: list[Atoms] = []
    with Counter("files", len(inputs), console) as progress, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        for path, name in zip(inputs, _run_names(inputs), strict=True):
            require = () if keep_unlabelled else ("efg",)
            found = read_frames(path, keys, require, read_as, structure)
            for number, atoms in enumerate(found):
                atoms.info.setdefault("tag", f"{name}-{number}" if len(found) > 1 else name)
            frames += found
            progress.advance()
    for message in dict.fromkeys(str(item.message) for item in caught if issubclass(item.category, UserWarning)):
        console.print(f"warning: {message}", highlight=False, markup=False, soft_wrap=True)
    written = write_frames(output, frames, write_as, nuclei)
    for line in _summary(frames):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    shown = str(written[0]) if len(written) == 1 else f"{written[0]} to {written[-1].name}"
    console.print(f"wrote {shown}", highlight=False, markup=False, soft_wrap=True)
    return written


def _run_names(inputs: Sequence[Path]) -> list[str]:
    """Name of the run in each file: its stem, with as many of its folders as tell the files apart."""
    for depth in range(1, 1 + max(len(path.resolve().parts) for path in inputs)):
        names = ["-".join((*path.resolve().parts[-depth:-1], path.stem)) for path in inputs]
        if len(set(names)) == len(names):
            return names
    twice = Tally(names).most_common(1)[0][0]
    raise DataError(f"two inputs have the same name ({twice}); give each file once")


def _summary(frames: Sequence[Atoms]) -> list[str]:
    """What was read: numbers, and the size of the tensors of each element, so that a wrong unit shows."""
    labelled = sum(1 for atoms in frames if known_atoms(atoms).any())
    atoms_in_all = sum(len(atoms) for atoms in frames)
    lines = [f"{len(frames)} frames with {atoms_in_all} atoms; {labelled} of them with EFG tensors"]
    vzz: dict[str, list[float]] = {}
    for atoms in frames:
        for k in np.flatnonzero(known_atoms(atoms)):
            vzz.setdefault(atoms.symbols[k], []).append(abs(float(principal_values(atoms.arrays["efg"][k])[2])))
    for symbol, values in vzz.items():
        lines.append(f"{symbol:2} {len(values):7d} tensors, mean |Vzz| {np.mean(values):.4g} a.u.")
    return lines
