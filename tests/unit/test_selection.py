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
from efgmd.training.predictions import predict_energy
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


def select(folder, pool, models, *options):
    """Numbers in the pool of the chosen frames, and their rows, in the order of choice."""
    flags = [text for path in models for text in ("--model", str(path))]
    out = folder / "chosen.xyz"
    result = CliRunner().invoke(app, ["select", str(pool), *flags, "-o", str(out), *map(str, options)])
    assert result.exit_code == 0, result.output
    with out.with_suffix(".csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return [int(row["frame"].rpartition(" ")[2]) for row in rows], rows


def test_frames_like_known_ones_come_last(tmp_path):
    """All but one are known, turned and in another order: that one comes first, whatever the spreads."""
    rng = np.random.default_rng(8)
    frames = [structure(rng) for _ in range(4)]
    write(tmp_path / "pool.xyz", frames, format="extxyz")
    model = model_file(tmp_path / "m.safetensors", 0, committee=3)
    unguided, _ = select(tmp_path, tmp_path / "pool.xyz", [model], "-n", 1)
    for new in [*unguided, *(set(range(4)) - set(unguided))][:3]:
        known = [atoms.copy() for k, atoms in enumerate(frames) if k != new][::-1]
        for atoms in known:
            atoms.rotate(70, (1, -2, 1), rotate_cell=True)
        write(tmp_path / "one.xyz", known[:1], format="extxyz")
        write(tmp_path / "two.xyz", known[1:], format="extxyz")
        options = ["-n", 4, "--known", tmp_path / "one.xyz", "--known", tmp_path / "two.xyz"]
        numbers, rows = select(tmp_path, tmp_path / "pool.xyz", [model], *options)
        assert numbers[0] == new
        distances = [float(row["distance"]) for row in rows]
        assert distances[0] > 0.1 and max(distances[1:]) < 1e-4


SIGMA, SPREAD_SCALES = np.array([0.02, 6.0]), np.array([1.5, 0.4])


def scaled_file(path, seed, sigma=SIGMA, **changes):
    """An EFG model whose elements, Ne and Ar, have tensors of very different size."""
    model = load_model(model_file(path, seed, **changes))
    model.scales.copy_(torch.tensor(sigma))
    model.spread_scales.copy_(torch.tensor(SPREAD_SCALES))
    save_model(path, model)
    return path


@pytest.mark.parametrize("kind", ["committee", "one element", "efg", "energy"])
def test_spreads_are_relative_to_the_tensors_of_each_element(pool, tmp_path, kind):
    """Against the definition: variance between members, by atom and element, each in units of its sigma."""
    if kind in ("committee", "one element"):
        sigma = SIGMA if kind == "committee" else np.array([0.02, np.nan])
        paths = [scaled_file(tmp_path / "a.safetensors", 0, sigma, committee=3)]
    elif kind == "efg":
        paths = [scaled_file(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2)]
    else:
        paths = [model_file(tmp_path / f"{seed}.safetensors", seed, EnergyModel) for seed in (1, 2, 3)]
    numbers, rows = select(tmp_path, pool, paths, "-n", 8)
    assert sorted(numbers) == list(range(8))
    models = [load_model(path, dtype="float64") for path in paths]
    frames = read(pool, ":")
    for number, row in zip(numbers, rows, strict=True):
        batch = batch_of(frames[number], 4.0, ELEMENTS, torch.float64)
        if kind == "energy":
            forces = np.array([predict_energy(model, batch).forces.numpy() for model in models])
            expected = np.sqrt(np.mean(np.sum((forces - forces.mean(0)) ** 2, axis=(0, 2)) / 2))
        else:
            with torch.no_grad():
                answers = [model.members(batch.neighbourhoods).numpy() for model in models]
            members = np.concatenate(answers, axis=1)
            deviation = members - members.mean(1, keepdims=True)
            variance = np.mean(np.sum(deviation**2, axis=1) / (members.shape[1] - 1), axis=(1, 2))
            of_element = [
                variance[frames[number].symbols == element].mean() / SIGMA[k] ** 2 for k, element in enumerate(ELEMENTS)
            ]
            if kind != "efg":  # a committee was calibrated
                of_element *= SPREAD_SCALES**2
            expected = np.sqrt(of_element[0] if kind == "one element" else np.mean(of_element))
        assert float(row["spread"]) == pytest.approx(expected, rel=1e-3)
