"""`efgmd distill` at toy size: solid argon, whose teacher is ASE's Lennard-Jones calculator."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.io import read
from toy_campaign import efgmd, wait_for

from efgmd.cli import main
from efgmd.distillation.spec import OUTCOME_FILE
from efgmd.distillation.structures import read_all

TOY = """
structures: [{file: argon.extxyz, supercell: [2, 2, 2]}]
teacher:
  calculator: ase.calculators.lj:LennardJones
  arguments: {sigma: 3.4, epsilon: 0.0104, rc: 5.5, smooth: true}
dynamics:
  temperatures: [60]
  length_ps: 0.4
  interval_fs: 20
  timestep_fs: 0.1
  closest: 1.2
  ensemble: {kind: nvt}
perturbation: {frames: 8, displacement: 0.15, strain: 0.01}
selection: {frames: 8, held_out: 6}
training:
  model: {cutoff: 5.5, n_radial: 4, lmax: 2, channels: 3, hidden: 8}
  epochs: 25
  validation_fraction: 0.25
retraining: {learning_rate: 0.002}
rounds: 2
seed: 4
"""


def write_toy(folder, text=TOY):
    bulk("Ar", "fcc", a=5.3, cubic=True).write(folder / "argon.extxyz")
    path = folder / "argon.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    """Output folder of a distillation that ran to its end undisturbed, and what it printed."""
    path = write_toy(tmp_path_factory.mktemp("distilled"))
    done = efgmd("distill", path, timeout=600)
    assert done.returncode == 0, done.stderr
    return path.with_name("argon-run"), done.stdout


def test_held_out_errors_fall(distilled):
    folder, printed = distilled
    results = json.loads((folder / "results.json").read_text())
    first, second = results["rounds"]
    assert first["frames"]["training"] + first["frames"]["validation"] == 8
    assert second["frames"]["training"] + second["frames"]["validation"] == 16
    assert first["held_out"]["frames"] == second["held_out"]["frames"] == results["held_out_frames"] == 12
    assert second["held_out"]["forces_rmse_meV_per_A"] < 0.7 * first["held_out"]["forces_rmse_meV_per_A"]
    assert second["share_intact"] == 1 and second["runs"] == 2
    assert "force field:" in printed and "MD intact" in printed


def test_labels_are_those_of_the_teacher(distilled):
    folder, _ = distilled
    frame = read(folder / "round02" / "training.xyz", 0)
    teacher = LennardJones(sigma=3.4, epsilon=0.0104, rc=5.5, smooth=True)
    bare = frame.copy()
    bare.calc = teacher
    np.testing.assert_allclose(frame.get_forces(), bare.get_forces(), atol=1e-6)
    np.testing.assert_allclose(frame.get_stress(), bare.get_stress(), atol=1e-6)
    assert frame.get_potential_energy() == pytest.approx(bare.get_potential_energy(), abs=1e-6)


def test_held_out_runs_are_never_trained_on(distilled):
    folder, _ = distilled
    trained = {atoms.info["tag"] for name in ("training", "validation") for atoms in chosen(folder, name)}
    judged = {atoms.info["tag"] for atoms in chosen(folder, "held-out")}
    assert judged == {f"round{number}-structure1-60K-run2" for number in (1, 2)}
    assert "round1-structure1-60K-run1" in trained and not judged & trained


def chosen(folder, name):
    return [atoms for path in folder.glob(f"round*/{name}.xyz") for atoms in read_all(path)]


def test_a_killed_distillation_resumes_to_the_same_frames(distilled, tmp_path):
    reference, _ = distilled
    folder = tmp_path / "argon-run"
    command = [sys.executable, "-m", "efgmd.cli", "distill", str(write_toy(tmp_path))]

    def run_until(condition):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        wait_for(lambda: condition() or process.poll() is not None, timeout=300)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()

    run_until(lambda: any(folder.glob("round01/dynamics/*/log.lammps")))
    # Killed within the dynamics of two runs, of which one may have ended just then.
    assert len(list(folder.glob(f"round01/dynamics/*/{OUTCOME_FILE}"))) < 2 and not any(folder.glob("round02"))
    students = {path: path.stat().st_mtime_ns for path in folder.glob("round01/*.safetensors")}
    assert len(students) == 2

    run_until((folder / "round02" / "chosen.xyz").exists)
    assert {path: path.stat().st_mtime_ns for path in students} == students
    ours, theirs = (read(run / "round02" / "chosen.xyz", ":") for run in (folder, reference))
    assert [(a.info["tag"], a.info["step"]) for a in ours] == [(a.info["tag"], a.info["step"]) for a in theirs]
    np.testing.assert_array_equal([a.positions for a in ours], [a.positions for a in theirs])


def test_a_finished_distillation_refuses_other_settings_and_does_nothing_twice(
    distilled, tmp_path, monkeypatch, capsys
):
    folder, _ = distilled
    path = folder.with_name("argon.yaml")
    lines = refused(monkeypatch, capsys, path, TOY.replace("seed: 4", "seed: 5"))
    assert lines == [
        f"error: {folder} belongs to a distillation with other seed; choose another output folder or remove that one"
    ]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    path.write_text(TOY)
    monkeypatch.setattr(sys, "argv", ["efgmd", "distill", str(path)])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "force field:" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors") if path.parent != folder}
    assert after and after.items() <= before.items()


def refused(monkeypatch, capsys, path, text, *arguments):
    """Error lines of a distillation that must be refused before anything runs."""
    path.write_text(text)
    monkeypatch.setattr(sys, "argv", ["efgmd", "distill", str(path), *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    lines = capsys.readouterr().err.strip().splitlines()
    assert all(line.startswith("error: ") for line in lines), lines
    return lines


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("argon.extxyz", "none.extxyz", "structures[0].file: found 'none.extxyz', expected a file"),
        ("calculator: ase.calculators.lj:LennardJones", "calculator: LennardJones", "expected MODULE:CLASS such as"),
        ("lj:LennardJones", "lj:Lennard", "teacher.calculator: cannot import ase.calculators.lj:Lennard"),
        ("ase.calculators.lj:", "no.such.module:", "teacher.calculator: cannot import no.such.module:LennardJones"),
        ("calculators.lj:LennardJones", "units:create_units", "teacher.arguments: create_units does not take them"),
        ("calculators.lj:LennardJones", "atoms:Atoms", "teacher.arguments: Atoms does not take them"),
        ("  arguments: {sigma: 3.4, ", "  argument: {sigma: 3.4, ", "teacher.argument: unknown field; did you mean"),
        ("  temperatures: [60]\n", "", "dynamics.temperatures: missing, expected a list of temperatures in kelvin"),
        ("temperatures: [60]", "temperatures: [60, -1]", "dynamics.temperatures[1]: found -1"),
        (
            "interval_fs: 20",
            "interval_fs: 20.05",
            "dynamics: interval_fs: found 20.05, expected a multiple of timestep_fs",
        ),
        ("length_ps: 0.4", "length_ps: 0.01", "dynamics: length_ps: found 0.01, expected at least one interval_fs"),
        ("length_ps: 0.4", "length_ps: 0.4\n  runs: 1", "dynamics.runs: found 1, expected greater than or equal to 2"),
        ("kind: nvt", "kind: nve", "dynamics.ensemble.kind: found 'nve'"),
        ("held_out: 6", "held_out: 6, students: 1", "selection.students: found 1"),
        ("epochs: 25", "epochs: many", "training.epochs:"),
        ("channels: 3", "chanels: 3", "training.model.chanels: unknown hyperparameter"),
        ("epochs: 25", "epochs: 40\n  seed: 3", "training.seed: is decided by the distillation, leave it out"),
        ("learning_rate: 0.002", "learning_rate: -1", "retraining.learning_rate:"),
        ("seed: 4", "sed: 4", "sed: unknown field; did you mean seed?"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, monkeypatch, capsys, old, new, message):
    path = write_toy(tmp_path)
    assert old in TOY
    lines = refused(monkeypatch, capsys, path, TOY.replace(old, new, 1))
    assert len(lines) == 1 and message in lines[0] and str(path) in lines[0], lines
    assert not (tmp_path / "argon-run").exists()
