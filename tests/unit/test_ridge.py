"""The linear part of the EFG model: known functions recovered, errors on runs left out, committees, extrapolation."""

import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from toy_data import structure, write_frames
from vesin import NeighborList

from efgmd.calculators import EFGCalculator
from efgmd.errors import ConfigError, DataError, ModelFileError
from efgmd.models import EFGModel
from efgmd.models.io import load_model, read_metadata
from efgmd.tensors import rotate
from efgmd.training.config import TrainingConfig
from efgmd.training.dataset import load, prepare
from efgmd.training.regression import Ridge
from efgmd.training.ridge import fit_linear
from efgmd.training.session import TrainingFiles, train

LINEAR = {"cutoff": 4.0, "n_radial": 16, "lmax": 2, "channels": 0}
CHARGES = {"Ne": 1.0, "Ar": -1.0}


def point_charge_frames(path, runs, seed):
    """Frames with the EFG of unit charges, q (3 r r - r^2) / r^5, whole to 2.4 and faded out by 4 angstrom."""
    rng = np.random.default_rng(seed)
    frames = []
    for run in range(runs):
        atoms = structure(rng)
        search = NeighborList(cutoff=4.0, full_list=True)
        i, j, r, d = search.compute(atoms.positions, atoms.cell.array, True, quantities="ijDd")
        charge = np.array([CHARGES[symbol] for symbol in atoms.get_chemical_symbols()])[j]
        x = np.clip((4.0 - d) / 1.6, 0, 1)
        weight = charge * x**3 * (10 - 15 * x + 6 * x**2) / d**5  # the fade is no function of the model
        outer = 3 * r[:, :, None] * r[:, None, :] - (d**2)[:, None, None] * np.eye(3)
        tensors = np.zeros((len(atoms), 3, 3))
        np.add.at(tensors, i, weight[:, None, None] * outer)
        atoms.new_array("efg", tensors.reshape(-1, 9))
        atoms.info["tag"] = f"run{run}-0"
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return path


def test_point_charges_are_learnt_to_a_thousandth_of_their_spread(tmp_path):
    data = point_charge_frames(tmp_path / "train.xyz", 40, seed=1)
    unseen = point_charge_frames(tmp_path / "test.xyz", 10, seed=2)
    files = TrainingFiles([data], [], [unseen], tmp_path / "efg.safetensors")
    train(TrainingConfig(kind="efg", model=LINEAR), files)
    record = read_metadata(files.output)["training"]
    for element in CHARGES:
        assert record["accuracy"]["test"]["elements"][element]["rmse_per_sigma"] < 1e-3
        assert record["linear_fit"][element]["error"] < 1e-3


