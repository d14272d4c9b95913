"""The whole way through `efgmd run` at toy length: run, kill, resume, lengthen, analyse, report."""

import csv
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from ase.io import read
from toy_campaign import (
    CAMPAIGN,
    EQUILIBRATION,
    FOLDERS,
    INTERVAL,
    SAMPLES,
    efgmd,
    samples_of,
    wait_for,
    workers_of,
    write_toy,
)

from efgmd.store import Store

TURNED = """
structure: {file: cell.extxyz}
models: {energy: energy.safetensors, efg: efg.safetensors, elements: [Cl, Na]}
nuclei: [23Na]
temperatures: [80]
ensemble: {kind: npt, pressure_control: tri}
timestep_fs: 1
equilibration_ps: 0
production_ps: 0.016
sampling_fs: 4
samples_per_block: 2
trajectory_ps: 0.004
restart_minutes: 0
minimize: false
ranks: 2
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a campaign that ran to its end, and what it printed."""
    folder = tmp_path_factory.mktemp("campaign")
    done = efgmd("run", write_toy(folder))
    assert done.returncode == 0, done.stderr
    return folder / "toy-run", done.stdout


def expected_steps(samples=SAMPLES):
    return EQUILIBRATION + INTERVAL * np.arange(1, samples + 1)


