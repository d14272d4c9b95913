"""The watch over the force field in a campaign: warn, save, stop; resumed runs; models without a record."""

import csv
import json

import jsonschema
import numpy as np
import pytest
from ase.io import read
from toy_campaign import CAMPAIGN, EQUILIBRATION, efgmd, write_toy

from efgmd.analysis.interchange import schema
from efgmd.campaign.watch import FRAMES_FILE, WATCH_FILE, cut_looks
from efgmd.errors import DataError
from efgmd.store import Store

ONE = CAMPAIGN.replace("[80, 100]", "[80]").replace("production_ps: 0.12", "production_ps: 0.04") + "ranks: 2\n"
# Looks every 8 steps, at 8, 16, ... of 20 steps of equilibration (in one chunk) and 40 of production.
SECTION = "extrapolation: {{action: {}, limit: {}, interval_ps: 0.008}}\n"
STEPS = [20, 24, 32, 40, 48, 56]


def write_watched(folder, action, limit):
    """The toy, whose force field has recorded the starting crystal, not its motion."""
    from efgmd.frames.neighbours import batch_of
    from efgmd.models.io import load_model, save_model

    path = write_toy(folder, ONE + SECTION.format(action, limit))
    model = load_model(folder / "energy.safetensors")
    known = read(folder / "cell.extxyz")
    model.record_training(lambda: [batch_of(known, model.cutoff, model.elements, model.dtype).neighbourhoods], list)
    save_model(folder / "energy.safetensors", model)
    return path, folder / "toy-run" / "T0080K"


