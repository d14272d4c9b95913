"""`efgmd select`: the greedy choice, and frames chosen by committees and by several models."""

import csv

import numpy as np
import pytest
import torch
from ase.io import read, write
from toy_data import ELEMENTS, TINY, structure
from typer.testing import CliRunner

from efgmd.cli import app
from efgmd.errors import ConfigError, ModelFileError
from efgmd.frames.neighbours import batch_of
from efgmd.models import EFGModel, EnergyModel
from efgmd.models.io import load_model, save_model
from efgmd.training.selection import choose, describe


def model_file(path, seed, kind=EFGModel, **changes):
    torch.manual_seed(seed)
    model = kind(ELEMENTS, **{**TINY, **changes})
    rng = np.random.default_rng(0)
    model.calibrate(batch_of(structure(rng), 4.0, ELEMENTS).neighbourhoods)
    save_model(path, model)
    return path


@pytest.fixture
def pool(tmp_path):
    rng = np.random.default_rng(5)
    frames = [structure(rng) for _ in range(6)]
    crushed = frames[2].copy()
    crushed.set_cell(0.8 * crushed.cell, scale_atoms=True)
    write(tmp_path / "pool.xyz", [*frames, frames[1], crushed], format="extxyz")
    return tmp_path / "pool.xyz"


def test_choice_is_by_spread_times_distance():
    descriptors = np.array([[0.0], [0.1], [4.0], [10.0]])
    chosen = choose(np.array([1.0, 0.9, 0.5, 0.05]), descriptors, np.zeros((0, 1)), 4)
    # The largest spread; then 0.5 * 4 before 0.05 * 10 and 0.9 * 0.1; then 0.05 * 6 before 0.9 * 0.1.
    assert [choice.index for choice in chosen] == [0, 2, 3, 1]
    assert np.isnan(chosen[0].distance)
    assert [choice.distance for choice in chosen[1:]] == pytest.approx([4.0, 6.0, 0.1])
    near_known = choose(np.array([1.0, 0.9, 0.5, 0.05]), descriptors, np.array([[0.05]]), 1)
    assert near_known[0].index == 2 and near_known[0].distance == pytest.approx(3.95)


def test_descriptors_do_not_turn_and_tell_frames_apart(pool, tmp_path):
    model = load_model(model_file(tmp_path / "m.safetensors", 0, committee=2), dtype="float64")
    a, b = read(pool, ":2")
    turned = a.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    rows = describe(model, [batch_of(x, 4.0, ELEMENTS, torch.float64) for x in (a, turned, b)])
    assert np.abs(rows[0] - rows[1]).max() < 1e-9
    assert np.linalg.norm(rows[0] - rows[2]) > 0.5


@pytest.mark.parametrize("kind", ["committee", "efg", "energy"])
def test_command_writes_frames_with_scores(pool, tmp_path, kind):
    if kind == "committee":
        models = [model_file(tmp_path / "a.safetensors", 0, committee=3)]
    else:
        form = EFGModel if kind == "efg" else EnergyModel
        models = [model_file(tmp_path / f"{seed}.safetensors", seed, form) for seed in (1, 2)]
    out = tmp_path / "chosen.xyz"
    options = [text for path in models for text in ("--model", str(path))]
    result = CliRunner().invoke(app, ["select", str(pool), *options, "-o", str(out), "-n", "7"])
    assert result.exit_code == 0, result.output
    assert "frames to label" in result.output
    chosen, everything = read(out, ":"), read(pool, ":")
    with out.with_suffix(".csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [atoms.info["select_rank"] for atoms in chosen] == list(range(1, 8))
    numbers = [int(row["frame"].rpartition(" ")[2]) for row in rows]
    for atoms, number, row in zip(chosen, numbers, rows, strict=True):
        assert np.allclose(atoms.positions, everything[number].positions, atol=1e-6)
        assert atoms.info["select_spread"] == pytest.approx(float(row["spread"]), rel=1e-4)
    # Frames 1 and 6 are the same: the second of them adds nothing and is the one left out.
    assert not {1, 6} <= set(numbers)
    # Atoms far closer than in any frame the models were calibrated on.
    assert numbers[0] == 7


def test_what_cannot_tell_disagreement_is_refused(pool, tmp_path):
    single = model_file(tmp_path / "single.safetensors", 0)
    energy = model_file(tmp_path / "energy.safetensors", 0, EnergyModel)
    for options, error, text in [
        ([single], ConfigError, "alone does not tell where it is wrong"),
        ([single, energy], ModelFileError, "another kind, elements or cutoff"),
    ]:
        flags = [text for path in options for text in ("--model", str(path))]
        result = CliRunner().invoke(app, ["select", str(pool), *flags, "-o", str(tmp_path / "x.xyz"), "-n", "2"])
        assert isinstance(result.exception, error) and text in str(result.exception)
    flags = ["--model", str(single), "--model", str(single)]
    result = CliRunner().invoke(app, ["select", str(pool), *flags, "-o", str(tmp_path / "x.xyz"), "-n", "99"])
    assert "the pool holds 8 frames" in str(result.exception)


def test_labels_of_the_pool_are_kept_and_no_input_is_replaced(pool, tmp_path):
    frames = read(pool, ":")
    for number, atoms in enumerate(frames):
        tensors = np.tile(np.diag([-0.5, -0.5, 1.0]) * (number + 1), (len(atoms), 1, 1))
        atoms.new_array("efg", tensors.reshape(-1, 9))
    write(pool, frames, format="extxyz")
    model = model_file(tmp_path / "committee.safetensors", 0, committee=3)
    select = ["select", str(pool), "--model", str(model), "-n", "2", "-o"]
    before = pool.read_bytes()
    refused = CliRunner().invoke(app, [*select, str(pool)])
    assert refused.exit_code and pool.read_bytes() == before
    assert CliRunner().invoke(app, [*select, str(tmp_path / "chosen.xyz")]).exit_code == 0
    chosen = read(tmp_path / "chosen.xyz", ":")
    with open(tmp_path / "chosen.csv", newline="", encoding="utf-8") as stream:
        numbers = [int(row["frame"].rpartition(" ")[2]) for row in csv.DictReader(stream)]
    assert len(chosen) == 2
    for atoms, number in zip(chosen, numbers, strict=True):
        np.testing.assert_allclose(atoms.arrays["efg"], frames[number].arrays["efg"])
