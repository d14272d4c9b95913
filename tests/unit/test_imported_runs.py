"""Imported runs of one folder may differ in all their times: each keeps its own, and the report tells them."""

import json

import numpy as np
import pytest
from ase.io import write
from crystals import perovskite, point_charge_tensors

from efgmd.campaign.config import NucleusChoice, Sites
from efgmd.errors import StoreError
from efgmd.report.page import write_report
from efgmd.tensors import l2_to_cartesian
from efgmd.trajectories.analysing import OwnTrajectory, import_trajectory

RUNS = {300.0: (1.0, 0.0, 12), 350.0: (50.0, 0.2, 20)}


@pytest.fixture
def folder(tmp_path):
    """Output folder of two imported trajectories with other time steps, lengths and skipped times."""
    rng = np.random.default_rng(0)
    atoms = perovskite(0.0)
    tensors = 300 * point_charge_tensors(atoms)
    atoms.write(tmp_path / "cell.extxyz")
    for temperature, (timestep, skip, count) in RUNS.items():
        frames = []
        for number in range(count):
            frames.append(atoms.copy())
            frames[-1].rattle(0.02, seed=number)
            noise = l2_to_cartesian(rng.normal(0, 0.1, (len(atoms), 5)))
            frames[-1].arrays["efg"] = (tensors + noise).reshape(-1, 9)
        path = tmp_path / f"{temperature:g}.extxyz"
        write(path, frames)
        own = OwnTrajectory(
            [path],
            tmp_path / "cell.extxyz",
            temperature,
            (NucleusChoice(name="127I"),),
            Sites(),
            timestep_fs=timestep,
            skip_ps=skip,
        )
        import_trajectory(own, tmp_path / "analysis")
    return tmp_path / "analysis"


def test_each_run_keeps_its_own_times(folder):
    runs = json.loads((folder / "campaign.json").read_text())["campaign"]["runs"]
    names = ("timestep_fs", "sampling_fs", "samples_per_block", "production_ps", "skipped_ps")
    expected = {"T0300K": (1, 1, 1, 0.012, 0), "T0350K": (50, 50, 1, 0.8, 0.2)}
    assert runs.keys() == expected.keys()
    for name, times in expected.items():
        assert runs[name] == pytest.approx(dict(zip(names, times, strict=True)))
    assert json.loads((folder / "T0350K" / "run.json").read_text())["skipped_ps"] == 0.2


def test_results_without_these_times_are_refused(folder):
    campaign = json.loads((folder / "campaign.json").read_text())["campaign"]
    campaign.pop("runs")
    (folder / "results.json").write_text(json.dumps({"campaign": campaign, "transition": {}}))
    with pytest.raises(StoreError, match="import its trajectories again"):
        write_report(folder)
