"""The teacher: any ASE calculator, named by its import path, and labels from it."""

import contextlib
import importlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console

from efgmd.coupling.header import file_hash
from efgmd.distillation.config import Teacher
from efgmd.distillation.structures import bare
from efgmd.errors import ConfigError
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


def teacher_files(teacher: Teacher) -> dict[str, str]:
    """SHA-256 of the files that the teacher's arguments name, by the argument (``model``, ``models[0]``)."""
    return {name: file_hash(path) for name, path in _file_arguments("", teacher.arguments)}


def _file_arguments(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _file_arguments(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _file_arguments(f"{name}[{number}]", inner)
    elif isinstance(value, str) and os.path.isfile(value):
        yield name, value


def teacher_version(teacher: Teacher) -> dict[str, str]:
    """Versions of the packages that the teacher's module is installed from; none for a module of the user's own."""
    names = metadata.packages_distributions().get(teacher.calculator.partition(":")[0].partition(".")[0], [])
    return {name: metadata.version(name) for name in sorted(set(names))}


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def label_frame(atoms: Atoms, calculator: Any) -> dict[str, Any]:
    """Energy (eV), forces ``(N, 3)`` (eV/angstrom) and, if there is one, stress (Voigt, eV/angstrom^3), JSON-able.

    Magnetic moments and charges that the frame starts from reach the calculator. A calculator that names stress among
    its properties may still have none of this system.

    Where the calculator fails or a label is not finite, the only entry is ``failed`` with the reason.
    """
    frame = bare(atoms)
    frame.calc = calculator
    try:
        labels = {"energy": float(frame.get_potential_energy()), "forces": frame.get_forces().tolist()}
        if "stress" in calculator.implemented_properties:
            with contextlib.suppress(NotImplementedError):
                labels["stress"] = frame.get_stress().tolist()
    except Exception as error:  # a calculator may fail in any way, for example by not converging
        return {"failed": _reason(error)}
    if not all(np.isfinite(value).all() for value in labels.values()):
        return {"failed": "labels that are not finite"}
    return labels


@dataclass(frozen=True)
class Labelled:
    """What the teacher has made of some frames.

    Attributes
    ----------
    frames
        Those with labels, with their info; those left out are missing.
    failures
        Reasons of the frames on which it failed, in their order.
    large_forces
        Number of frames left out for their forces.
    """

    frames: list[Atoms]
    failures: list[str]
    large_forces: int


def label_frames(
    frames: Sequence[Atoms], calculator: Any, folder: Path, largest_force: float, console: Console
) -> Labelled:
    """Label frames one by one, each kept in a file of ``folder``, so that a second call goes on where the first ended.

    Frames on which the teacher failed are asked again by a second call: the reason may have gone.

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
        For the progress, and the first reason where the teacher fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labels = []
    with Counter("labels", len(frames), console) as progress:
        for number, atoms in enumerate(frames):
            file = folder / f"{number:05d}.json"
            found = _kept(file)
            if "failed" in found:
                found = label_frame(atoms, calculator)
                write_whole(file, json.dumps(found))
            labels.append(found)
            progress.advance()
    failures = [found["failed"] for found in labels if "failed" in found]
    if failures:
        text = f"the teacher fails on {len(failures)} of {len(frames)} frames, first: {failures[0]}"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    labelled = []
    for atoms, found in zip(frames, labels, strict=True):
        if _is_usable(found, largest_force):
            copy = bare(atoms)
            copy.info = dict(atoms.info)
            copy.calc = SinglePointCalculator(copy, **{name: np.array(value) for name, value in found.items()})
            labelled.append(copy)
    return Labelled(labelled, failures, len(frames) - len(labelled) - len(failures))


def count_left_out(folder: Path, largest_force: float) -> dict[str, int]:
    """Number of frames of a folder of labels that are left out, by the reason.

    ``failed``: the teacher failed; ``large_forces``: it found a force of ``largest_force`` (eV/angstrom) or more.
    """
    labels = [_kept(file) for file in sorted(folder.glob("*.json"))]
    failed = sum("failed" in found for found in labels)
    usable = sum(_is_usable(found, largest_force) for found in labels)
    return {"failed": failed, "large_forces": len(labels) - failed - usable}


def _kept(file: Path) -> dict[str, Any]:
    """Labels of a frame that are kept, or why there are none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"failed": "not asked yet"}


def _is_usable(labels: dict[str, Any], largest_force: float) -> bool:
    return bool("failed" not in labels and np.linalg.norm(labels["forces"], axis=1).max() < largest_force)
