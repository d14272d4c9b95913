"""Losses and scores against sums written out."""

import numpy as np
import pytest
import torch
from toy_data import ELEMENTS, TINY, write_frames

from efgmd.models import EFGModel, EnergyModel
from efgmd.training.dataset import collate, efg_scales, load, prepare, weigh_members
from efgmd.training.loop import accumulate
from efgmd.training.objectives import EFGObjective, EnergyObjective, Sums, geometric_score
from efgmd.training.predictions import predict_energy


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "f.xyz"
    write_frames(path)
    return path


def test_efg_loss_is_the_weighted_mean_over_elements_of_the_relative_squared_error(path):
    data = load([path], "efg")
    frames = prepare(data, "efg", ELEMENTS, 4.0, torch.float64)
    torch.manual_seed(0)
    model = EFGModel(ELEMENTS, **TINY).double()
    sigma = efg_scales(data.frames, ELEMENTS)
    objective = EFGObjective(data, ELEMENTS, sigma, {"Ar": 3.0})
    batch, labels = collate(frames)
    error = (model(batch.neighbourhoods) - labels["efg"]).detach().numpy()
    relative = [np.mean(error[batch.neighbourhoods.species == k] ** 2) / sigma[e] ** 2 for k, e in enumerate(ELEMENTS)]
    expected = 0.25 * relative[0] + 0.75 * relative[1]
    assert float(objective.loss(model, batch, labels).detach()) == pytest.approx(expected)
    sums = accumulate(model, objective, frames, 5, "cpu")
    assert objective.mean_loss(sums) == pytest.approx(expected)
    assert objective.score(sums) == pytest.approx(relative[0] ** 0.25 * relative[1] ** 0.75)
    assert objective.metrics(sums)["Ar_rmse_per_sigma"] == pytest.approx(relative[1] ** 0.5)


def test_members_are_trained_with_weights_of_their_own(path):
    """Runs share their weight, members differ, and the mean weight is one."""
    data = load([path], "efg")
    frames = prepare(data, "efg", ELEMENTS, 4.0, torch.float64)
    runs = [name.rpartition("-")[0] for name in (atoms.info["tag"] for atoms in data.frames)]
    weigh_members(frames, runs, 3, seed=5)
    rows = np.array([frame.labels["member_weights"][0].tolist() for frame in frames])
    assert rows.mean(axis=0) == pytest.approx(np.ones(3)) and rows.std(axis=0).min() > 0.1
    for run in set(runs):
        mine = rows[[k for k, name in enumerate(runs) if name == run]]
        assert (mine == mine[0]).all() and len(set(mine[0])) == 3
    torch.manual_seed(0)
    model = EFGModel(ELEMENTS, committee=3, **TINY).double()
    sigma = efg_scales(data.frames, ELEMENTS)
    batch, labels = collate(frames)
    errors = (model.members(batch.neighbourhoods) - labels["efg"][:, None]).detach().numpy()
    per_atom = np.repeat(rows, 8, axis=0) * np.mean(errors**2, axis=(2, 3))
    species = batch.neighbourhoods.species.numpy()
    expected = np.mean([per_atom[species == k].mean() / sigma[e] ** 2 for k, e in enumerate(ELEMENTS)])
    objective = EFGObjective(data, ELEMENTS, sigma, {})
    assert float(objective.loss(model, batch, labels).detach()) == pytest.approx(expected)


def test_energy_loss_is_the_sum_of_relative_squared_errors(path):
    frames = prepare(load([path], "energy"), "energy", ELEMENTS, 4.0, torch.float64, np.array([-2.0, -5.0]))
    torch.manual_seed(0)
    model = EnergyModel(ELEMENTS, **TINY).double()
    objective = EnergyObjective(frames, {"forces": 2.0})
    batch, labels = collate(frames)
    predicted = predict_energy(model, batch)
    energies = labels["energy"].numpy() / 8
    voigt = np.array([0, 4, 8, 5, 2, 1])
    stress = labels["stress"].reshape(-1, 9).numpy()[:, voigt]
    expected = (
        np.mean((predicted.energies.numpy() / 8 - energies) ** 2) / np.var(energies)
        + 2 * np.mean((predicted.forces - labels["forces"]).numpy() ** 2) / np.mean(labels["forces"].numpy() ** 2)
        + 0.1 * np.mean((predicted.stress.reshape(-1, 9).numpy()[:, voigt] - stress) ** 2) / np.mean(stress**2)
    )
    assert float(objective.loss(model, batch, labels).detach()) == pytest.approx(expected)
    assert objective.mean_loss(accumulate(model, objective, frames, 5, "cpu")) == pytest.approx(expected)


def test_frames_without_stress_do_not_count_for_the_stress(path):
    data = load([path], "energy")
    for atoms in data.frames[::2]:
        atoms.pbc = False
        atoms.calc.results["stress"] = np.full(6, 1e3)
    frames = prepare(data, "energy", ELEMENTS, 4.0, torch.float64)
    objective = EnergyObjective(frames, {})
    assert objective.spreads["stress"] < 1.0
    sums = accumulate(EnergyModel(ELEMENTS, **TINY).double(), objective, frames, 4, "cpu")
    assert sums["stress"][1] == 6 * len(data.frames[1::2])


def test_the_score_is_not_decided_by_the_worst_known_quantity_alone():
    def sums(a, b):
        result = Sums()
        result.add("a", torch.tensor([a]))
        result.add("b", torch.tensor([b]))
        return result

    weights, spreads = {"a": 1.0, "b": 1.0, "absent": 1.0}, {"a": 1.0, "b": 2.0, "absent": 1.0}
    assert geometric_score(sums(0.25, 0.04), weights, spreads) == pytest.approx((0.25 * 0.01) ** 0.5)
    # b improves four times while a gets a tenth worse: better on the whole, though the sum is larger.
    assert geometric_score(sums(0.275, 0.01), weights, spreads) < geometric_score(sums(0.25, 0.04), weights, spreads)
