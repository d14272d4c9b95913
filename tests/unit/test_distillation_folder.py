"""A distillation's folder and its teacher: what belongs to it, what may fail, what reaches the calculator."""

import json
import re
import sys
from importlib import metadata

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.calculators.lj import LennardJones
from rich.console import Console

from efgmd.distillation.checks import check_distillation, claim_folder
from efgmd.distillation.config import load_distillation
from efgmd.distillation.rounds import Rounds
from efgmd.distillation.spec import FRAMES_FILE, OUTCOME_FILE
from efgmd.distillation.structures import read_all, write_all
from efgmd.distillation.teacher import label_frame
from efgmd.errors import DataError, StoreError

QUIET = Console(quiet=True)
TEACHER = """
import json
from ase.calculators.lj import LennardJones

class Teacher(LennardJones):
    def __init__(self, model):
        super().__init__(**json.load(open(model[0]["file"])))
"""
FILE = """
structures: [{file: argon.extxyz, supercell: [1, 1, 2]}]
teacher:
  calculator: own_teacher:Teacher
  arguments: {model: [{file: FOLDER/parameters.json}]}
dynamics: {temperatures: [60], length_ps: 0.1, interval_fs: 20}
perturbation: {frames: 4}
rounds: 2
"""
MOMENTS, CHARGES = [2.0, -1.0, 0.5, 0.0], [0.1, 0.2, -0.3, 0.0]


