"""The grade of extrapolation: against its formula, on atoms that were and were not seen, and through files."""

import json

import numpy as np
import pytest
import torch
from ase.build import bulk
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from efgmd.calculators import EnergyCalculator
from efgmd.errors import ModelFileError
from efgmd.frames.neighbours import batch_of
from efgmd.models import EnergyModel
from efgmd.models.io import load_model, save_model
from efgmd.models.training_range import TrainingRange

ELEMENTS = ("Na", "Cl", "H")  # hydrogen is never seen


def crystal(seed, shake=0.1):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat((2, 2, 2))
    atoms.positions += np.random.default_rng(seed).normal(scale=shake, size=atoms.positions.shape)
    return atoms


KNOWN = [crystal(seed) for seed in range(4)]


def batches(model, frames=KNOWN):
    return lambda: (batch_of(a, model.cutoff, ELEMENTS, model.dtype).neighbourhoods for a in frames)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = EnergyModel(ELEMENTS, cutoff=4.0, n_radial=4, lmax=2, channels=4, hidden=8).double()
    made.calibrate(next(iter(batches(made)())))
    made.record_training(batches(made), list)
    return made


def grades(model, frames):
    with torch.no_grad():
        return np.concatenate([model.extrapolation(nb).numpy() for nb in batches(model, frames)()])


def contents(path):
    """Metadata and tensors of a model file."""
    with safe_open(path, framework="pt") as file:
        return file.metadata(), load_file(path)


def distance(new, seen):
    """By its definition: a hundredth of the mean variance is added to the covariance."""
    covariance = np.cov(seen.T, bias=True)
    inverse = np.linalg.inv(covariance + 0.01 * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))
    shifted = new - seen.mean(0)
    return np.sqrt(np.einsum("ni,ij,nj->n", shifted, inverse, shifted) / len(covariance))


def test_grade_is_the_mahalanobis_distance_in_units_of_what_was_seen():
    generator = np.random.default_rng(1)
    seen, held_out = (
        [generator.normal(size=(n, 5)) @ generator.normal(size=(5, 5)) + 3.0 for _ in range(2)] for n in (300, 40)
    )
    found = TrainingRange(2, 5).double()
    parts = [(s, torch.tensor(x[rows])) for s, x in enumerate(seen) for rows in (slice(0, 90), slice(90, None))]
    found.record(lambda: parts, lambda: [(s, torch.tensor(x)) for s, x in enumerate(held_out)])
    for s in range(2):
        new = generator.normal(size=(20, 5)) * 9
        unit = np.quantile(distance(np.concatenate([seen[s], held_out[s]]), seen[s]), 0.999)
        np.testing.assert_allclose(found(s, torch.tensor(new)), distance(new, seen[s]) / unit, rtol=1e-9)


def test_training_atoms_are_below_one_and_others_go_beyond(model):
    known = grades(model, KNOWN)
    assert 0.99 < (known < 1).mean() < 1
    by_shake = [np.median(grades(model, [crystal(9, shake)])) for shake in (0.1, 0.2, 0.4)]
    assert by_shake[0] < by_shake[1] < by_shake[2]
    pressed = crystal(9)
    pressed.set_cell(0.8 * pressed.cell.array, scale_atoms=True)
    assert grades(model, [pressed]).min() > 3


def test_grade_of_an_element_that_was_never_seen_is_huge(model):
    odd = crystal(9)
    odd.symbols[3] = "H"
    assert grades(model, [odd])[3] > 1e3


def test_one_displaced_atom_and_its_neighbours_stand_out(model):
    odd = crystal(9)
    odd.positions[3] += [1.2, 0.3, 0.0]
    changed = grades(model, [odd]) - grades(model, [crystal(9)])
    near = odd.get_distances(3, range(len(odd)), mic=True) < model.cutoff + 1.3
    assert changed[3] > 1 and np.abs(changed[~near]).max() < 1e-12


def test_record_goes_through_files_and_the_calculator(model, tmp_path):
    save_model(tmp_path / "energy.safetensors", model)
    loaded = load_model(tmp_path / "energy.safetensors", dtype="float64")
    assert loaded.metadata["training_range"] is True
    odd = crystal(9, 0.3)
    expected = grades(model, [odd])
    np.testing.assert_allclose(grades(loaded, [odd]), expected, rtol=1e-12)
    calculator = EnergyCalculator(tmp_path / "energy.safetensors")
    calculator.calculate(odd)
    assert "extrapolation" not in calculator.results
    np.testing.assert_allclose(calculator.get_property("extrapolation", odd), expected, rtol=1e-3)


def test_files_of_earlier_versions_have_no_record(model, tmp_path):
    """As schema 2 wrote them: without the arrays."""
    save_model(tmp_path / "new.safetensors", model)
    metadata, tensors = contents(tmp_path / "new.safetensors")
    tensors = {name: value for name, value in tensors.items() if not name.startswith("training_range")}
    content = json.loads(metadata["efgmd"])
    metadata["efgmd"] = json.dumps(content | {"schema": 2, "probe": content["probe"][: -len(ELEMENTS)]})
    save_file(tensors, tmp_path / "old.safetensors", metadata=metadata)
    atoms = crystal(9)
    atoms.calc = EnergyCalculator(tmp_path / "old.safetensors", dtype="float64")
    atoms.get_forces()
    with pytest.raises(ModelFileError, match="did not record the atoms that it was trained on"):
        atoms.calc.get_property("extrapolation", atoms)


def test_arrays_of_the_wrong_size_and_changed_numbers_are_noticed(model, tmp_path):
    save_model(tmp_path / "good.safetensors", model)
    metadata, tensors = contents(tmp_path / "good.safetensors")
    short = tensors | {"training_range.whitening": tensors["training_range.whitening"][:, :-1].contiguous()}
    changed = tensors | {"training_range.means": tensors["training_range.means"] + 0.1}
    for broken, message in ((short, "does not match its own metadata"), (changed, "gives other values here")):
        save_file(broken, tmp_path / "bad.safetensors", metadata=metadata)
        with pytest.raises(ModelFileError, match=message):
            load_model(tmp_path / "bad.safetensors")
