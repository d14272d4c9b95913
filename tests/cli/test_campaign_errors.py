"""Mistakes in a campaign: one line each, exit status 2, nothing left that looks complete."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from ase.io import read
from toy_campaign import CAMPAIGN, efgmd, samples_of, wait_for, workers_of, write_toy

from efgmd.cli import main


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors")
    write_toy(folder)
    (folder / "text.safetensors").write_text("no model")
    (folder / "notes.txt").write_text("no structure\n")
    return folder


def refused(capsys, folder, text, *arguments):
    """Error lines of a campaign that must be refused before anything runs (in this process: torch loads once)."""
    path = folder / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(SystemExit) as stopped, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["efgmd", "run", str(path), *map(str, arguments)])
        main()
    assert stopped.value.code == 2
    assert not (folder / "wrong-run").exists()
    lines = capsys.readouterr().err.strip().splitlines()
    assert all(line.startswith("error: ") for line in lines), lines
    return lines


@pytest.mark.parametrize(
    ("old", "new", "field", "text"),
    [
        ("cell.extxyz", "nothing.extxyz", "structure.file", "expected a file"),
        ("cell.extxyz", "notes.txt", "structure.file", "no type that ASE knows"),
        ("energy: energy.", "energy: efg.", "models.energy", "is an efg model"),
        ("energy: energy.", "energy: text.", "models.energy", "not an efgmd model"),
        ("[Na, Cl]", "[Na, K]", "models.elements", "expected each element of the structure"),
        ("nuclei: [23Na, 35Cl]", "nuclei: [23Na, 127I]", "nuclei[1]", "expected a nucleus of Na Cl"),
        ("seed: 5", "seed: 5\nmasses: {H: 2}", "masses", "expected elements among"),
        ("seed: 5", "seed: 5\nsites: {framework: [Pb]}", "sites.framework", "expected elements among"),
        ("timestep_fs: 1", "timestep: 1", "timestep", "did you mean timestep_fs?"),
    ],
)
def test_mistakes_name_the_field(capsys, toy, old, new, field, text):
    assert old in CAMPAIGN
    lines = refused(capsys, toy, CAMPAIGN.replace(old, new, 1))
    assert any(f" {field}: " in line and text in line for line in lines), lines


def test_element_unknown_to_a_model(capsys, toy):
    from ase.build import bulk

    bulk("KCl", "rocksalt", a=6.3, cubic=True).write(toy / "kcl.extxyz")
    text = CAMPAIGN.replace("cell.extxyz", "kcl.extxyz").replace(", elements: [Na, Cl]", "").replace("23Na", "39K")
    lines = refused(capsys, toy, text)
    assert sum("expected it to know K too" in line for line in lines) == 2


@pytest.mark.parametrize(("equilibration", "step"), [("0.02", 20), ("0", 4)])
def test_run_that_leaves_physics_fails_in_one_line_with_the_log(toy, equilibration, step):
    """Two atoms on top of each other fly apart, far hotter than the thermostat can follow."""
    atoms = read(toy / "cell.extxyz")
    atoms.positions[1] = atoms.positions[0] + [1.0, 0, 0]
    atoms.write(toy / "overlap.extxyz")
    text = CAMPAIGN.replace("cell.extxyz", "overlap.extxyz")
    path = toy / f"explodes{step}.yaml"
    path.write_text(text.replace("equilibration_ps: 0.02", f"equilibration_ps: {equilibration}"))
    done = efgmd("run", path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    told = re.search(r"(\d+) K failed: step (\d+): the temperature is (\S+) K for a target of (\d+) K; ", done.stderr)
    assert told and "worker.log" in done.stderr, done.stderr
    failed, at, found, target = map(float, told.groups())
    assert failed == target and at == step and found > 10 * target + 500
    assert not (toy / f"explodes{step}-run" / "results.json").exists()


def test_worker_killed_from_outside_is_reported(toy):
    path = toy / "killed.yaml"
    path.write_text(CAMPAIGN.replace("0.12", "4"))
    output = toy / "killed-run"
    command = [sys.executable, "-m", "efgmd.cli", "run", str(path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: len(samples_of(output)) > 2)
        for worker in workers_of(output / "T0080K"):
            os.kill(worker, signal.SIGKILL)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert (
        errors.count("\n") == 1
        and "80 K failed: the worker was ended by" in errors
        and "Killed" in errors
        and "worker.log" in errors
    )
    assert not (output / "results.json").exists()


def test_other_settings_in_the_same_folder_are_refused(capsys, toy):
    output = toy / "shared-run"
    path = toy / "first.yaml"
    path.write_text(CAMPAIGN.replace("0.12", "0.02").replace("[80, 100]", "[80]"))
    assert efgmd("run", path, "--output", output).returncode == 0
    before = (output / "T0080K" / "efg.h5").read_bytes()
    lines = refused(capsys, toy, path.read_text().replace("seed: 5", "seed: 6"), "--output", output)
    assert "other settings or models" in lines[0]
    assert (output / "T0080K" / "efg.h5").read_bytes() == before
    assert (output / "results.json").exists() and (output / "report.html").exists()  # nothing is lost


def test_somebodys_own_files_are_not_overwritten(capsys, toy):
    own = toy / "own"
    own.mkdir()
    (own / "structure.extxyz").write_text((toy / "cell.extxyz").read_text())
    lines = refused(capsys, toy, CAMPAIGN.replace("cell.extxyz", "own/structure.extxyz"), "--output", own)
    assert "has a structure.extxyz that efgmd run did not write" in lines[0]
    assert (own / "structure.extxyz").read_text() == (toy / "cell.extxyz").read_text()
    lines = refused(capsys, toy, CAMPAIGN, "--output", toy / "cell.extxyz")
    assert "cannot make the folder" in lines[0]
    lines = refused(capsys, toy, CAMPAIGN + "[1, 2]: 3\n")
    assert "a list cannot name a field" in lines[0]


def test_start_of_a_run_that_was_never_described_is_written_again(toy, tmp_path):
    """A kill between the start file and run.json leaves a structure that nothing vouches for."""
    path = toy / "again.yaml"
    path.write_text(CAMPAIGN.replace("0.12", "0.02").replace("[80, 100]", "[80]"))
    left = tmp_path / "T0080K"
    left.mkdir()
    (left / "start.data").write_text("of another structure\n")
    assert efgmd("run", path, "--output", tmp_path).returncode == 0
    written = read(left / "start.data", format="lammps-data", style="atomic")
    assert len(written) == 16


def test_check_runs_nothing(toy):
    path = toy / "checked.yaml"
    path.write_text(CAMPAIGN)
    done = efgmd("run", "--check", path)
    assert done.returncode == 0 and "16 atoms" in done.stdout
    assert not (toy / "checked-run").exists()


@pytest.mark.parametrize("command", ["analyze", "report"])
def test_folders_that_are_no_campaign(tmp_path, command):
    done = efgmd(command, tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_version_and_help_are_quick():
    start = time.monotonic()
    assert efgmd("--version").stdout.startswith("efgmd ")
    listed = efgmd("--help").stdout
    assert time.monotonic() - start < 6
    assert all(command in listed for command in ("run", "analyze", "report", "train", "evaluate", "lmp"))
