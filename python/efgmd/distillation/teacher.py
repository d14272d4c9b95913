"""The teacher: any ASE calculator, named by its import path, and labels from it."""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console

from efgmd.distillation.config import Teacher
from efgmd.errors import ConfigError, DataError
from efgmd.files import write_whole
from efgmd.progress import Counter


def create_teacher(teacher: Teacher) -> Any:
    """Import and create the calculator.

    Raises
    ------
    ConfigError
        It cannot be imported or created, or gives no energies and forces.
    """
    module, _, name = teacher.calculator.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a foreign module may fail in any way
        raise ConfigError(
            f"teacher.calculator: cannot import {teacher.calculator} ({_reason(error)}), expected an ASE calculator "
            "that is installed here"
        ) from error
    try:
        calculator = found(**teacher.arguments)
    except Exception as error:
        raise ConfigError(f"teacher.arguments: {name} does not take them: {_reason(error)}") from error
    missing = [name for name in ("energy", "forces") if name not in getattr(calculator, "implemented_properties", ())]
    if missing:
        raise ConfigError(f"teacher.calculator: {teacher.calculator} gives no {' and no '.join(missing)}")
    return calculator


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def label_frame(atoms: Atoms, calculator: Any) -> dict[str, Any]:
    """Energy (eV), forces ``(N, 3)`` (eV/angstrom) and, if there is one, stress (Voigt, eV/angstrom^3), JSON-able.

    Where the calculator fails or a label is not finite, the only entry is ``failed`` with the reason.
    """
    frame = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    frame.calc = calculator
    try:
        labels = {"energy": float(frame.get_potential_energy()), "forces": frame.get_forces().tolist()}
        if "stress" in calculator.implemented_properties:
            labels["stress"] = frame.get_stress().tolist()
    except Exception as error:  # a calculator may fail in any way, for example by not converging
        return {"failed": _reason(error)}
    if not all(np.isfinite(value).all() for value in labels.values()):
        return {"failed": "labels that are not finite"}
    return labels


def label_frames(
    frames: Sequence[Atoms], calculator: Any, folder: Path, largest_force: float, console: Console
) -> list[Atoms]:
    """Label frames one by one, each kept in a file of ``folder``, so that a second call goes on where the first ended.

    Parameters
    ----------
    frames
        Their labels, if any, are ignored.
    calculator
        The teacher.
    folder
        Of the labels; made if it is not there, one file ``NUMBER.json`` for each frame.
    largest_force
        Frames with a larger one, eV/angstrom, are left out: such close contacts are left to the repulsion.
    console
        For the progress.

    Returns
    -------
    The labelled frames, with their info; those left out are missing.

    Raises
    ------
    DataError
        The teacher fails on every frame.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:05d}.json" for number in range(len(frames))]
    with Counter("labels", len(frames), console) as progress:
        for atoms, file in zip(frames, files, strict=True):
            if not file.exists():
                write_whole(file, json.dumps(label_frame(atoms, calculator)))
            progress.advance()
    labels = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    if labels and all("failed" in found for found in labels):
        for file in files:  # a teacher that was mended must be asked again
            file.unlink()
        raise DataError(f"the teacher fails on all {len(frames)} frames: {labels[0]['failed']}")
    labelled = []
    for atoms, found in zip(frames, labels, strict=True):
        if "failed" not in found and np.linalg.norm(found["forces"], axis=1).max() < largest_force:
            copy = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=atoms.info)
            copy.calc = SinglePointCalculator(copy, **{name: np.array(value) for name, value in found.items()})
            labelled.append(copy)
    return labelled
