"""Parts of the distillation: labels, sane configurations, frames that are chosen in any case, students that break."""

import json
from io import StringIO

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.calculators.lj import LennardJones
from rich.console import Console

from efgmd.campaign.deck import write_start
from efgmd.campaign.runner import Job, run_jobs
from efgmd.distillation.config import Perturbation
from efgmd.distillation.rounds import set_apart
from efgmd.distillation.spec import StudentSpec, finished, read_run
from efgmd.distillation.structures import fault, perturbed
from efgmd.distillation.teacher import count_left_out, label_frames
from efgmd.models import EnergyModel
from efgmd.models.io import save_model
from efgmd.training.selection import choose

QUIET = Console(quiet=True)


def argon(displacement=0.05, seed=0):
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.rattle(displacement, seed=seed)
    return atoms


class Counting(LennardJones):
    """Counts its calculations, and fails on one cell length."""

    calls = 0
    failing = 0.0

    def calculate(self, atoms=None, properties=None, system_changes=()):
        type(self).calls += 1
        if abs(atoms.cell[0, 0] - self.failing) < 1e-9:
            raise CalculationFailed("no convergence\nmore text")
        Calculator.calculate(self, atoms)
        super().calculate(atoms, properties or ["energy"], system_changes)


def test_labels_are_kept_and_bad_frames_left_out(tmp_path):
    frames = [argon(seed=k) for k in range(4)]
    frames[1].set_cell([5.5, 5.3, 5.3])
    frames[2].positions[0] = frames[2].positions[1] + 1.5
    frames[3].info["tag"] = "last"
    teacher = Counting(sigma=3.4, epsilon=0.0104, rc=5.0)
    teacher.failing = 5.5
    Counting.calls = 0
    found = label_frames(frames, teacher, tmp_path, 15.0, QUIET)
    labelled = found.frames
    assert len(labelled) == 2
    assert found.failures == ["CalculationFailed: no convergence"] and found.large_forces == 1
    assert count_left_out(tmp_path, 15.0) == {"failed": 1, "large_forces": 1}
    assert labelled[1].info == {"tag": "last"}
    frames[3].calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=5.0)
    np.testing.assert_allclose(labelled[1].get_forces(), frames[3].get_forces(), rtol=1e-12, atol=1e-14)
    assert json.loads((tmp_path / "00001.json").read_text()) == {"failed": "CalculationFailed: no convergence"}
    (tmp_path / "00000.json").unlink()
    calls = Counting.calls
    again = label_frames(frames, teacher, tmp_path, 15.0, QUIET)
    assert Counting.calls == calls + 2 and len(again.frames) == 2  # the missing one, and the one that failed


def test_frames_on_which_the_teacher_fails_are_asked_again(tmp_path):
    frames = [argon(seed=k) for k in range(3)]
    frames[1].set_cell([5.5, 5.3, 5.3])
    teacher = Counting(sigma=3.4, epsilon=0.0104, rc=5.0)
    teacher.failing = 5.5
    printed = StringIO()
    assert len(label_frames(frames, teacher, tmp_path, 15.0, Console(file=printed)).frames) == 2
    assert "the teacher fails on 1 of 3 frames, first: CalculationFailed: no convergence" in printed.getvalue()
    teacher.failing = 0.0
    Counting.calls = 0
    found = label_frames(frames, teacher, tmp_path, 15.0, QUIET)
    assert len(found.frames) == 3 and not found.failures and Counting.calls == 1


def test_faults_of_configurations():
    atoms = argon()
    assert fault(atoms, 0.5) == ""
    atoms.positions[1] = atoms.positions[0] + [0, 0, 5.3 - 0.9]  # through the boundary
    assert fault(atoms, 0.5) == "Ar and Ar are 0.90 angstrom apart"
    atoms.positions[1, 2] = np.nan
    assert fault(atoms, 0.5) == "positions or cell are not finite"


def test_perturbations_are_as_large_as_said():
    rng = np.random.default_rng(0)
    still = argon(0.0)
    copies = [perturbed(still, Perturbation(displacement=0.1, strain=0.02), rng) for _ in range(200)]
    strains = [np.linalg.solve(still.cell.array, copy.cell.array) - np.eye(3) for copy in copies]
    assert 0.015 < np.abs(strains).max() <= 0.02
    np.testing.assert_allclose(strains, np.swapaxes(strains, 1, 2), atol=1e-12)
    moved = [copy.get_scaled_positions(wrap=False) - still.get_scaled_positions() for copy in copies]
    spread = np.std(np.array(moved) * 5.3)
    assert spread == pytest.approx(0.1 * np.sqrt(np.mean(np.linspace(0.1, 1, 1000) ** 2)), rel=0.1)


def test_validation_frames_are_a_share_drawn_at_random():
    drawn = [set_apart(30, 0.1, seed) for seed in range(50)]
    assert all(len(set(indices)) == 3 for indices in drawn)
    assert {k for indices in drawn for k in indices} > set(range(20))
    assert set_apart(30, 0.1, 7) == set_apart(30, 0.1, 7)
    assert len(set_apart(4, 0.1, 0)) == len(set_apart(2, 0.9, 0)) == 1


def test_frames_that_are_chosen_in_any_case_come_first():
    spreads = np.array([1.0, 5.0, 0.1, 2.0])
    descriptors = np.array([[0.0], [1.0], [1.1], [4.0]])
    chosen = choose(spreads, descriptors, np.zeros((0, 1)), 3, first=[2])
    # 1 disagrees most but lies next to 2, which is taken already: 5 x 0.1 < 2 x 2.9, and 1 x 1.1
    assert [choice.index for choice in chosen] == [2, 3, 0]
    assert [choice.index for choice in choose(spreads, descriptors, np.zeros((0, 1)), 2)] == [1, 3]


def test_a_student_that_breaks_leaves_its_sane_frames(tmp_path):
    torch.manual_seed(0)
    model = EnergyModel(("Ar",), cutoff=5.0, n_radial=4, lmax=2, channels=3, hidden=8)
    for head in model.heads:
        for parameter in head.parameters():
            parameter.data *= 10
    save_model(tmp_path / "wild.safetensors", model)
    atoms = argon(0.1).repeat(2)
    spec = StudentSpec(
        temperature=300.0,
        symbols=atoms.get_chemical_symbols(),
        elements=["Ar"],
        masses=[39.9],
        energy_model=str(tmp_path / "wild.safetensors"),
        energy_sha256="",
        cutoff=5.0,
        dtype="float32",
        ensemble={"kind": "nvt", "temperature_damping_fs": 100.0},
        timestep_fs=0.5,
        minimize=False,
        seed=1,
        name="wild",
        interval_steps=1,
        n_frames=200,
        closest=1.0,
        largest_force=50.0,
    )
    write_start(tmp_path, atoms, spec)
    spec.write(tmp_path)
    assert not finished(tmp_path)
    run_jobs([Job(spec, tmp_path, worker="efgmd.distillation.worker")], 1, lambda jobs: None)
    run = read_run(tmp_path)
    assert run.broken and run.share < 1
    assert len(run.frames) > 1 and all(fault(frame, 1.0) == "" for frame in run.frames)
    assert [frame.info["step"] for frame in run.frames] == list(range(len(run.frames)))
    np.testing.assert_allclose(run.frames[0].get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-5)
