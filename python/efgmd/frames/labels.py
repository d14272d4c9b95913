"""Labels of a frame: where they are kept, and the checks that every one of them passes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from efgmd.errors import ConfigError, DataError
from efgmd.tensors import symmetric_traceless

#: A tensor may miss tracelessness and symmetry by this much, in a.u. plus a share of its largest component: the
#: rounding of a text file (VASP prints 1e-3 V/angstrom^2, 1e-5 a.u.), and far below what a model can resolve.
EFG_ABSOLUTE_TOLERANCE = 1e-4
EFG_RELATIVE_TOLERANCE = 1e-4

#: Array of a frame that has tensors for some atoms only: True where the atom has one. Other rows of "efg" are NaN.
KNOWN = "efg_known"


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


def label_keys(assignments: Iterable[str]) -> LabelKeys:
    """Names of labels as they are given on the command line, NAME=KEY.

    Raises
    ------
    ConfigError
        Not of this form, or an unknown name.
    """
    names = {}
    for item in assignments:
        name, _, key = item.partition("=")
        if name not in LabelKeys.__dataclass_fields__ or not key:
            known = ", ".join(LabelKeys.__dataclass_fields__)
            raise ConfigError(f"--key {item}: write NAME=KEY, with a NAME of {known}")
        names[name] = key
    return LabelKeys(**names)


def known_atoms(atoms: Atoms) -> NDArray[np.bool_]:
    """Whether each atom has an EFG tensor, of shape ``(N,)``; all False in a frame without tensors."""
    if "efg" not in atoms.arrays:
        return np.zeros(len(atoms), dtype=bool)
    return np.asarray(atoms.arrays.get(KNOWN, np.ones(len(atoms))), dtype=bool)


def labelled(
    atoms: Atoms,
    keys: LabelKeys,
    require: Sequence[str],
    where: str,
    rounding: float = EFG_ABSOLUTE_TOLERANCE,
    some_tensors: bool = False,
    option: str = "--key {}=...",
) -> Atoms:
    """Copy of a frame with its labels checked and in one place.

    Parameters
    ----------
    atoms
        Frame as it was read.
    keys
        Names of the labels in it.
    require
        Labels ("energy", "forces", "stress", "efg") that it must have; "efg" means the tensor of every atom, or
        with ``some_tensors`` that of one atom at least.
    where
        Name of the frame for error messages.
    rounding
        Trace and asymmetry that tensors may have from the digits of their file, a.u.
    some_tensors
        Whether the tensors of some atoms will do where "efg" is required.
    option
        How the name of a label is given on the command line, for error messages.

    Returns
    -------
    Frame with ``energy``, ``forces`` and ``stress`` (Voigt) as results of ``atoms.calc``, and with symmetric traceless
    tensors in ``atoms.arrays["efg"]``, of shape ``(N, 3, 3)``. Where some atoms have no tensor, ``efg_known`` says
    which have, and the rows of the others are NaN. ``atoms.info`` is kept.

    Raises
    ------
    DataError
        Missing label, wrong shape, a value that is not finite, or a tensor that is not symmetric and traceless.
    """
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
                f"name the right one ({option.format(name)})"
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
    known = _known(frame, where)
    if labels["efg"] is not None:
        tensors = _numbers(labels["efg"], [(n, 9), (n, 3, 3)], "efg", where, known).reshape(n, 3, 3)
        for key in {keys.efg, "efg"} & set(frame.arrays):
            del frame.arrays[key]
        tensors[known] = _checked_efg(tensors[known], np.flatnonzero(known), where, rounding)
        tensors[~known] = np.nan
        frame.new_array("efg", tensors)
    if "efg" in require and not (known.any() if some_tensors else known.all()):
        without = ", ".join(f"{k} ({frame.symbols[k]})" for k in np.flatnonzero(~known)[:5])
        raise DataError(
            f"{where}: {int((~known).sum())} of {n} atoms have no efg tensor, among them atom {without}; "
            f"label {'one of them at least' if some_tensors else 'all of them'}, or leave the frame out"
        )
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


def _known(frame: Atoms, where: str) -> NDArray[np.bool_]:
    """Take the array of labelled atoms out of the frame where it says nothing, and check it where it does."""
    if KNOWN not in frame.arrays:
        return np.ones(len(frame), dtype=bool)
    known = frame.arrays[KNOWN]
    if known.shape != (len(frame),) or not np.isin(known, (0, 1)).all():
        raise DataError(f"{where}: {KNOWN} must say T or F for each atom")
    known = known.astype(bool)
    if known.all():
        del frame.arrays[KNOWN]
    else:
        frame.set_array(KNOWN, known, bool)
    return known


def _find(atoms: Atoms, key: str):
    for place in (atoms.calc.results if atoms.calc is not None else {}, atoms.arrays, atoms.info):
        if key in place:
            return place[key]
    return None


def _present(atoms: Atoms) -> str:
    calculated = list(atoms.calc.results) if atoms.calc is not None else []
    names = [name for name in [*calculated, *atoms.arrays, *atoms.info] if name not in ("numbers", "positions")]
    return ", ".join(names) or "no labels at all"


def _numbers(
    value, shapes: list[tuple[int, ...]], name: str, where: str, rows: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where}: {name} is not numeric") from None
    if array.shape not in shapes:
        raise DataError(f"{where}: {name} has shape {array.shape}, expected {' or '.join(map(str, shapes))}")
    if not np.isfinite(array if rows is None else array[rows]).all():
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


def _checked_efg(
    tensors: NDArray[np.float64], numbers: NDArray[np.intp], where: str, rounding: float
) -> NDArray[np.float64]:
    """Symmetrise tensors of shape ``(n, 3, 3)`` whose trace and asymmetry are rounding; refuse others."""
    tolerance = max(rounding, EFG_ABSOLUTE_TOLERANCE) + EFG_RELATIVE_TOLERANCE * np.abs(tensors).max(axis=(1, 2))
    trace = np.trace(tensors, axis1=1, axis2=2)
    asymmetry = np.abs(tensors - tensors.transpose(0, 2, 1)).max(axis=(1, 2))
    for name, size in (("asymmetry", asymmetry), ("trace", np.abs(trace))):
        if (size > tolerance).any():
            worst = int((size - tolerance).argmax())
            raise DataError(
                f"{where}: the efg tensor of atom {numbers[worst]} has {name} {size[worst]:.3g} a.u., which is not "
                "rounding; give symmetric traceless tensors, row-major"
            )
    return symmetric_traceless(tensors)