def check_stores(output, samples=SAMPLES):
    for name in FOLDERS:
        store = Store(output / name / "efg.h5")
        np.testing.assert_array_equal(store.sample_steps, expected_steps(samples))
        np.testing.assert_array_equal(store.block_steps, expected_steps(samples))
        assert np.isfinite(store.block("efg")).all() and np.abs(store.block("efg")).max() > 0
        frames = [frame.info["step"] for frame in read(output / name / "trajectory.extxyz", index=":")]
        assert frames == [EQUILIBRATION + 20 * k for k in range(1, samples * INTERVAL // 20 + 1)]


def test_stores_trajectories_and_tables(finished):
    output, printed = finished
    check_stores(output)
    assert "23Na 104 mb" in printed and "35Cl -81.65 mb" in printed
    assert "transition: " in printed and "K" in printed.split("transition: ")[1]
    assert "sampling error" in printed and str(output / "report.html") in printed.replace("\n", "")


def test_tensors_in_the_store_are_those_of_the_calculator(finished):
    from efgmd.calculators import EFGCalculator

    output, _ = finished
    store = Store(output / FOLDERS[0] / "efg.h5")
    frame = read(output / FOLDERS[0] / "trajectory.extxyz", index=0)
    row = list(store.block_steps).index(frame.info["step"])
    calculator = EFGCalculator(output.parent / "efg.safetensors", dtype="float64")
    frame.calc = calculator
    expected = np.asarray(calculator.get_property("efg", frame)).reshape(-1, 9)[:, [0, 4, 8, 1, 2, 5]]
    np.testing.assert_allclose(store.block("efg")[row], expected, atol=2e-4 * np.abs(expected).max())


def test_results_name_their_origin(finished):
    output, _ = finished
    results = json.loads((output / "results.json").read_text())
    assert results["complete"] and not results["missing"]
    assert [entry["temperature_K"] for entry in results["temperatures"]] == [80, 100]
    assert results["nuclei"]["35Cl"] == {"spin": "3/2", "moment_mb": -81.65, "source": "Pyykkö 2008"}
    for name in ("energy", "efg"):
        assert len(results["models"][name]["sha256"]) == 64
    assert {"lammps", "torch", "efgmd", "python"} <= results["versions"].keys()
    assert len(results["campaign_sha256"]) == 64 and results["machine"]["cores"] >= 1
    assert len({entry["seed"] for entry in results["temperatures"]}) == 2
    for site in (site for entry in results["temperatures"] for site in entry["sites"]):
        assert site["cq_error_model_MHz"] is None and site["cq_error_sampling_MHz"] > 0
        assert site["abs_cq_instant_MHz"] > 0 and site["count"] == len(site["atom_ids"])
    with open(output / "results.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(len(entry["sites"]) for entry in results["temperatures"])


def test_report_stands_alone(finished):
    output, _ = finished
    page = (output / "report.html").read_text()
    assert page.count("<svg") >= 5 and "Provenance" in page and "Incomplete" not in page
    assert "src=" not in page and "<link" not in page and "@import" not in page
    assert (output / "couplings.png").stat().st_size > 1000


def test_running_a_finished_campaign_again_changes_no_store(finished):
    output, _ = finished
    before = {name: (output / name / "efg.h5").read_bytes() for name in FOLDERS}
    assert efgmd("run", output.parent / "toy.yaml").returncode == 0
    for name in FOLDERS:
        np.testing.assert_array_equal(Store(output / name / "efg.h5").sample_steps, expected_steps())
    assert before == {name: (output / name / "efg.h5").read_bytes() for name in FOLDERS}


def test_killed_campaign_resumes_without_gap_or_double(tmp_path):
    path = write_toy(tmp_path, CAMPAIGN.replace("production_ps: 0.12", "production_ps: 0.4"))
    output = tmp_path / "toy-run"
    with subprocess.Popen([sys.executable, "-m", "efgmd.cli", "run", str(path)], stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: len(samples_of(output)) > 5)
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not workers_of(output))
    reached = len(samples_of(output))
    assert 5 < reached < 100
    assert not (output / "results.json").exists()
    partly = efgmd("analyze", output)
    assert partly.returncode == 0 and "INCOMPLETE" in partly.stdout
    assert json.loads((output / "results.json").read_text())["complete"] is False
    done = efgmd("run", path)
    assert done.returncode == 0, done.stderr
    assert "INCOMPLETE" not in done.stdout
    check_stores(output, samples=100)
    for name in FOLDERS:
        # One continuous trajectory: atoms keep their ids and their images over the kill.
        steps = np.abs(np.diff(Store(output / name / "efg.h5").block("scaled"), axis=0))
        assert steps.max() < 0.1
    logs = list((output / FOLDERS[0]).glob("log.lammps.*"))
    assert logs, "the run must have resumed from a restart file, not started again"


def test_writing_restart_files_changes_no_trajectory(tmp_path):
    """On two ranks, with atoms on both sides of the border between them: equal to the last bit."""
    text = CAMPAIGN.replace("[80, 100]", "[400]") + "ranks: 2\n"
    often = write_toy(tmp_path, text)
    never = tmp_path / "never.yaml"
    never.write_text(text.replace("restart_minutes: 0", "restart_minutes: 60"))
    stores = []
    for path in (often, never):
        done = efgmd("run", path)
        assert done.returncode == 0, done.stderr
        stores.append(Store(tmp_path / f"{path.stem}-run" / "T0400K" / "efg.h5"))
    np.testing.assert_array_equal(stores[0].block("scaled"), stores[1].block("scaled"))
    np.testing.assert_array_equal(stores[0].block("efg"), stores[1].block("efg"))


def test_campaign_can_be_lengthened(finished, tmp_path):
    import shutil

    output, _ = finished
    shutil.copytree(output.parent, tmp_path / "copy")
    path = tmp_path / "copy" / "toy.yaml"
    path.write_text(CAMPAIGN.replace("production_ps: 0.12", "production_ps: 0.16"))
    assert efgmd("run", path).returncode == 0
    check_stores(tmp_path / "copy" / "toy-run", samples=40)
    first = Store(output / FOLDERS[0] / "efg.h5").block("efg")
    longer = Store(tmp_path / "copy" / "toy-run" / FOLDERS[0] / "efg.h5").block("efg")
    np.testing.assert_array_equal(longer[:SAMPLES], first)


def test_two_ranks_give_the_tensors_of_one(finished, tmp_path):
    output, _ = finished
    short = CAMPAIGN.replace("production_ps: 0.12", "production_ps: 0.02") + "ranks: 2\n"
    short = short.replace("trajectory_ps: 0.02", "trajectory_ps: 0.004")
    path = write_toy(tmp_path, short.replace("[80, 100]", "[80]"))
    done = efgmd("run", path)
    assert done.returncode == 0, done.stderr
    one, two = (Store(folder / FOLDERS[0] / "efg.h5") for folder in (output, tmp_path / "toy-run"))
    scale = np.abs(one.block("efg")[:5]).max()
    np.testing.assert_allclose(two.block("efg"), one.block("efg")[:5], atol=1e-3 * scale)
    np.testing.assert_allclose(two.block("scaled"), one.block("scaled")[:5], atol=1e-4)


def test_turned_triclinic_crystal_in_a_flexible_cell_on_two_ranks(tmp_path):
    """LAMMPS turns the cell into its own frame; atoms keep their order, and blocks hold several samples."""
    from ase.build import bulk
    from scipy.spatial.transform import Rotation

    path = write_toy(tmp_path, TURNED)
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    sheared = np.add(atoms.cell.array, [[0, 0, 0], [0.3, 0, 0], [0.2, -0.4, 0]])
    atoms.set_cell(sheared, scale_atoms=True)
    rotation = Rotation.random(random_state=1).as_matrix()
    atoms.set_cell(atoms.cell.array @ rotation.T, scale_atoms=True)
    atoms.rattle(0.05, seed=1)
    atoms.write(tmp_path / "cell.extxyz")
    done = efgmd("run", path)
    assert done.returncode == 0, done.stderr
    first = read(tmp_path / "toy-run" / FOLDERS[0] / "trajectory.extxyz", index=0)
    assert first.get_chemical_symbols() == atoms.get_chemical_symbols()
    moved = first.get_all_distances(mic=True) - atoms.get_all_distances(mic=True)
    assert np.abs(moved).max() < 0.1
    np.testing.assert_allclose(first.cell.cellpar(), atoms.cell.cellpar(), rtol=0.01)
    store = Store(tmp_path / "toy-run" / FOLDERS[0] / "efg.h5")
    frames = read(tmp_path / "toy-run" / FOLDERS[0] / "trajectory.extxyz", index=":")
    assert [frame.info["step"] for frame in frames] == list(store.sample_steps) == [4, 8, 12, 16]
    efg = np.array([frame.arrays["efg"] for frame in frames])[:, :, [0, 4, 8, 1, 2, 5]]
    np.testing.assert_allclose(store.block("efg")[0], efg[:2].mean(axis=0), rtol=1e-5, atol=1e-9)
