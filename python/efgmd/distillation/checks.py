"""Checks of a distillation against what its file names, before anything runs; and whether a folder belongs to it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from efgmd.campaign.checks import read_structure
from efgmd.distillation.config import Distillation
from efgmd.distillation.structures import INITIAL, bare
from efgmd.distillation.teacher import create_teacher, teacher_files, teacher_version
from efgmd.errors import ConfigError, StoreError
from efgmd.files import write_whole

RECORD_FILE = "distillation.json"


@dataclass(frozen=True)
class CheckedDistillation:
    """A distillation whose structures have been read and whose teacher has been created.

    Attributes
    ----------
    config
        The validated fields.
    structures
        Starting structures, supercells included.
    elements
        Of the student, in the order of the LAMMPS types: as they appear in the structures.
    teacher
        ASE calculator.
    """

    config: Distillation
    structures: tuple[Atoms, ...]
    elements: tuple[str, ...]
    teacher: Any


def check_distillation(config: Distillation, source: Path) -> CheckedDistillation:
    """Read the structures and create the teacher.

    Parameters
    ----------
    config
        Validated fields.
    source
        The distillation file, named in errors.

    Raises
    ------
    ConfigError
        With one line per mistake.
    """
    problems: list[str] = []
    structures = []
    for number, start in enumerate(config.structures):
        atoms = read_structure(start.file, f"structures[{number}].file", problems)
        if atoms is not None:
            structures.append(bare(atoms).repeat(start.supercell))
    teacher = None
    try:
        teacher = create_teacher(config.teacher)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems, str(source))
    elements = tuple(dict.fromkeys(symbol for atoms in structures for symbol in atoms.get_chemical_symbols()))
    return CheckedDistillation(config, tuple(structures), elements, teacher)


def claim_folder(checked: CheckedDistillation, folder: Path) -> None:
    """Write what decides the distillation into its folder, or compare it with what is there.

    Raises
    ------
    StoreError
        The folder belongs to a distillation with other settings, or with another teacher behind the same settings:
        other files, or another version of its package; names them.
    """
    settings = checked.config.model_dump(mode="json", exclude={"rounds", "output"})
    geometries = [
        [a.numbers.tolist(), a.positions.tolist(), a.cell.array.tolist()]
        + [[name, a.get_array(name).tolist()] for name in INITIAL if a.has(name)]
        for a in checked.structures
    ]
    settings["structures"] = hashlib.sha256(json.dumps(geometries).encode()).hexdigest()
    settings["teacher_files"] = teacher_files(checked.config.teacher)
    settings["teacher_version"] = teacher_version(checked.config.teacher)
    record = folder / RECORD_FILE
    if not record.exists():
        write_whole(record, json.dumps(settings, indent=1) + "\n")
        return
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{record} is damaged; choose another output folder") from error
    differing = [name.replace("_", " ") for name in settings if known.get(name) != settings[name]]
    if differing:
        raise StoreError(
            f"{folder} belongs to a distillation with other {', '.join(differing)}; "
            "choose another output folder or remove that one"
        )
