"""Sizes of the parts of a linear model's features: found by leaving runs out, and what a new EFG model is."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from efgmd.models import EFGModel
from efgmd.models.io import load_model, read_metadata
from efgmd.training import shares
from efgmd.training.config import TrainingConfig
from efgmd.training.dataset import load, prepare
from efgmd.training.regression import Ridge
from efgmd.training.ridge import fit_linear
from efgmd.training.session import TrainingFiles, train
from efgmd.training.shares import Share, ShareSearch, some_centres
from efgmd.training.starting import LINEAR_EFG


def regression(rng):
    """Two parts: the target is a function of the first one's features at decay length 2, and of nothing else."""
    n, run = 80, np.repeat(np.arange(20), 4)
    true, other, idle = (rng.normal(size=(n, 5, width)) for width in (30, 30, 300))
    target = true @ rng.normal(size=30) + rng.normal(size=(n, 5))
    return {"first": {2.0: true, 4.0: other}, "second": {0.0: idle}}, target, run


def test_what_does_not_help_becomes_small_and_the_decay_length_that_helps_is_found():
    matrices, target, run = regression(np.random.default_rng(0))
    found = ShareSearch(matrices, target, run).compute().shares
    assert found["first"].decay == 2.0
    assert found["second"].size < 0.1 * found["first"].size
    assert sum(share.size**2 for share in found.values()) == pytest.approx(1.0)


def test_a_small_part_that_matters_is_made_large():
    """Features as large as those that matter, and ten times as many, drown these at equal sizes."""
    rng = np.random.default_rng(1)
    n, run = 60, np.repeat(np.arange(20), 3)
    few, many = rng.normal(size=(n, 5, 3)), rng.normal(size=(n, 5, 400))
    target = few @ np.array([1.0, -1.0, 0.5])
    found = ShareSearch({"few": {0.0: few}, "many": {0.0: many}}, target, run).compute().shares
    assert found["few"].size > 10 * found["many"].size
    errors = []
    for sizes in ({name: share.size for name, share in found.items()}, {"few": 0.5**0.5, "many": 0.5**0.5}):
        parts = [sizes["few"] * few / shares.spread(few), sizes["many"] * many / shares.spread(many)]
        errors.append(Ridge(np.concatenate(parts, axis=2).reshape(5 * n, -1), target, run).error)
    assert errors[0] < 0.1 * errors[1]


def test_errors_are_those_of_fits_without_each_run():
    matrices, target, run = regression(np.random.default_rng(2))
    search = ShareSearch(matrices, target, run).compute()
    state = replace(search._now, penalty=0.3)
    columns = [
        np.sqrt(state.squares[name]) * of_decay[state.decays[name]] / shares.spread(of_decay[state.decays[name]])
        for name, of_decay in matrices.items()
    ]
    flat, y = np.concatenate(columns, axis=2).reshape(len(run) * 5, -1), target.reshape(-1)
    squares = 0.0
    for name in np.unique(run):
        rows = np.repeat(run == name, 5)
        normal = flat[~rows].T @ flat[~rows] + 0.3 * np.eye(flat.shape[1])
        squares += np.sum((y[rows] - flat[rows] @ np.linalg.solve(normal, flat[~rows].T @ y[~rows])) ** 2)
    assert search._judge(state) == pytest.approx(squares / len(y), rel=1e-9)


def test_centres_of_large_sets_are_drawn_without_repetition():
    assert list(some_centres(400)) == list(range(400))
    drawn = some_centres(5000)
    assert len(set(drawn)) == 400 and drawn[-1] > 4000 and list(drawn) == sorted(drawn)


def test_all_parts_arrive_in_the_model(frames_file):
    """Labels grow by the full fit less that without their run, so what the model leaves of them are the errors on runs
    left out."""
    model = EFGModel(
        ("Ne", "Ar"),
        cutoff=4.0,
        n_radial=6,
        lmax=3,
        channels=0,
        message_cutoff=3.5,
        message_products={"Ne": ["Ar"]},
        product_rank=3,
    ).double()
    frames = prepare(load([frames_file], "efg"), "efg", model.elements, 4.0, torch.float64)
    labels = torch.cat([frame.labels["efg"] for frame in frames])
    runs = [str(k // 2) for k in range(len(frames))]
    fits = fit_linear(model, frames, runs, seed=0)
    assert list(fits["Ne"].shares) == ["pairs", "triples", "messages from Ne", "messages from Ar", "products"]
    assert all(share.size > 0 for fit in fits.values() for share in fit.shares.values())
    fitted = torch.cat([model(frame.pairs.neighbourhoods) for frame in frames]).detach()
    left = torch.cat([frame.labels["efg"] for frame in frames]) - fitted
    species = torch.cat([frame.pairs.neighbourhoods.species for frame in frames])
    for s, element in enumerate(model.elements):
        error = left[species == s].square().mean() / labels[species == s].square().mean()
        assert float(error.sqrt()) == pytest.approx(fits[element].error, rel=1e-3)
    again = copy.deepcopy(model)
    for frame, old in zip(frames, torch.split(labels, [frame.n_atoms for frame in frames]), strict=True):
        frame.labels["efg"] = old
    fit_linear(again, frames, runs, seed=0)  # weights are set anew, not added to
    repeated = torch.cat([again(frame.pairs.neighbourhoods) for frame in frames]).detach()
    assert torch.allclose(repeated, fitted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, LINEAR_EFG),
        ({"cutoff": 4.0}, LINEAR_EFG | {"cutoff": 4.0, "message_cutoff": 4.0}),
        ({"committee": 2, "message_cutoff": 0.0}, LINEAR_EFG | {"committee": 2, "message_cutoff": 0.0}),
        ({"channels": 3, "cutoff": 4.0}, {"channels": 3, "lmax": 3, "message_cutoff": 0.0, "committee": 1}),
        ({"linear": False, "cutoff": 4.0}, {"channels": 32, "linear": False, "message_cutoff": 0.0}),
    ],
)
def test_a_new_model_is_linear_unless_a_network_is_asked_for(tmp_path, frames_file, given, expected):
    files = TrainingFiles([frames_file], [], [], tmp_path / "efg.safetensors")
    train(TrainingConfig(kind="efg", model=given, epochs=1), files)
    found = load_model(files.output).hyperparameters()
    assert {name: found[name] for name in expected} == expected
    if not expected["channels"]:
        record = read_metadata(files.output)["training"]["linear_fit"]
        shares_found = [Share(**share) for share in record["Ne"]["shares"].values()]
        assert sum(share.size**2 for share in shares_found) == pytest.approx(1.0)
