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
from efgmd.models import EFGModel
from efgmd.models.io import load_model, read_metadata
from efgmd.training.config import TrainingConfig
from efgmd.training.dataset import collate, efg_scales, load, prepare
from efgmd.training.evaluation import evaluate
from efgmd.training.loop import accumulate
from efgmd.training.objectives import EFGObjective
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


def test_what_new_frames_do_not_teach_is_given_up(tmp_path, whole):
    """Training on spoils it (decay of weights, new channels), so it must not be taken for known."""
    one = trained(tmp_path, hide(whole, tmp_path / "neon.xyz", of_argon))
    argon = hide(whole, tmp_path / "argon.xyz", lambda atoms: ~of_argon(atoms))
    path = trained(tmp_path, argon, {}, initialise=one)
    assert load_model(path).without_tensors == ("Ne",)
    assert list(read_metadata(path)["training"]["accuracy"]["validation"]["elements"]) == ["Ar"]
    log = (path.with_name("argon.training") / "training.log").read_text()
    assert "no training frame has tensors of Ne: the model will not know any" in log
    both = trained(tmp_path, whole, {}, initialise=path)
    assert load_model(both).without_tensors == ()


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
    other = trained(tmp_path, hide(whole, tmp_path / "argon.xyz", lambda atoms: ~of_argon(atoms)))
    result = CliRunner().invoke(app, [*command, "--model", str(other)])
    assert result.exit_code and "knows tensors of other elements" in str(result.exception or result.output)


def test_frames_that_cannot_judge_the_model_are_refused_before_training(tmp_path, whole):
    neon = hide(whole, tmp_path / "neon.xyz", of_argon)
    write_frames(tmp_path / "more.xyz", runs=3, per_run=2, seed=6)
    argon = hide(tmp_path / "more.xyz", tmp_path / "argon.xyz", lambda atoms: ~of_argon(atoms))
    files = TrainingFiles([neon], [], [argon], tmp_path / "m.safetensors")
    with pytest.raises(DataError, match=r"argon\.xyz: no atom of Ne, the elements that the model knows, has a tensor"):
        train(TrainingConfig(kind="efg", model=LINEAR), files)
    assert not files.output.exists()


def test_the_mean_loss_of_batches_is_the_loss_however_many_tensors_they_have(tmp_path, whole):
    gaps = hide(whole, tmp_path / "gaps.xyz", lambda atoms: np.arange(len(atoms)) > len(atoms) * (atoms[0].x % 1))
    data = load([gaps], "efg")
    frames = prepare(data, "efg", ELEMENTS, 4.0, torch.float64)
    assert len({int(frame.labels["known"].sum()) for frame in frames}) > 3
    torch.manual_seed(0)
    model = EFGModel(ELEMENTS, **TINY).double()
    sigma = efg_scales(data.frames, ELEMENTS)
    objective = EFGObjective(data, ELEMENTS, sigma, {"Ar": 2.0})
    batches = [collate(frames[k : k + 4]) for k in range(0, len(frames), 4)]
    losses = [float(objective.loss(model, *batch).detach()) for batch in batches]
    assert np.mean(losses) == pytest.approx(float(objective.loss(model, *collate(frames)).detach()))
    sums = accumulate(model, objective, frames, 5, "cpu")
    assert np.mean(losses) == pytest.approx(objective.mean_loss(sums))


def test_only_the_stress_without_a_stress_is_refused(tmp_path, whole):
    frames = read(whole, ":")
    for atoms in frames:
        del atoms.calc.results["stress"]
    write(tmp_path / "slack.xyz", frames, format="extxyz")
    files = TrainingFiles([tmp_path / "slack.xyz"], [], [], tmp_path / "e.safetensors")
    weights = {"energy": 0.0, "forces": 0.0, "stress": 1.0}
    with pytest.raises(ConfigError, match="no training frame has a stress"):
        train(TrainingConfig(kind="energy", model=TINY, weights=weights), files)
