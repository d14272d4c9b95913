"""Numbers of `efgmd evaluate` for a force field: labels are off by chosen errors from derivatives of its energy."""

import json

import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from toy_data import TINY, structure
from typer.testing import CliRunner

from efgmd.cli import app
from efgmd.frames.neighbours import batch_of
from efgmd.models import EnergyModel
from efgmd.models.io import load_model, save_model
from efgmd.training.dataset import load
from efgmd.training.evaluation import evaluate

ELEMENTS = ("Ar", "Kr", "Ne")
#: 1 eV/angstrom^3 is 1.602176634e-19 J / 1e-30 m^3.
GPA = 160.2176634
#: Rows and columns of xx yy zz yz xz xy.
VOIGT = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]


def energy(model, atoms):
    return float(model(batch_of(atoms, 4.0, ELEMENTS, torch.float64).neighbourhoods).detach().sum())


def slope(model, atoms, change, step=1e-4):
    """Derivative of the energy with respect to x, where ``change(atoms, x)`` alters a copy."""
    energies = []
    for x in (step, -step):
        moved = atoms.copy()
        change(moved, x)
        energies.append(energy(model, moved))
    return (energies[0] - energies[1]) / (2 * step)


def derivatives(model, atoms):
    """Forces ``(N, 3)``, eV/angstrom, and stress ``(3, 3)``, eV/angstrom^3, by differences."""

    def shift(moved, x, atom, axis):
        moved.positions[atom, axis] += x

    def strain(moved, x, a, b):
        deformation = np.eye(3)
        deformation[a, b] += x / 2
        deformation[b, a] += x / 2
        moved.set_cell(moved.cell.array @ deformation, scale_atoms=True)

    def all_of(change, rows):
        return [[slope(model, atoms, lambda m, x, i=i, j=j: change(m, x, i, j)) for j in range(3)] for i in range(rows)]

    return -np.array(all_of(shift, len(atoms))), np.array(all_of(strain, 3)) / atoms.get_volume()


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Model, files, frames, and the errors (predicted minus reference) of energy, forces and stress of each."""
    folder = tmp_path_factory.mktemp("evaluation")
    torch.manual_seed(0)
    model = EnergyModel(ELEMENTS, **TINY).double()
    rng = np.random.default_rng(3)
    model.calibrate(batch_of(structure(rng), 4.0, ELEMENTS, torch.float64).neighbourhoods)
    model.set_energy_references({"Ar": -5.0, "Kr": 1.0, "Ne": -2.0})
    save_model(folder / "m.safetensors", model)
    model = load_model(folder / "m.safetensors", dtype="float64")
    # The third has no volume, so that its stress means nothing; the fourth has none.
    frames = [structure(rng, n=n) for n in (8, 3, 5, 6)]
    frames[2].pbc = False
    errors = []
    for number, atoms in enumerate(frames):
        forces, stress = derivatives(model, atoms)
        error = rng.normal(0.03, 0.1), rng.normal(0.01, 0.05, forces.shape), rng.normal(0.001, 0.004, (3, 3))
        error[1][atoms.symbols == "Ar"] *= 3.0
        wrong = (error[2] + error[2].T) / 2
        six = {} if number == 3 else {"stress": (stress - wrong)[VOIGT]}
        atoms.calc = SinglePointCalculator(
            atoms, energy=energy(model, atoms) - error[0], forces=forces - error[1], **six
        )
        errors.append((*error[:2], wrong[VOIGT]))
    write(folder / "frames.xyz", frames, format="extxyz")
    return folder, frames, errors


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


def test_numbers_of_a_force_field_are_those_of_the_chosen_errors(judged):
    folder, frames, errors = judged
    arguments = ["evaluate", folder / "m.safetensors", folder / "frames.xyz", "-o", folder, "--dtype", "float64"]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    found = json.loads((folder / "evaluation.json").read_text())["errors"]
    assert (found["frames"], found["atoms"]) == (4, 22)
    per_atom = [error[0] / len(atoms) for error, atoms in zip(errors, frames, strict=True)]
    assert found["energy_rmse_meV_per_atom"] == pytest.approx(1e3 * rms(per_atom))
    assert found["energy_mae_meV_per_atom"] == pytest.approx(1e3 * np.mean(np.abs(per_atom)))
    assert found["energy_mean_error_meV_per_atom"] == pytest.approx(1e3 * np.mean(per_atom))
    forces = np.concatenate([error[1] for error in errors])
    reference = np.concatenate([atoms.calc.results["forces"] for atoms in frames])
    assert found["forces_rmse_meV_per_A"] == pytest.approx(1e3 * rms(forces), rel=1e-4)
    assert found["forces_mae_meV_per_A"] == pytest.approx(1e3 * np.mean(np.abs(forces)), rel=1e-4)
    assert found["forces_spread_meV_per_A"] == pytest.approx(1e3 * rms(reference), rel=1e-4)
    unexplained = np.sum(forces**2) / np.sum((reference - reference.mean()) ** 2)
    assert found["forces_r2"] == pytest.approx(1 - unexplained, abs=1e-4 * unexplained)
    symbols = np.concatenate([atoms.symbols for atoms in frames])
    expected = {element: 1e3 * rms(forces[symbols == element]) for element in ("Ar", "Ne")}  # there is no krypton
    assert found["forces_rmse_by_element_meV_per_A"] == pytest.approx(expected, rel=1e-4)
    assert expected["Ar"] > 2 * expected["Ne"]
    stress = GPA * np.array([error[2] for error in errors[:2]])
    assert found["stress_rmse_GPa"] == pytest.approx(rms(stress), rel=1e-4)
    assert found["stress_mae_GPa"] == pytest.approx(np.mean(np.abs(stress)), rel=1e-4)
    rows = [line.replace("│", " ").split() for line in done.output.splitlines()]
    assert ["stress", f"{rms(stress):.4g}", f"{np.mean(np.abs(stress)):.4g}", "GPa"] in rows
    assert ["forces", "on", "Ar", f"{expected['Ar']:.4g}", "meV/A"] in rows


def test_stresses_are_compared_component_by_component(judged):
    """No component may take another's place: the six differ by more than the tolerance."""
    folder, frames, errors = judged
    model = load_model(folder / "m.safetensors", dtype="float64")
    energies, forces, stress = evaluate(model, load([folder / "frames.xyz"], "energy")).comparisons
    assert (energies.unit, forces.unit, stress.unit) == ("eV/atom", "eV/angstrom", "GPa")
    labels = GPA * np.array([atoms.calc.results["stress"] for atoms in frames[:2]])
    wrong = GPA * np.array([error[2] for error in errors[:2]])
    np.testing.assert_allclose(stress.reference, labels.ravel(), atol=1e-5)
    np.testing.assert_allclose(stress.predicted, (labels + wrong).ravel(), atol=3e-4)
    assert np.diff(np.sort(labels + wrong, axis=1)).min() > 1e-3
    np.testing.assert_allclose(energies.reference[1], frames[1].calc.results["energy"] / 3)