def looks(folder):
    with open(folder / "extrapolation.csv", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A campaign that saves frames beyond a limit that some frames pass."""
    folder = tmp_path_factory.mktemp("watch")
    path, run = write_watched(folder, "save", 1e-3)
    done = efgmd("run", path)
    assert done.returncode == 0, done.stderr
    return path, run, done.stdout


def test_every_look_is_a_row_and_the_frames_beyond_are_saved(saved):
    from efgmd.calculators import EnergyCalculator

    path, run, printed = saved
    rows = looks(run)
    assert [int(row["step"]) for row in rows] == STEPS
    frames = read(run / "extrapolation.extxyz", index=":")
    assert [frame.info["step"] for frame in frames] == STEPS  # the limit is passed by all
    calculator = EnergyCalculator(path.parent / "energy.safetensors")
    for row, frame in zip(rows, frames, strict=True):
        grades = calculator.get_property("extrapolation", frame)
        np.testing.assert_allclose(frame.arrays["extrapolation"], grades, rtol=2e-3)
        assert float(row["largest"]) == pytest.approx(frame.arrays["extrapolation"].max(), rel=1e-4)
        assert int(row["atom"]) == frame.arrays["extrapolation"].argmax() + 1
        assert row["element"] == frame.symbols[int(row["atom"]) - 1]
        assert int(row["atoms_above"]) == (frame.arrays["extrapolation"] > 1e-3).sum()
    text = " ".join(printed.split())
    production = [row for row in rows if int(row["step"]) > EQUILIBRATION]
    assert f"the force field extrapolates in {len(production)} of {len(production)} frames" in text
    assert "label the frames in extrapolation.extxyz" in text
    results = json.loads((path.parent / "toy-run" / "results.json").read_text())
    jsonschema.validate(results, schema("results"), jsonschema.Draft202012Validator)
    found = results["temperatures"][0]["extrapolation"]
    assert found["from_ps"] == pytest.approx(0.004) and found["to_ps"] == pytest.approx(0.036)
    worst = max(production, key=lambda row: float(row["largest"]))
    assert (found["largest"], found["step"]) == (float(worst["largest"]), int(worst["step"]))


def test_a_continued_run_goes_on_with_the_watch(saved, tmp_path):
    """Lengthened, and with another limit: the looks before stay, none is missing and none is double."""
    import shutil

    path, run, _ = saved
    shutil.copytree(path.parent, tmp_path / "copy")
    text = path.read_text().replace("production_ps: 0.04", "production_ps: 0.06").replace("limit: 0.001", "limit: 1e6")
    (tmp_path / "copy" / "toy.yaml").write_text(text)
    done = efgmd("run", tmp_path / "copy" / "toy.yaml")
    assert done.returncode == 0, done.stderr
    assert "extrapolates" not in done.stdout
    longer = tmp_path / "copy" / "toy-run" / "T0080K"
    assert [int(row["step"]) for row in looks(longer)] == [*STEPS, 64, 72, 80]
    assert looks(longer)[: len(STEPS)] == looks(run)
    assert len(read(longer / "extrapolation.extxyz", index=":")) == len(STEPS)


def test_looks_after_a_restart_file_are_cut(saved, tmp_path):
    """As after a kill, with a last line that was not finished; whether or not the watch goes on."""
    import shutil

    _, run, _ = saved
    for name in (WATCH_FILE, FRAMES_FILE):
        shutil.copy(run / name, tmp_path)
    with open(tmp_path / WATCH_FILE, "a") as stream:
        stream.write("64,0.0")
    cut_looks(tmp_path, 32)
    assert looks(tmp_path) == looks(run)[:3]
    assert [frame.info["step"] for frame in read(tmp_path / FRAMES_FILE, index=":")] == STEPS[:3]
    with open(tmp_path / WATCH_FILE, "a") as stream:
        stream.write("40,much,1,Na,0\n")
    with pytest.raises(DataError, match=r"extrapolation.csv, line 5: expected step,largest"):
        cut_looks(tmp_path, 32)
    cut_looks(tmp_path / "nothing", 5)  # of a run that was never watched


def test_a_run_stops_at_the_first_frame_beyond(tmp_path):
    path, run = write_watched(tmp_path, "stop", 1e-3)
    done = efgmd("run", path)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    for part in (
        "80 K failed: step 20: the surroundings of atom ",
        "extrapolation.limit is 0.001",
        "stop.extxyz: label",
    ):
        assert part in line
    (frame,) = read(run / "extrapolation-stop.extxyz", index=":")
    assert frame.info["step"] == 20
    assert not (tmp_path / "toy-run" / "results.json").exists()


def test_a_run_that_is_warned_of_goes_on_to_its_end(tmp_path):
    path, run = write_watched(tmp_path, "warn", 1e-3)
    done = efgmd("run", path)
    assert done.returncode == 0, done.stderr
    rows = looks(run)
    assert [int(row["step"]) for row in rows] == STEPS
    assert all(float(row["largest"]) > 1e-3 and int(row["atoms_above"]) > 0 for row in rows)
    assert Store(run / "efg.h5").sample_steps[-1] == EQUILIBRATION + 40
    assert not list(run.glob("extrapolation*.extxyz"))
    results = json.loads((tmp_path / "toy-run" / "results.json").read_text())
    found = results["temperatures"][0]["extrapolation"]
    production = [row for row in rows if int(row["step"]) > EQUILIBRATION]
    assert results["complete"] and (found["action"], found["limit"]) == ("warn", 1e-3)
    assert found["frames"] == found["frames_above"] == len(production)
    assert found["largest"] == max(float(row["largest"]) for row in production)
    text = " ".join(done.stdout.split())
    assert f"the force field extrapolates in {len(production)} of {len(production)} frames" in text
    assert "save such frames (extrapolation.action), label them and train again" in text


def test_a_force_field_without_record_is_told(tmp_path):
    path = write_toy(tmp_path, ONE)
    done = efgmd("run", path, "--check")
    assert done.returncode == 0, done.stderr
    told = "energy.safetensors did not record the atoms that it was trained on"
    assert told in done.stdout
    path.write_text(ONE + SECTION.format("save", 1))
    done = efgmd("run", path, "--check")
    assert done.returncode == 2 and "extrapolation.action: found save" in done.stderr and told in done.stderr
    path.write_text(ONE + SECTION.format("ignore", 1))
    done = efgmd("run", path, "--check")
    assert done.returncode == 0 and told not in done.stdout
