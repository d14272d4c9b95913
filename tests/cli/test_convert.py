"""`efgmd convert`, `efgmd label` and training on outputs of first-principles codes, as a user runs them."""

import csv
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from ase import Atoms
from ase.io import write

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from efg_outputs import corundum, elk, outcar

from efgmd.cli import main
from efgmd.models.io import read_metadata

TINY = ["--set", "channels=3", "--set", "hidden=8", "--set", "n_radial=4", "--set", "lmax=2", "--set", "cutoff=4.0"]


def efgmd(*arguments):
    """Run the command line and return the finished process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    command = [sys.executable, "-m", "efgmd.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture
def runs(tmp_path):
    """OUTCARs of three runs of two ionic steps."""
    paths = []
    for run in range(3):
        (tmp_path / f"run{run}").mkdir()
        paths.append(tmp_path / f"run{run}" / "OUTCAR")
        paths[-1].write_text(outcar([corundum(2 * run), corundum(2 * run + 1)]))
    return paths


def test_outputs_are_converted_and_listed(tmp_path, runs):
    done = efgmd("convert", *runs, tmp_path / "all.xyz")
    assert done.returncode == 0, done.stderr
    assert "6 frames with 60 atoms; 6 of them with EFG tensors" in done.stdout
    assert f"wrote {tmp_path / 'all.xyz'}" in done.stdout
    done = efgmd("convert", tmp_path / "all.xyz", tmp_path / "all.csv", "--nuclei", "27Al=140")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "all.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 24
    assert {row["tag"] for row in rows} == {f"run{run}-OUTCAR-{step}" for run in range(3) for step in range(2)}


def test_mistakes_end_in_one_line_each(tmp_path, runs, monkeypatch, capsys):
    def mistake(*arguments):
        """The error of a command, run in this process."""
        monkeypatch.setattr(sys, "argv", ["efgmd", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        lines = capsys.readouterr().err.splitlines()
        assert (end.value.code, len(lines)) == (2, 1)
        return lines[0]

    output = tmp_path / "x.xyz"
    assert "name at least one file to read, and the file to write" in mistake("convert", runs[0])
    assert "format 'abinit' is unknown" in mistake("convert", runs[0], output, "--from", "abinit")
    assert "--key EFG=V: write NAME=KEY" in mistake("convert", runs[0], output, "--key", "EFG=V")
    assert "--kpoints 2x2: write 2x2x2" in mistake("label", runs[0], output, "--kpoints", "2x2")
    found = mistake("label", runs[0], output, "--kpoints", "gamma", "--python", sys.executable)
    assert found.startswith(f"error: {sys.executable}: cannot import GPAW")
    assert not (tmp_path / "x.xyz.frames").exists()
    runs[1].write_text(runs[1].read_text().replace("\n    1   ", "\n    9   "))
    assert mistake("convert", *runs, output).startswith(f"error: {runs[1]}, line 16: expected atom 1 of 10")


def test_training_takes_the_outputs_as_they_are(tmp_path, runs):
    """Of one run only the last step has tensors; the warning about the other is one line, without Python's own."""
    runs[0].write_text(outcar([corundum(0), corundum(1)], efg_steps={1}))
    (tmp_path / "elk").mkdir()
    validation = elk(corundum(9), tmp_path / "elk")
    options = ["-o", tmp_path / "efg.safetensors", *TINY, "--split-by", "frame", "--epochs", 1]
    done = efgmd("train", "efg", *runs, "--validation", validation, *options)
    assert done.returncode == 0, done.stderr
    assert f"warning: {runs[0]}: 1 of 2 ionic steps have no EFG tensors and are left out\n" in done.stderr
    assert "UserWarning" not in done.stderr
    files = read_metadata(tmp_path / "efg.safetensors")["training"]["data"]
    assert [entry["frames"] for entry in files] == [1, 2, 2]


def test_an_interrupted_labelling_leaves_no_calculation_behind(tmp_path):
    python = tmp_path / "python"
    # Answers the check of the version, then stands for a long calculation.
    probe = "if [ $1 = -c ]; then echo 22.8.0 data; exit; fi"
    python.write_text(f"#!/bin/sh\n{probe}\necho $$ > {tmp_path}/worker\nexec sleep 300\n")
    python.chmod(0o755)
    write(tmp_path / "in.xyz", Atoms("He", cell=[4, 4, 4], pbc=True), format="extxyz")
    arguments = ["label", tmp_path / "in.xyz", tmp_path / "out.xyz", "--kpoints", "gamma", "--python", python]
    command = [sys.executable, "-m", "efgmd.cli", *map(str, arguments)]
    # A shell's background jobs ignore interrupts, and so would whatever they start.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heed)
    deadline = time.monotonic() + 120
    while not (tmp_path / "worker").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.2)
    worker = int((tmp_path / "worker").read_text())
    process.send_signal(signal.SIGINT)
    assert "interrupted; give the same command again to go on" in process.communicate(timeout=60)[0]
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
