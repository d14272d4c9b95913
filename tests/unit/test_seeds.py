"""Seeds of training: the same one gives the same split, weights and model, and another one others."""

from inspect import signature
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_data import write_frames

from efgmd.models import EFGModel
from efgmd.training import session
from efgmd.training.config import TrainingConfig
from efgmd.training.dataset import load, prepare, split_runs, weigh_members
from efgmd.training.ridge import fit_linear

LINEAR = {"cutoff": 4.0, "n_radial": 4, "lmax": 2, "channels": 0, "committee": 3}
RUNS = [f"run{k // 3}" for k in range(90)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("seeds") / "frames.xyz"
    write_frames(path, runs=8, per_run=2)
    return path


def held_out(seed, order=None):
    """Runs that are held out of frames in some order."""
    runs = RUNS if order is None else [RUNS[k] for k in order]
    return frozenset(runs[k] for k in split_runs(runs, 0.2, seed)[1])


def test_splits_depend_on_the_seed_alone():
    splits = [held_out(seed) for seed in range(20)]
    # Of 30 runs 6 can be held out in 593775 ways: twenty draws hardly meet, and leave no run out for ever.
    assert len(set(splits)) == 20 and len(frozenset.union(*splits)) > 25
    shuffled = np.random.default_rng(0).permutation(len(RUNS))
    assert [held_out(seed, shuffled) for seed in range(20)] == splits


def bootstrap(seed, runs=RUNS, committee=4):
    """Weights of frames of one atom each, ``(frames, members)``."""
    frames = [SimpleNamespace(labels={"efg": torch.zeros(1, 3, 3, dtype=torch.float64)}) for _ in runs]
    weigh_members(frames, runs, committee, seed)
    return np.array([frame.labels["member_weights"][0].tolist() for frame in frames])


def test_weights_of_members_depend_on_the_seed_and_the_run():
    first = bootstrap(3)
    np.testing.assert_array_equal(first, bootstrap(3))
    shuffled = np.random.default_rng(0).permutation(len(RUNS))
    np.testing.assert_allclose(bootstrap(3, [RUNS[k] for k in shuffled]), first[shuffled])
    columns = np.hstack([first, bootstrap(4)])[::3]
    # Members and seeds are independent draws: correlations of 30 numbers of about 1 / sqrt(30).
    off_diagonal = np.corrcoef(columns.T)[~np.eye(8, dtype=bool)]
    assert np.abs(off_diagonal).max() < 0.7


def test_weights_of_members_are_distributed_exponentially():
    """Of mean 1, mean square 2 and median ln 2: the Bayesian bootstrap."""
    weights = bootstrap(0, [str(k) for k in range(3000)])
    assert weights.mean(axis=0) == pytest.approx(np.ones(4))
    assert np.mean(weights**2, axis=0) == pytest.approx(np.full(4, 2.0), rel=0.15)
    assert np.median(weights, axis=0) == pytest.approx(np.full(4, np.log(2)), rel=0.1)


def fitted(data, seed):
    """Weights of the members of a linear committee, ``(members, n)``."""
    model = EFGModel(("Ne", "Ar"), **LINEAR).double()
    frames = prepare(load([data], "efg"), "efg", model.elements, 4.0, torch.float64)
    fit_linear(model, frames, [str(k // 2) for k in range(len(frames))], seed)
    return members_of(model)


def members_of(model):
    return np.hstack([np.hstack([p.pair.numpy(), p.triple.numpy().reshape(len(p.pair), -1)]) for p in model.linear])


def test_members_of_a_fit_differ_by_the_seed_and_their_mean_does_not(data):
    first, again, other = fitted(data, 0), fitted(data, 0), fitted(data, 1)
    np.testing.assert_array_equal(first, again)
    scale = np.abs(first).max()
    np.testing.assert_allclose(other.mean(0), first.mean(0), atol=1e-8 * scale)
    spread = np.linalg.norm(first - first.mean(0))
    assert spread > 0
    # As far from each other as independent draws, whose differences have twice the variance.
    assert np.linalg.norm(other - first) > 0.5 * spread
    for a in range(3):
        assert min(np.linalg.norm(first[a] - first[b]) for b in range(3) if b != a) > 0.1 * spread


def test_the_seed_of_the_settings_reaches_every_draw(tmp_path, data, monkeypatch):
    seen = []

    def watched(function):
        def run(*arguments, **named):
            seen.append((function.__name__, signature(function).bind(*arguments, **named).arguments["seed"]))
            return function(*arguments, **named)

        return run

    for function in (split_runs, weigh_members, fit_linear):
        monkeypatch.setattr(session, function.__name__, watched(function))
    files = session.TrainingFiles([data], [], [], tmp_path / "m.safetensors")
    session.train(TrainingConfig(kind="efg", model=LINEAR, seed=5, validation_fraction=0.25, refit=True), files)
    names = ["split_runs", "weigh_members", "fit_linear", "fit_linear"]
    assert seen == [(name, 5) for name in names]
