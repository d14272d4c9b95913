"""`efgmd train` and `efgmd evaluate` as a user runs them, in processes of their own."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from efgmd.calculators import EFGCalculator
from efgmd.cli import main

TINY = ["--set", "channels=3", "--set", "hidden=8", "--set", "n_radial=4", "--set", "lmax=2", "--set", "cutoff=4.0"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}


def efgmd(*arguments):
    """Run the command line and return the finished process."""
    command = [sys.executable, "-m", "efgmd.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    """Distorted water molecules whose tensors are those of unit charges at the other atoms."""
    rng = np.random.default_rng(0)
    frames = []
    for run in range(20):
        for k in range(3):
            atoms = Atoms("OH2", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], info={"tag": f"run{run}-{k}"})
            atoms.rotate(rng.uniform(0, 180), rng.normal(size=3))
            atoms.rattle(0.08, rng=rng)
            r = atoms.positions[None] - atoms.positions[:, None]
            d2 = (r**2).sum(-1) + np.eye(3)
            efg = 3 * r[..., :, None] * r[..., None, :] - d2[..., None, None] * np.eye(3)
            efg = (efg / d2[..., None, None] ** 2.5)[~np.eye(3, dtype=bool)].reshape(3, 2, 3, 3).sum(1)
            atoms.new_array("efg", efg.reshape(3, 9))
            frames.append(atoms)
    path = tmp_path_factory.mktemp("water") / "water.xyz"
    write(path, frames, format="extxyz")
    return path


def test_training_is_killed_resumed_evaluated_and_used(tmp_path, water):
    model = tmp_path / "efg.safetensors"
    arguments = ["train", "efg", water, "-o", model, *TINY, "--epochs", 150, "--validation-fraction", 0.2]
    folder = tmp_path / "efg.training"
    process = subprocess.Popen([sys.executable, "-m", "efgmd.cli", *map(str, arguments)], env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not (folder / "history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (folder / "checkpoint.pt").exists()
    assert not model.exists()

    done = efgmd(*arguments)
    assert done.returncode == 0, done.stderr
    assert "resumed after epoch" in done.stdout
    with (folder / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 151))

    evaluated = efgmd("evaluate", model, water, "-o", tmp_path / "evaluation")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "RMSE/sigma" in evaluated.stdout
    record = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert record["errors"]["elements"]["H"]["tensors"] == 120
    assert record["errors"]["elements"]["H"]["rmse_per_sigma"] < 0.2
    assert record["errors"]["elements"]["O"]["r2"] > 0.9
    assert {path.name for path in (tmp_path / "evaluation").iterdir()} == {
        "evaluation.json",
        "parity.png",
        "parity.svg",
    }

    atoms = Atoms("OH2", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    atoms.calc = EFGCalculator(model)
    tensors = atoms.calc.get_property("efg", atoms)
    assert tensors.shape == (3, 3, 3)
    assert np.abs(np.linalg.eigvalsh(tensors[1])).max() > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "efg", "none.xyz", "-o", "m.safetensors"], "none.xyz: no such file"),
        (["train", "energy", "DATA", "-o", "m.safetensors"], "has no energy under the key 'energy'"),
        (["train", "efg", "DATA", "-o", "m.safetensors", "--set", "width=3"], "model.width: unknown hyperparameter"),
        (["train", "efg", "DATA", "-o", "m.safetensors", "--elements", "O"], "the frames hold H too"),
        (["train", "efg", "DATA", "-o", "m.safetensors", "--split-by", "run"], "no info key 'run'"),
        (["train", "efg", "DATA", "-o", "m.safetensors", "--initialise", "x.safetensors"], "x.safetensors"),
        (["evaluate", "none.safetensors", "DATA"], "none.safetensors"),
        (["evaluate", "DATA", "DATA"], "not an efgmd model"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, water, monkeypatch, capsys, arguments, message):
    paths = [str(water) if argument == "DATA" else argument for argument in arguments]
    paths = [str(tmp_path / p) if p.endswith(".safetensors") and not Path(p).is_absolute() else p for p in paths]
    monkeypatch.setattr(sys, "argv", ["efgmd", *paths])
    with pytest.raises(SystemExit, match="2"):
        main()
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    assert message in stderr
    assert not (tmp_path / "m.safetensors").exists()
