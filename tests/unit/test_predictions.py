"""Forces, stress and their gradients from pair vectors, against finite differences."""

import numpy as np
import pytest
import torch
from toy_data import ELEMENTS, TINY, structure

from efgmd.frames.neighbours import batch_of, join, neighbourhoods, volume
from efgmd.models import EnergyModel
from efgmd.training.predictions import predict_energy


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = EnergyModel(ELEMENTS, **TINY).double()
    rng = np.random.default_rng(9)
    with torch.no_grad():
        model.calibrate(batch_of(structure(rng), 4.0, ELEMENTS, torch.float64).neighbourhoods)
    return model


def energy(model, atoms):
    return float(predict_energy(model, batch_of(atoms, 4.0, ELEMENTS, torch.float64)).energies)


@pytest.mark.parametrize("length", [6.0, 3.5])
def test_forces_and_stress_equal_finite_differences(model, length):
    # At 3.5 angstrom atoms interact with their own images.
    atoms = structure(np.random.default_rng(1), n=6 if length > 4 else 2, length=length)
    predicted = predict_energy(model, batch_of(atoms, 4.0, ELEMENTS, torch.float64))
    step = 1e-4
    for atom, axis in [(0, 0), (1, 1), (1, 2)]:
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(energy(model, moved))
        assert float(predicted.forces[atom, axis]) == pytest.approx(-np.diff(energies[::-1])[0] / 2 / step, abs=1e-6)
    assert predicted.forces.sum(0).abs().max() < 1e-12
    for a, b in [(0, 0), (1, 2), (2, 2), (0, 1)]:
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            moved = atoms.copy()
            moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(energy(model, moved))
        numerical = -np.diff(energies)[0] / 2 / step / atoms.get_volume()
        assert float(predicted.stress[0, a, b]) == pytest.approx(numerical, abs=1e-6)


def test_a_batch_predicts_what_its_frames_do_alone(model):
    rng = np.random.default_rng(2)
    frames = [structure(rng), structure(rng, n=3), structure(rng)]
    frames[1].pbc = False
    lists = [neighbourhoods(atoms, 4.0, ELEMENTS, torch.float64) for atoms in frames]
    together = predict_energy(model, join(lists, [volume(atoms) for atoms in frames]))
    alone = [predict_energy(model, batch_of(atoms, 4.0, ELEMENTS, torch.float64)) for atoms in frames]
    for name in ("energies", "forces", "stress"):
        parts = torch.cat([getattr(single, name) for single in alone])
        assert torch.allclose(getattr(together, name), parts, rtol=1e-10, atol=1e-12)
    assert (together.stress[1] == 0).all()


def test_a_loss_on_forces_and_stress_reaches_the_parameters(model):
    batch = batch_of(structure(np.random.default_rng(3)), 4.0, ELEMENTS, torch.float64)
    parameter = model.backbone.networks[0].mix[1]

    def loss():
        predicted = predict_energy(model, batch, create_graph=True)
        return predicted.forces.square().sum() + 100 * predicted.stress.square().sum()

    model.zero_grad()
    loss().backward()
    gradient = float(parameter.grad[0, 0])
    values = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            parameter[0, 0] += step
        values.append(float(loss().detach()))
        with torch.no_grad():
            parameter[0, 0] -= step
    assert gradient == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)
    assert gradient != 0.0