class Failing(LennardJones):
    """Fails as long as told to."""

    broken = True

    def calculate(self, *arguments, **options):
        if self.broken:
            raise CalculationFailed("no licence")
        super().calculate(*arguments, **options)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A distillation file with a teacher of its own, whose parameters are in a file."""
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.set_initial_magnetic_moments(MOMENTS)
    atoms.set_initial_charges(CHARGES)
    atoms.write(tmp_path / "argon.extxyz")
    (tmp_path / "own_teacher.py").write_text(TEACHER)
    (tmp_path / "parameters.json").write_text(json.dumps({"sigma": 3.4, "epsilon": 0.0104, "rc": 5.0}))
    path = tmp_path / "distill.yaml"
    path.write_text(FILE.replace("FOLDER", str(tmp_path)))
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    sys.modules.pop("own_teacher", None)


def checked(path):
    return check_distillation(load_distillation(path), path)


def started(path, folder, teacher=None):
    """The rounds of a distillation, with another teacher if one is given."""
    found = checked(path)
    if teacher is not None:
        object.__setattr__(found, "teacher", teacher)
    folder.mkdir(exist_ok=True)
    return Rounds(found, folder, QUIET)


def test_folder_of_a_changed_teacher_file_is_refused(source, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    claim_folder(checked(source), folder)
    claim_folder(checked(source), folder)
    assert list(json.loads((folder / "distillation.json").read_text())["teacher_files"]) == ["model[0].file"]
    (tmp_path / "parameters.json").write_text(json.dumps({"sigma": 3.4, "epsilon": 0.02, "rc": 5.0}))
    with pytest.raises(StoreError, match="belongs to a distillation with other teacher files;"):
        claim_folder(checked(source), folder)


def test_folder_of_another_version_of_the_teacher_is_refused(source, tmp_path, monkeypatch):
    text = source.read_text().replace("own_teacher:Teacher", "ase.calculators.lj:LennardJones")
    source.write_text(re.sub("arguments: .*", "arguments: {rc: 5.0}", text))
    folder = tmp_path / "run"
    folder.mkdir()
    claim_folder(checked(source), folder)
    assert json.loads((folder / "distillation.json").read_text())["teacher_version"] == {"ase": metadata.version("ase")}
    monkeypatch.setattr(metadata, "version", lambda name: "0.0")
    with pytest.raises(StoreError, match="belongs to a distillation with other teacher version;"):
        claim_folder(checked(source), folder)


def test_fewer_rounds_than_there_are_is_refused(source, tmp_path):
    folder = tmp_path / "run"
    started(source, folder).begin()
    (folder / "round02").mkdir()
    started(source, folder).begin()
    (folder / "round03").mkdir()
    with pytest.raises(StoreError, match="has round 3 already; give rounds: 3 or more"):
        started(source, folder).begin()


def test_a_teacher_that_fails_on_everything_is_fatal_in_the_first_round_only(source, tmp_path):
    teacher = Failing(sigma=3.4, epsilon=0.0104, rc=5.0)
    rounds = started(source, tmp_path / "run", teacher)
    rounds.begin()
    first, second = rounds.rounds
    with pytest.raises(DataError, match="the teacher fails on all 4 frames: CalculationFailed: no licence"):
        rounds.label(first)
    teacher.broken = False
    rounds.label(first)
    assert len(read_all(first.training)) == 3 and len(read_all(first.validation)) == 1
    teacher.broken = True
    second.folder.mkdir()
    write_all(second.chosen, read_all(first.chosen))
    rounds.label(second)
    assert second.training.exists() and not read_all(second.training)


def write_runs(rounds, item):
    """Runs as the worker leaves them: it knows elements, positions and cell only."""
    for *_, folder in rounds._planned(item):
        folder.mkdir(parents=True)
        atoms = bulk("Ar", "fcc", a=5.3, cubic=True).repeat((1, 1, 2))
        frames = []
        for step in range(4):
            frames.append(atoms.copy())
            frames[-1].rattle(0.05, seed=step)
            frames[-1].info.update(tag=folder.name, step=step)
        write_all(folder / FRAMES_FILE, frames)
        (folder / OUTCOME_FILE).write_text(json.dumps({"share": 1.0, "broken": ""}))


def test_held_out_frames_may_all_fail(source, tmp_path):
    rounds = started(source, tmp_path / "run", Failing(sigma=3.4, epsilon=0.0104, rc=5.0))
    item = rounds.rounds[0]
    write_runs(rounds, item)
    rounds.hold_out(item)
    assert item.held_out.exists() and not read_all(item.held_out)


def test_moments_and_charges_reach_the_teacher_and_the_training_frames(source, tmp_path):
    seen = []

    class Recording(LennardJones):
        def calculate(self, atoms=None, *arguments):
            seen.append((atoms.get_initial_magnetic_moments(), atoms.get_initial_charges()))
            super().calculate(atoms, *arguments)

    rounds = started(source, tmp_path / "run", Recording(sigma=3.4, epsilon=0.0104, rc=5.0))
    item = rounds.rounds[0]
    rounds.begin()
    rounds.label(item)
    write_runs(rounds, item)
    rounds.hold_out(item)
    assert len(seen) == 4 + 3
    files = (item.training, item.validation, item.held_out)
    seen += [(a.get_initial_magnetic_moments(), a.get_initial_charges()) for file in files for a in read_all(file)]
    assert len(seen) == 14
    for moments, charges in seen:
        np.testing.assert_allclose(moments, MOMENTS * 2)
        np.testing.assert_allclose(charges, CHARGES * 2)


def test_other_moments_make_another_distillation(source, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    claim_folder(checked(source), folder)
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.set_initial_charges(CHARGES)
    atoms.write(tmp_path / "argon.extxyz")
    with pytest.raises(StoreError, match="with other structures;"):
        claim_folder(checked(source), folder)


def test_a_teacher_may_have_no_stress_of_this_system():
    class Unstressed(LennardJones):
        def get_property(self, name, atoms=None, allow_calculation=True):
            if name == "stress":
                raise PropertyNotImplementedError("no stress in this mode")
            return super().get_property(name, atoms, allow_calculation)

    class Unforced(Unstressed):
        def get_property(self, name, atoms=None, allow_calculation=True):
            if name == "forces":
                raise PropertyNotImplementedError("no forces in this mode")
            return super().get_property(name, atoms, allow_calculation)

    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    assert label_frame(atoms, LennardJones()).keys() == {"energy", "forces", "stress"}
    assert label_frame(atoms, Unstressed()).keys() == {"energy", "forces"}
    assert label_frame(atoms, Unforced()) == {"failed": "PropertyNotImplementedError: no forces in this mode"}
