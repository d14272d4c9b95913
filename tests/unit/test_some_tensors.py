"""EFG models learnt from frames in which some atoms have tensors."""

import numpy as np
import pytest
import torch
from ase.io import read, write
from toy_data import ELEMENTS, TINY, write_frames
from typer.testing import CliRunner

from efgmd.calculators import EFGCalculator
from efgmd.cli import app
from efgmd.errors import ConfigError, DataError
from efgmd.models.io import load_model, read_metadata
from efgmd.training.config import TrainingConfig
from efgmd.training.dataset import load
from efgmd.training.evaluation import evaluate
from efgmd.training.session import TrainingFiles, train

LINEAR = {"cutoff": 4.0, "n_radial": 4, "lmax": 2, "channels": 0, "committee": 3, "message_cutoff": 3.0}


def hide(source, target, hidden):
    """Copy frames without the tensors of atoms for which hidden(atoms) is true; NaN in their place."""
    frames = read(source, ":")
    for atoms in frames:
        rows = hidden(atoms)
        atoms.arrays["efg"][rows] = np.nan
        atoms.new_array("efg_known", ~rows)
    write(target, frames, format="extxyz")
    return target


def of_argon(atoms):
    return np.array(atoms.get_chemical_symbols()) == "Ar"


def every_third(atoms):
    return np.arange(len(atoms)) % 3 == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("some") / "frames.xyz"
    write_frames(path, runs=10, per_run=2)
    return path


def trained(folder, data, settings=LINEAR, **changes):
    files = TrainingFiles([data], [], [], folder / f"{data.stem}.safetensors")
    train(TrainingConfig(kind="efg", model=settings, **changes), files)
    return files.output


def test_one_element_is_learnt_as_it_is_beside_the_other(tmp_path, whole):
    """The linear part of an element asks for its own tensors only: leaving out the others changes nothing."""
    both, one = trained(tmp_path, whole), trained(tmp_path, hide(whole, tmp_path / "neon.xyz", of_argon))
    atoms = read(whole, "3")
    expected, found = (EFGCalculator(path, dtype="float64").get_property("efg", atoms) for path in (both, one))
    argon = of_argon(atoms)
    np.testing.assert_allclose(found[~argon], expected[~argon], atol=1e-9 * np.abs(expected).max())
    assert np.isnan(found[argon]).all() and np.isfinite(expected).all()
    model = load_model(one)
    assert model.without_tensors == ("Ar",) and load_model(both).without_tensors == ()
    record = read_metadata(one)["training"]
    assert list(record["sigma_au"]) == list(record["linear_fit"]) == ["Ne"]
    assert list(record["accuracy"]["validation"]["elements"]) == ["Ne"]
    assert list(evaluate(model, load([whole], "efg")).numbers["elements"]) == ["Ne"]


def test_hidden_tensors_are_not_learnt_from_whatever_their_place_holds(tmp_path, whole):
    gaps = hide(whole, tmp_path / "gaps.xyz", every_third)
    frames = read(gaps, ":")
    for atoms in frames:
        atoms.arrays["efg"][~atoms.arrays["efg_known"]] = 7.0
    write(tmp_path / "sevens.xyz", frames, format="extxyz")
    models = [load_model(trained(tmp_path, path)) for path in (gaps, tmp_path / "sevens.xyz", whole)]
    first, second, full = ([part.pair for part in model.linear] for model in models)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, full, strict=True))
    tensors = sum(int((~every_third(atoms)).sum()) for atoms in frames)
    numbers = evaluate(models[0], load([gaps], "efg")).numbers["elements"]
    assert sum(row["tensors"] for row in numbers.values()) == tensors
    assert all(row["rmse_per_sigma"] < 0.3 for row in numbers.values())


def test_a_network_learns_beside_atoms_without_tensors(tmp_path, whole):
    """No derivative may be touched by the NaN of what is unknown."""
    neon = hide(whole, tmp_path / "neon.xyz", of_argon)
    path = trained(tmp_path, neon, {**TINY, "linear": False}, epochs=15, learning_rate=0.01)
    model = load_model(path)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert read_metadata(path)["training"]["accuracy"]["validation"]["elements"]["Ne"]["rmse_per_sigma"] < 0.9


def test_another_element_is_added_to_a_model(tmp_path, whole):
    one = trained(tmp_path, hide(whole, tmp_path / "neon.xyz", of_argon))
    write_frames(tmp_path / "new.xyz", runs=8, per_run=2, seed=9)
    argon = hide(tmp_path / "new.xyz", tmp_path / "argon.xyz", lambda atoms: ~of_argon(atoms))
    path = trained(tmp_path, argon, {}, initialise=one)
    atoms = read(whole, "0")
    before, after = (EFGCalculator(model, dtype="float64").get_property("efg", atoms) for model in (one, path))
    rows = of_argon(atoms)
    np.testing.assert_allclose(after[~rows], before[~rows], atol=1e-9 * np.abs(before[~rows]).max())
    error = after[rows] - read(whole, "0").arrays["efg"].reshape(-1, 3, 3)[rows]
    assert np.abs(error).max() < 0.3 * np.abs(after[rows]).max() and load_model(path).without_tensors == ()


def test_frames_and_weights_that_teach_nothing_are_refused(tmp_path, whole):
    nothing = hide(whole, tmp_path / "nothing.xyz", lambda atoms: np.ones(len(atoms), dtype=bool))
    with pytest.raises(DataError, match=r"frame 0: 8 of 8 atoms have no efg tensor"):
        load([nothing], "efg")
    with pytest.raises(ConfigError, match="training frames have no tensors of an element that is learnt"):
        trained(tmp_path, whole, weights=dict.fromkeys(ELEMENTS, 0.0))
    neon = hide(whole, tmp_path / "neon.xyz", of_argon)
    with pytest.raises(ConfigError, match="training frames have no tensors of an element that is learnt"):
        trained(tmp_path, neon, weights={"Ne": 0.0})


def test_frames_are_selected_by_the_elements_that_are_known(tmp_path, whole):
    model = trained(tmp_path, hide(whole, tmp_path / "neon.xyz", of_argon))
    write_frames(tmp_path / "pool.xyz", runs=3, per_run=2, seed=5)
    output = tmp_path / "chosen.xyz"
    command = ["select", str(tmp_path / "pool.xyz"), "--model", str(model), "-n", "2", "-o", str(output)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert len(read(output, ":")) == 2


def test_only_the_stress_without_a_stress_is_refused(tmp_path, whole):
    frames = read(whole, ":")
    for atoms in frames:
        del atoms.calc.results["stress"]
    write(tmp_path / "slack.xyz", frames, format="extxyz")
    files = TrainingFiles([tmp_path / "slack.xyz"], [], [], tmp_path / "e.safetensors")
    weights = {"energy": 0.0, "forces": 0.0, "stress": 1.0}
    with pytest.raises(ConfigError, match="no training frame has a stress"):
        train(TrainingConfig(kind="energy", model=TINY, weights=weights), files)
