"""Campaigns whose EFG model knows tensors of some elements only."""

import json

import numpy as np
import pytest
from ase.io import read
from toy_campaign import CAMPAIGN, FOLDERS, efgmd, write_toy

from efgmd.models.io import load_model, save_model
from efgmd.store import Store


@pytest.fixture
def folder(tmp_path):
    write_toy(tmp_path)
    model = load_model(tmp_path / "efg.safetensors")
    model.set_scales({"Na": float("nan"), "Cl": 1.0})
    save_model(tmp_path / "efg.safetensors", model)
    return tmp_path


def test_the_other_elements_are_sampled(folder):
    path = folder / "toy.yaml"
    path.write_text(CAMPAIGN.replace("[23Na, 35Cl]", "[35Cl]").replace("[80, 100]", "[80]"))
    done = efgmd("run", path)
    assert done.returncode == 0, done.stderr
    output = folder / "toy-run"
    results = json.loads((output / "results.json").read_text())
    assert [site["nucleus"] for site in results["temperatures"][0]["sites"]] == ["35Cl"]
    store = Store(output / FOLDERS[0] / "efg.h5")
    frames = read(output / FOLDERS[0] / "trajectory.extxyz", ":")
    chlorine = np.array(frames[0].get_chemical_symbols()) == "Cl"
    blocks = store.block("efg")
    assert (blocks[:, ~chlorine] == 0).all() and np.abs(blocks[:, chlorine]).min(axis=(0, 2)).min() > 0
    for frame in frames:
        np.testing.assert_array_equal(frame.arrays["efg_known"], chlorine)
        assert np.isnan(frame.arrays["efg"][~chlorine]).all() and np.isfinite(frame.arrays["efg"][chlorine]).all()


def test_nuclei_of_unknown_elements_are_refused(folder):
    done = efgmd("run", folder / "toy.yaml")
    assert done.returncode == 2
    assert "nuclei[0]: found 23Na, but efg.safetensors knows no tensors of its element" in done.stderr
