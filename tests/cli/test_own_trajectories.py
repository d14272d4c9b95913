"""`efgmd analyze` on files of a run by the real `lmp`, against the store of the same run; committees in a campaign."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_campaign import CAMPAIGN, EQUILIBRATION, FOLDERS, INTERVAL, SAMPLES, efgmd, write_toy

from efgmd.campaign.deck import ensemble_commands, start_commands, system_commands, tensor_commands
from efgmd.campaign.spec import RunSpec
from efgmd.store import BLOCKS_PER_MEMBER_ROW, Store

ONE = CAMPAIGN.replace("[80, 100]", "[80]")
PER_AVERAGE = 5
OPTIONS = ("--nuclei", "23Na,35Cl", "--temperature", "80", "--timestep-fs", "1", "--supercell", "2", "1", "1")


@pytest.fixture(scope="module")
def same_run(tmp_path_factory):
    """A campaign of one temperature, and dumps of the same run by a plain `lmp`."""
    folder = tmp_path_factory.mktemp("same")
    done = efgmd("run", write_toy(folder, ONE), timeout=600)
    assert done.returncode == 0, done.stderr
    run = folder / "toy-run" / FOLDERS[0]
    plain = folder / "plain"
    plain.mkdir()
    shutil.copy(run / "start.data", plain)
    spec = RunSpec.read(run)
    commands = [
        *system_commands(spec),
        *tensor_commands(spec),
        *start_commands(spec),
        *ensemble_commands(spec),
        "run 0 post no",
        f"run {EQUILIBRATION} pre no post no",
        f"fix avg all ave/atom {INTERVAL} {PER_AVERAGE} {PER_AVERAGE * INTERVAL} c_efg[*]",
        "run 0 post no",
        f"dump single all custom {INTERVAL} efg.*.dump id type x y z c_efg[*]",
        "dump_modify single sort off format float %.10g",
        f"dump means all custom {PER_AVERAGE * INTERVAL} means.dump id type xu yu zu f_avg[*]",
        "dump_modify means first yes format float %.10g",
        "run 0 post no",
        *[f"run {INTERVAL} pre no post no"] * SAMPLES,
    ]
    (plain / "in.lmp").write_text("\n".join(commands) + "\n")
    lmp = Path(sys.executable).with_name("lmp")
    finished = subprocess.run(
        [lmp, "-in", "in.lmp"], cwd=plain, capture_output=True, text=True, timeout=600, check=False
    )
    assert finished.returncode == 0, finished.stdout[-3000:]
    return folder


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_dumps_of_the_same_run_give_the_results_of_the_store(same_run):
    # LAMMPS dumps the step before production as well, since it is a multiple of the interval.
    first = same_run / "plain" / f"efg.{EQUILIBRATION}.dump"
    files = sorted(set((same_run / "plain").glob("efg.*.dump")) - {first})
    assert len(files) == SAMPLES
    output = same_run / "analysis"
    done = efgmd("analyze", *files, "--structure", same_run / "cell.extxyz", *OPTIONS, "-o", output, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "23Na" in done.stdout and (output / "report.html").exists()
    ours, own = results(same_run / "toy-run")["temperatures"][0], results(output)["temperatures"][0]
    store, read = Store(same_run / "toy-run" / FOLDERS[0] / "efg.h5"), Store(output / FOLDERS[0] / "efg.h5")
    np.testing.assert_array_equal(read.block_steps, store.block_steps)
    np.testing.assert_allclose(read.block("cell"), store.block("cell"), rtol=1e-6)
    np.testing.assert_allclose(read.block("efg"), store.block("efg"), atol=1e-5 * np.abs(store.block("efg")).max())
    moved = read.block("scaled") - store.block("scaled")
    np.testing.assert_allclose(moved - np.round(moved), 0, atol=1e-6)
    assert own["symmetry"]["space_group"] == ours["symmetry"]["space_group"]
    assert [site["atom_ids"] for site in own["sites"]] == [site["atom_ids"] for site in ours["sites"]]
    for mine, theirs in zip(own["sites"], ours["sites"], strict=True):
        for name in ("cq_MHz", "cq_error_sampling_MHz", "eta", "abs_cq_instant_MHz", "correlation_ps"):
            assert mine[name] == pytest.approx(theirs[name], rel=2e-3, abs=1e-6), name
        assert mine["cq_interval95_MHz"] == pytest.approx(theirs["cq_interval95_MHz"], rel=5e-3, abs=1e-6)
    # Once imported, the folder is analysed like a campaign's, without the files.
    again = efgmd("analyze", output, timeout=600)
    assert again.returncode == 0 and results(output)["temperatures"][0]["sites"] == own["sites"]


def test_averages_of_a_fix_give_the_same_mean(same_run):
    output = same_run / "means"
    file = same_run / "plain" / "means.dump"
    done = efgmd("analyze", file, "--structure", same_run / "cell.extxyz", *OPTIONS, "-o", output, timeout=600)
    assert done.returncode == 0, done.stderr
    assert f"note: step {EQUILIBRATION} left out: all its tensors are zero" in done.stdout
    entry = results(output)["temperatures"][0]
    store = Store(same_run / "toy-run" / FOLDERS[0] / "efg.h5")
    means = Store(output / FOLDERS[0] / "efg.h5").block("efg").mean(axis=0)
    np.testing.assert_allclose(means, store.block("efg").mean(axis=0), atol=1e-5 * np.abs(means).max())
    assert entry["blocks"] == SAMPLES // PER_AVERAGE
    assert all(site["abs_cq_instant_MHz"] is None for site in entry["sites"])


def test_trajectory_of_the_campaign_itself_can_be_read(same_run):
    """extxyz with its own steps, times and temperatures; a second temperature joins the first in the same folder."""
    output, file = same_run / "frames", same_run / "toy-run" / FOLDERS[0] / "trajectory.extxyz"
    for temperature in ("80", "90"):
        options = ["--nuclei", "23Na=100", "--temperature", temperature, "--supercell", "2", "1", "1"]
        options += ["--timestep-fs", "1", "--skip-ps", "0.02"] if temperature == "90" else []
        done = efgmd("analyze", file, "--structure", same_run / "cell.extxyz", *options, "-o", output, timeout=600)
        assert done.returncode == 0, done.stderr
    found = results(output)
    assert [entry["temperature_K"] for entry in found["temperatures"]] == [80, 90]
    assert found["nuclei"]["23Na"]["moment_mb"] == 100
    assert 0 < found["temperatures"][0]["measured"]["temperature"]["mean"] < 500
    assert found["temperatures"][0]["measured"]["pressure"]["mean"] is None
    page = (output / "report.html").read_text()
    assert "at 80 K 0." in page and "ps after 0 ps that were skipped" in page
    assert "at 90 K 0." in page and "ps after 0.02 ps that were skipped" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cell.extxyz"], "needs --structure, --nuclei, --temperature as well"),
        (["x.dump", "--structure", "cell.extxyz", *OPTIONS[:6]], "x.dump: no such file or folder"),
        (["plain/means.dump", "--structure", "cell.extxyz", *OPTIONS[:4]], "give it (--timestep-fs)"),
        (["cell.extxyz", "--structure", "cell.extxyz", "--nuclei", "14N", *OPTIONS[2:4]], "no N in"),
        (["cell.extxyz", "--structure", "cell.extxyz", "--nuclei", "13C", *OPTIONS[2:4]], "13C has spin 1/2"),
        (["cell.extxyz", "--structure", "none.cif", *OPTIONS[:4]], "cannot read none.cif"),
        (["cell.extxyz", "--structure", "cell.extxyz", *OPTIONS[:2], "--temperature", "nan"], "kelvin above 0"),
        (["."], "holds no readable campaign.json"),
        ([".", "--follow-axis", "--skip-ps", "2"], "recorded in it: --follow-axis, --skip-ps are for files"),
    ],
)
def test_wrong_options_end_in_one_line(same_run, arguments, message):
    done = efgmd("analyze", *arguments, cwd=same_run, timeout=600)
    assert done.returncode == 2
    assert not (same_run / "efg-analysis").exists() and not list(same_run.glob(".efgmd-import-*"))
    assert done.stderr.count("error:") == len(done.stderr.strip().splitlines()) == 1 and message in done.stderr


@pytest.mark.parametrize("option", [["--block", "0"], ["--supercell", "0", "1", "1"], ["--timestep-fs", "-1"]])
def test_options_out_of_range_are_named(same_run, option):
    done = efgmd("analyze", "cell.extxyz", *option, cwd=same_run)
    assert done.returncode == 2 and f"Invalid value for '{option[0]}'" in done.stderr


def test_committee_gives_a_model_error_of_its_own(tmp_path):
    """Members in the store, their spread in the results; a run that goes on after a cut has each row once."""
    import torch

    from efgmd.models import EFGModel
    from efgmd.models.io import save_model

    path = write_toy(tmp_path, ONE)
    torch.manual_seed(2)
    model = EFGModel(("Na", "Cl"), outputs=3, cutoff=4.0, n_radial=4, lmax=2, channels=3, hidden=8, committee=3)
    model.spread_scales.copy_(torch.tensor([0.5, 2.0]))
    save_model(tmp_path / "efg.safetensors", model)
    done = efgmd("run", path, timeout=600)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "toy-run" / FOLDERS[0]
    store = Store(folder / "efg.h5")
    assert store.committee == 3
    rows = list(store.member_frames())
    assert [int(row[0].step[0]) for row in rows] == list(store.block_steps[::BLOCKS_PER_MEMBER_ROW])
    deviation = np.array([[member.efg[0] for member in row] for row in rows])
    np.testing.assert_allclose(deviation.sum(axis=1), 0, atol=1e-5 * np.abs(deviation).max())
    assert np.abs(deviation).max() > 0
    before = store.block("efg")
    site = next(site for site in results(tmp_path / "toy-run")["temperatures"][0]["sites"] if site["nucleus"] == "35Cl")
    assert site["cq_error_model_MHz"] > 0 and site["cq_error_total_MHz"] > 0
    assert "error of the EFG model, from its committee" in done.stdout.replace("\n", " ")
    # A longer run keeps what is there, and adds rows of members as well.
    path.write_text(ONE.replace("production_ps: 0.12", "production_ps: 0.16"))
    longer = efgmd("run", path, timeout=600)
    assert longer.returncode == 0, longer.stderr
    store = Store(folder / "efg.h5")
    assert len(list(store.member_frames())) == 4
    np.testing.assert_array_equal(store.block("efg")[:SAMPLES], before)