def test_a_model_of_this_form_is_recovered(tmp_path, frames_file):
    torch.manual_seed(0)
    teacher = EFGModel(("Ne", "Ar"), cutoff=4.0, n_radial=3, lmax=3, channels=0).double()
    for part in teacher.linear:
        part.pair.normal_()
        part.triple.normal_(std=0.3)
    data = load([frames_file], "efg")
    frames = prepare(data, "efg", teacher.elements, 4.0, torch.float64)
    for frame in frames:
        frame.labels["efg"] = teacher(frame.pairs.neighbourhoods)
    before = [frame.labels["efg"].clone() for frame in frames]
    student = EFGModel(("Ne", "Ar"), cutoff=4.0, n_radial=3, lmax=3, channels=0).double()
    fits = fit_linear(student, frames, [str(k // 2) for k in range(len(frames))], seed=0)
    for frame, reference in zip(frames, before, strict=True):
        found = student(frame.pairs.neighbourhoods)
        assert (found - reference).abs().max() < 2e-3 * reference.abs().max()
    assert max(fit.error for fit in fits.values()) < 0.05


def test_errors_on_runs_left_out_are_those_of_fits_without_them():
    rng = np.random.default_rng(3)
    matrix, target, run = rng.normal(size=(60, 25)), rng.normal(size=(12, 5)), np.repeat([0, 1, 2, 3], 3)
    for features in (matrix, matrix[:, :7], np.tile(matrix, 4)):
        ridge = Ridge(features, target, run)
        errors = []
        for name in range(4):
            rows = np.repeat(run == name, 5)
            learn, y = features[~rows], target.reshape(-1)[~rows]
            normal = learn.T @ learn + ridge.penalty * np.eye(features.shape[1])
            errors.append(target.reshape(-1)[rows] - features[rows] @ np.linalg.solve(normal, learn.T @ y))
        left_out = np.concatenate(errors)
        assert ridge.error == pytest.approx(np.sqrt(np.mean(left_out**2) / np.mean(target**2)), rel=1e-6)
        np.testing.assert_allclose(ridge.left_out.reshape(-1), left_out, atol=1e-8)
        weights = ridge.committee(np.ones((12, 1)))[0][0]
        gain = features @ weights - (target.reshape(-1) - left_out)
        np.testing.assert_allclose(ridge.gain.reshape(-1), gain, atol=1e-8)
        committee, none = ridge.committee(rng.exponential(size=(12, 5)))
        np.testing.assert_allclose(committee.mean(0), weights, atol=1e-10)
        assert committee.std(0).max() > 1e-3 and not len(none)


@pytest.mark.parametrize("columns", [7, 25, 100])
def test_the_spread_on_runs_left_out_is_that_of_a_committee_without_them(columns):
    rng = np.random.default_rng(4)
    matrix, target, run = rng.normal(size=(60, columns)), rng.normal(size=(12, 5)), np.repeat([0, 1, 2, 3], 3)
    weights = rng.exponential(size=(12, 5))
    ridge = Ridge(matrix, target, run)
    _, spread = ridge.committee(weights, left_out=True)
    expected = np.empty((60, 5))
    for member, column in enumerate((weights / weights.mean(axis=0)).T):
        for name in range(4):
            rows, w = np.repeat(run == name, 5), np.repeat(column, 5)
            learn = matrix[~rows]
            normal = (w[~rows] * learn.T) @ learn + ridge.penalty * np.eye(columns)
            solution = np.linalg.solve(normal, (w[~rows] * learn.T) @ target.reshape(-1)[~rows])
            expected[rows, member] = matrix[rows] @ solution
    np.testing.assert_allclose(spread.reshape(-1), expected.std(axis=1, ddof=1), rtol=1e-5)


def test_the_network_is_taught_what_the_linear_part_misses_on_runs_left_out(frames_file):
    model = EFGModel(("Ne", "Ar"), cutoff=4.0, n_radial=4, lmax=2, channels=3).double()
    frames = prepare(load([frames_file], "efg"), "efg", model.elements, 4.0, torch.float64)
    labels = torch.cat([frame.labels["efg"] for frame in frames])
    fits = fit_linear(model, frames, [str(k // 2) for k in range(len(frames))], seed=0)
    model.silence_network()
    fitted = torch.cat([model(frame.pairs.neighbourhoods) for frame in frames]).detach()
    residual = torch.cat([frame.labels["efg"] for frame in frames]) - fitted
    species = torch.cat([frame.pairs.neighbourhoods.species for frame in frames])
    for s, element in enumerate(model.elements):
        chosen = species == s
        error = float((residual[chosen].square().mean() / labels[chosen].square().mean()).sqrt())
        assert error == pytest.approx(fits[element].error, rel=1e-3)
        assert error > float(((labels - fitted)[chosen].square().mean() / labels[chosen].square().mean()).sqrt())


def test_one_run_is_refused(frames_file):
    model = EFGModel(("Ne", "Ar"), cutoff=4.0, n_radial=4, lmax=2, channels=0).double()
    frames = prepare(load([frames_file], "efg"), "efg", model.elements, 4.0, torch.float64)
    with pytest.raises(DataError, match="Ne has tensors in one run of the training frames only"):
        fit_linear(model, frames, ["a"] * len(frames), seed=0)


def test_a_model_needs_a_part():
    with pytest.raises(ModelFileError, match="a linear part or channels"):
        EFGModel(("Ne",), channels=0, linear=False)


def retag(path, prefix="other"):
    """Give the runs of a file names that no other file has."""
    frames = read(path, ":")
    for atoms in frames:
        atoms.info["tag"] = f"{prefix}-{atoms.info['tag']}"
    write(path, frames, format="extxyz")


def test_a_refit_learns_from_the_validation_frames_after_they_have_judged(tmp_path, frames_file):
    data = load([frames_file], "efg")
    write_frames(tmp_path / "judge.xyz", runs=3, per_run=2, seed=5)
    retag(tmp_path / "judge.xyz")
    settings = {"kind": "efg", "model": {**LINEAR, "n_radial": 4, "committee": 4}, "dtype": "float64"}
    judge = tmp_path / "judge.xyz"
    models = {}
    for name, learn, validate, refit in (
        ("plain", [frames_file], judge, False),
        ("refit", [frames_file], judge, True),
        ("both", [frames_file, judge], None, False),
    ):
        if validate is None:
            write_frames(validate := tmp_path / "other.xyz", runs=3, per_run=2, seed=6)
        files = TrainingFiles(learn, [validate], [], tmp_path / f"{name}.safetensors")
        train(TrainingConfig(**settings, refit=refit), files)
        models[name] = load_model(files.output, dtype="float64"), read_metadata(files.output)["training"]
    (plain, judged), (refit, record), (_, _) = models.values()
    tensors = {}
    for name, (model, _) in models.items():
        frames = prepare(data, "efg", model.elements, model.cutoff, torch.float64)
        tensors[name] = torch.cat([model(frame.pairs.neighbourhoods).detach() for frame in frames])
    sigma = tensors["both"].square().mean().sqrt()
    assert (tensors["refit"] - tensors["both"]).abs().max() < 1e-6 * sigma
    assert (tensors["refit"] - tensors["plain"]).abs().max() > 1e-3 * sigma
    assert not torch.isclose(refit.spread_scales, plain.spread_scales, rtol=1e-3).any()
    scales = dict(zip(refit.elements, refit.spread_scales.tolist(), strict=True))
    assert scales == {element: fit["spread_scale"] for element, fit in record["linear_fit"].items()}
    assert record["accuracy"] == {"validation_before_refit": judged["accuracy"]["validation"]}
    assert record["frames"] == {"training": 26, "validation": 6}
    assert [file["name"] for file in record["data"]] == ["frames.xyz", "judge.xyz"]
    assert record["linear_fit"] != judged["linear_fit"]


def test_after_a_refit_errors_are_those_expected(tmp_path):
    """On frames of other runs, which neither the fit nor the calibration has seen."""
    parts = {"learn": (24, 1), "judge": (6, 2), "new": (24, 3)}
    for name, (runs, seed) in parts.items():
        write_frames(tmp_path / f"{name}.xyz", runs=runs, per_run=2, seed=seed)
        retag(tmp_path / f"{name}.xyz", name)
    learn, judge, new = (tmp_path / f"{name}.xyz" for name in parts)
    files = TrainingFiles([learn], [judge], [new], tmp_path / "efg.safetensors")
    settings = {"kind": "efg", "model": {**LINEAR, "n_radial": 4, "committee": 16}, "dtype": "float64"}
    train(TrainingConfig(**settings, refit=True), files)
    model = load_model(files.output, dtype="float64")
    for element, row in read_metadata(files.output)["training"]["accuracy"]["test"]["elements"].items():
        assert 0.7 < row["expected_rmse_au"] / row["rmse_au"] < 1.4
        limit = float(model.spread_limits[model.elements.index(element)])
        assert 1.0 < limit / row["expected_rmse_au"] < 5.0


def test_an_element_of_training_frames_alone_is_calibrated_by_a_refit(tmp_path, frames_file):
    write_frames(judge := tmp_path / "judge.xyz", runs=3, per_run=2, seed=5)
    frames = read(judge, ":")
    for atoms in frames:
        atoms.new_array("efg_known", atoms.numbers != 18)
    write(judge, frames, format="extxyz")
    files = TrainingFiles([frames_file], [judge], [], tmp_path / "efg.safetensors")
    model = {**LINEAR, "n_radial": 4, "committee": 4}
    train(TrainingConfig(kind="efg", model=model, refit=True), files)
    model = load_model(files.output)
    assert torch.isfinite(model.spread_limits).all() and (model.spread_scales != 1).all()
    log = files.folder.joinpath("training.log").read_text()
    assert "no validation frame has tensors of Ar: its errors are not known\n" in log


def test_a_run_in_both_files_is_left_out_of_a_refit_as_one(tmp_path, frames_file):
    """Its frames in one file tell too much about those in the other."""
    frames = read(frames_file, ":")
    for name, part in (("even", frames[::2]), ("odd", frames[1::2])):
        write(tmp_path / f"{name}.xyz", part, format="extxyz")
    files = TrainingFiles([tmp_path / "even.xyz"], [tmp_path / "odd.xyz"], [], tmp_path / "efg.safetensors")
    train(TrainingConfig(kind="efg", model={**LINEAR, "n_radial": 4}, dtype="float64", refit=True), files)
    found = read_metadata(files.output)["training"]["linear_fit"]
    write_frames(other := tmp_path / "other.xyz", runs=3, per_run=2, seed=6)
    whole = TrainingFiles([frames_file], [other], [], tmp_path / "whole.safetensors")
    train(TrainingConfig(kind="efg", model={**LINEAR, "n_radial": 4}, dtype="float64"), whole)
    for element, fit in read_metadata(whole.output)["training"]["linear_fit"].items():
        assert fit["error"] == pytest.approx(found[element]["error"], rel=1e-2)


def test_a_refit_learns_nothing_from_test_frames(tmp_path, frames_file):
    write_frames(judge := tmp_path / "judge.xyz", runs=3, per_run=2, seed=5)
    files = TrainingFiles([frames_file], [judge], [judge], tmp_path / "efg.safetensors")
    with pytest.raises(DataError, match="is the same structure as"):
        train(TrainingConfig(kind="efg", model={**LINEAR, "n_radial": 4}, refit=True), files)


@pytest.mark.parametrize(
    "settings",
    [{"kind": "efg", "model": {"channels": 8}}, {"kind": "efg", "model": {"linear": False}}, {"kind": "energy"}],
)
def test_only_a_linear_model_can_be_solved_again(tmp_path, frames_file, settings):
    frames = read(frames_file, ":")
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
    write(data := tmp_path / "frames.xyz", frames, format="extxyz")
    with pytest.raises(ConfigError, match="refit: only a linear EFG model"):
        train(TrainingConfig(**settings, refit=True), TrainingFiles([data], [], [], tmp_path / "model.safetensors"))


def test_a_linear_model_that_another_started_from_can_be_solved_again(tmp_path, frames_file):
    first, second = (TrainingFiles([frames_file], [], [], tmp_path / f"{name}.safetensors") for name in ("a", "b"))
    train(TrainingConfig(kind="efg", model={**LINEAR, "n_radial": 4}), first)
    train(TrainingConfig(kind="efg", initialise=first.output, refit=True), second)
    assert "validation_before_refit" in read_metadata(second.output)["training"]["accuracy"]


def test_a_refit_needs_training_frames_of_all_elements(tmp_path, frames_file):
    write_frames(judge := tmp_path / "judge.xyz", runs=3, per_run=2, seed=5)
    frames = read(judge, ":")
    for atoms in frames:
        atoms.symbols[0] = "Xe"
    write(judge, frames, format="extxyz")
    settings = {"kind": "efg", "model": {**LINEAR, "n_radial": 4}, "refit": True}
    elements = (*sorted(set(read(frames_file).get_chemical_symbols())), "Xe")
    with pytest.raises(DataError, match="validation frames hold tensors of Xe, which no training frame does"):
        train(
            TrainingConfig(**settings, elements=elements),
            TrainingFiles([frames_file], [judge], [], tmp_path / "efg.safetensors"),
        )


def test_messages_without_bonds_and_sites_without_tensors_are_fitted(tmp_path, frames_file):
    frames = read(frames_file, ":")
    for atoms in frames:
        atoms.arrays["efg"][atoms.numbers == 18] = 0.0
    write(data := tmp_path / "frames.xyz", frames, format="extxyz")
    files = TrainingFiles([data], [], [], tmp_path / "efg.safetensors")
    # No two atoms are closer than 2 angstrom.
    model = {**LINEAR, "n_radial": 4, "message_cutoff": 1.5, "committee": 3}
    train(TrainingConfig(kind="efg", model=model, refit=True), files)
    fits = read_metadata(files.output)["training"]["linear_fit"]
    assert fits["Ar"]["error"] == 0.0 and 0 < fits["Ne"]["error"] < 1
    assert fits["Ar"]["spread_scale"] is None and fits["Ne"]["spread_scale"] > 0
    model = load_model(files.output, dtype="float64")
    frame = prepare(load([data], "efg"), "efg", model.elements, model.cutoff, torch.float64)[0]
    tensors = model(frame.pairs.neighbourhoods)
    assert torch.isfinite(tensors).all() and tensors[torch.from_numpy(frames[0].numbers == 18)].abs().max() < 1e-6


def test_a_linear_model_replaces_no_other_without_being_told(tmp_path, frames_file):
    files = TrainingFiles([frames_file], [], [], tmp_path / "efg.safetensors")
    train(TrainingConfig(kind="efg", model={"cutoff": 4.0, "channels": 2, "linear": False}, epochs=1), files)
    before = files.output.read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        train(TrainingConfig(kind="efg", model={**LINEAR, "n_radial": 4}), files)
    assert files.output.read_bytes() == before
    assert TrainingFiles([], [], [], tmp_path / "m-0.5").folder != TrainingFiles([], [], [], tmp_path / "m-0.7").folder


def test_committee_flags_an_atom_far_outside_the_data(tmp_path, frames_file):
    files = TrainingFiles([frames_file], [], [], tmp_path / "efg.safetensors")
    settings = {**LINEAR, "n_radial": 4, "committee": 8}
    train(TrainingConfig(kind="efg", model=settings, validation_fraction=0.3), files)
    model = load_model(files.output, dtype="float64")
    assert torch.isfinite(model.spread_limits).all()
    calculator = EFGCalculator(files.output, dtype="float64")
    grades = []
    for frame in load([frames_file], "efg").frames:
        calculator.get_property("efg", frame)
        grades.append(calculator.results["efg_extrapolation"])
    assert np.median(np.concatenate(grades)) < 1 < 2 * np.concatenate(grades).max() < 4
    far = frame.copy()
    # No two atoms of the data are closer than 2 angstrom: 0.9 is far outside.
    far.positions[1] = far.positions[0] + [0.9, 0, 0]
    tensors = calculator.get_property("efg", far)
    flagged = calculator.results["efg_extrapolation"]
    assert flagged[:2].min() > 5
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = far.copy()
    turned.set_cell(far.cell.array @ quarter.T)
    turned.positions = far.positions @ quarter.T
    np.testing.assert_allclose(calculator.get_property("efg", turned), rotate(tensors, quarter), atol=1e-9)
    np.testing.assert_allclose(calculator.results["efg_extrapolation"], flagged, rtol=1e-6)
