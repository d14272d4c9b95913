"""Read labelled frames: energy, forces, stress and EFG tensors, from extended XYZ or any file that ASE reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from efgmd.errors import DataError

#: A tensor may miss tracelessness and symmetry by this much, in a.u. plus a share of its largest component: the
#: rounding of a text file (VASP prints 1e-3 V/angstrom^2, 1e-5 a.u.), and far below what a model can resolve.
EFG_ABSOLUTE_TOLERANCE = 1e-4
EFG_RELATIVE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class LabelKeys:
    """Names under which the labels are stored in ``atoms.info``, ``atoms.arrays`` or the frame's calculator.

    Attributes
    ----------
    energy
        Total energy of the frame, eV.
    forces
        Of shape ``(N, 3)``, eV/angstrom.
    stress
        Voigt (xx yy zz yz xz xy), nine numbers or ``(3, 3)``, eV/angstrom^3, positive under tension as in ASE.
    efg
        Of shape ``(N, 9)`` row-major or ``(N, 3, 3)``, a.u.
    """

    energy: str = "energy"
    forces: str = "forces"
    stress: str = "stress"
    efg: str = "efg"


def read_frames(path: str | Path, keys: LabelKeys | None = None, require: Sequence[str] = ()) -> list[Atoms]:
    """Read all frames of a file, with their labels in one place and checked.

    Parameters
    ----------
    path
        File in any format that ASE reads.
    keys
        Names of the labels in the file.
    require
        Labels ("energy", "forces", "stress", "efg") that every frame must have.

    Returns
    -------
    Frames with ``energy``, ``forces`` and ``stress`` (Voigt) as results of ``atoms.calc`` and, where present, the
    symmetric traceless tensors in ``atoms.arrays["efg"]``, of shape ``(N, 3, 3)``. ``atoms.info`` is kept.

    Raises
    ------
    DataError
        Unreadable file, missing label, wrong shape, a value that is not finite, or a tensor that is
        not symmetric and traceless.
    """
    keys = keys or LabelKeys()
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        frames = ase.io.read(path, index=":")
    except Exception as error:  # ASE's readers raise anything, down to StopIteration
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: ASE cannot read it ({reason}); give extended XYZ or another ASE format") from error
    if not frames:
        raise DataError(f"{path}: holds no frames")
    return [labelled(atoms, keys, require, f"{path}, frame {number}") for number, atoms in enumerate(frames)]


def labelled(atoms: Atoms, keys: LabelKeys, require: Sequence[str], where: str) -> Atoms:
    """One frame of `read_frames`; ``where`` (file and frame) begins its errors."""
    n = len(atoms)
    if not n:
        raise DataError(f"{where}: has no atoms")
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise DataError(f"{where}: positions or cell are not finite numbers")
    if atoms.pbc.any() and np.any(atoms.cell.lengths()[atoms.pbc] == 0):
        raise DataError(f"{where}: is periodic along an axis without a cell vector")
    labels = {name: _find(atoms, getattr(keys, name)) for name in ("energy", "forces", "stress", "efg")}
    for name in require:
        if labels[name] is None:
            raise DataError(
                f"{where}: has no {name} under the key '{getattr(keys, name)}'; it has {_present(atoms)}; "
                f"name the right one (--key {name}=...)"
            )
    frame = atoms.copy()
    results: dict[str, NDArray | float] = {}
    if labels["energy"] is not None:
        results["energy"] = float(_numbers(labels["energy"], [()], "energy", where))
    if labels["forces"] is not None:
        results["forces"] = _numbers(labels["forces"], [(n, 3)], "forces", where)
    if labels["stress"] is not None:
        stress = _numbers(labels["stress"], [(6,), (9,), (3, 3)], "stress", where)
        results["stress"] = _voigt(stress, where)
    if labels["efg"] is not None:
        tensors = _numbers(labels["efg"], [(n, 9), (n, 3, 3)], "efg", where).reshape(n, 3, 3)
        for key in {keys.efg, "efg"} & set(frame.arrays):
            del frame.arrays[key]
        frame.new_array("efg", _checked_efg(tensors, where))
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


def _find(atoms: Atoms, key: str):
    for place in (atoms.calc.results if atoms.calc is not None else {}, atoms.arrays, atoms.info):
        if key in place:
            return place[key]
    return None


def _present(atoms: Atoms) -> str:
    calculated = list(atoms.calc.results) if atoms.calc is not None else []
    names = [name for name in [*calculated, *atoms.arrays, *atoms.info] if name not in ("numbers", "positions")]
    return ", ".join(names) or "no labels at all"


def _numbers(value, shapes: list[tuple[int, ...]], name: str, where: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where}: {name} is not numeric") from None
    if array.shape not in shapes:
        raise DataError(f"{where}: {name} has shape {array.shape}, expected {' or '.join(map(str, shapes))}")
    if not np.isfinite(array).all():
        raise DataError(f"{where}: {name} holds values that are not finite; remove or relabel the frame")
    return array


def _voigt(stress: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    if stress.shape == (6,):
        return stress
    full = stress.reshape(3, 3)
    if np.abs(full - full.T).max() > 1e-6 + 1e-3 * np.abs(full).max():
        raise DataError(f"{where}: stress is not symmetric")
    full = 0.5 * (full + full.T)
    return full[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def _checked_efg(tensors: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """Symmetrise tensors of shape ``(N, 3, 3)`` whose trace and asymmetry are rounding; refuse others."""
    tolerance = EFG_ABSOLUTE_TOLERANCE + EFG_RELATIVE_TOLERANCE * np.abs(tensors).max(axis=(1, 2))
    transposed = tensors.transpose(0, 2, 1)
    trace = np.trace(tensors, axis1=1, axis2=2)
    for name, size in (("asymmetry", np.abs(tensors - transposed).max(axis=(1, 2))), ("trace", np.abs(trace))):
        if (size > tolerance).any():
            atom = int((size - tolerance).argmax())
            raise DataError(
                f"{where}: the efg tensor of atom {atom} has {name} {size[atom]:.3g} a.u., which is not rounding; "
                "give symmetric traceless tensors, row-major"
            )
    return 0.5 * (tensors + transposed) - trace[:, None, None] / 3 * np.eye(3)
