"""Training: learning, learning rate, resume after a kill, checkpoints of other runs."""

import csv

import numpy as np
import pytest
import torch
from ase.io import read
from toy_data import TINY, write_frames

from efgmd.calculators import EFGCalculator, EnergyCalculator
from efgmd.errors import ConfigError, DataError
from efgmd.models.io import load_model, read_metadata
from efgmd.training.config import TrainingConfig
from efgmd.training.dataset import load
from efgmd.training.evaluation import evaluate
from efgmd.training.loop import Trainer, rate_at
from efgmd.training.session import TrainingFiles, train


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "frames.xyz"
    write_frames(path, runs=8, per_run=2)
    return path


def settings(kind, **changes):
    return TrainingConfig(**{"kind": kind, "model": TINY, "epochs": 6, "validation_fraction": 0.25, **changes})


def history(folder):
    with (folder / "history.csv").open() as stream:
        return [{name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(stream)]


def test_learning_rate_rises_falls_and_ends_at_its_final_share():
    rates = [rate_at(progress, 0.1, 0.01) for progress in np.linspace(0, 1, 101)]
    assert rates[0] > 0
    assert rates[10] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.01)
    assert np.argmax(rates) == 10
    assert (np.diff(rates[10:]) < 0).all()


@pytest.mark.parametrize("kind", ["energy", "efg"])
def test_a_run_that_is_killed_and_resumed_has_the_same_history_and_model(tmp_path, data, monkeypatch, kind):
    whole = TrainingFiles([data], [], [], tmp_path / "whole.safetensors")
    train(settings(kind), whole)
    broken = TrainingFiles([data], [], [], tmp_path / "broken.safetensors")
    # Stop twice: right after an epoch, and in the middle of one whose steps are then done again.
    for method, calls in (("_close_epoch", 3), ("_average", 5)):
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, method, interrupted(getattr(Trainer, method), calls))
            with pytest.raises(KeyboardInterrupt):
                train(settings(kind), broken)
        assert not broken.output.exists()
    train(settings(kind), broken)
    assert history(broken.folder) == history(whole.folder)
    assert len(history(whole.folder)) == 6
    a, b = (load_model(files.output).state_dict() for files in (whole, broken))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert "resumed after epoch" in (broken.folder / "training.log").read_text()


def interrupted(method, calls):
    """Method that raises KeyboardInterrupt instead of running for the given time."""
    count = 0

    def run(self, *args):
        nonlocal count
        count += 1
        if count == calls:
            raise KeyboardInterrupt
        return method(self, *args)

    return run


def test_a_checkpoint_of_other_inputs_is_refused(tmp_path, data):
    files = TrainingFiles([data], [], [], tmp_path / "m.safetensors")
    train(settings("efg", epochs=1), files)
    with pytest.raises(DataError, match=r"checkpoint.pt: belongs to a run with other settings\.seed \(was 0, now 1\)"):
        train(settings("efg", epochs=1, seed=1), files)
    files.checkpoint.write_bytes(b"torn")
    with pytest.raises(DataError, match="not a readable checkpoint; say --restart"):
        train(settings("efg", epochs=1), files)
    files.checkpoint.unlink()
    with pytest.raises(ConfigError, match=r"m\.safetensors: exists already"):
        train(settings("efg", epochs=1), files)
    train(settings("efg", epochs=2, seed=1), files, restart=True)
    assert read_metadata(files.output)["training"]["seed"] == 1


def test_frames_for_test_and_validation_must_not_be_in_the_training_data(tmp_path, data):
    (tmp_path / "copy.xyz").write_bytes(data.read_bytes())
    for validation, test in (([], [tmp_path / "copy.xyz"]), ([tmp_path / "copy.xyz"], [])):
        with pytest.raises(DataError, match=r"copy\.xyz, frame 0: is the same structure as .*cannot judge the model"):
            train(settings("efg"), TrainingFiles([data], validation, test, tmp_path / "m.safetensors"))
    write_frames(tmp_path / "both.xyz", runs=1, per_run=3, seed=5)
    with pytest.raises(DataError, match=r"both\.xyz, frame 0: is the same structure as"):
        both = [tmp_path / "both.xyz"]
        train(settings("efg"), TrainingFiles([data], both, both, tmp_path / "m.safetensors"))


def test_own_validation_and_test_files_are_used_and_reported(tmp_path, data):
    write_frames(tmp_path / "validation.xyz", runs=1, per_run=3, seed=5)
    write_frames(tmp_path / "test.xyz", runs=2, per_run=2, seed=6)
    files = TrainingFiles([data], [tmp_path / "validation.xyz"], [tmp_path / "test.xyz"], tmp_path / "m.safetensors")
    train(settings("energy", epochs=1), files)
    record = read_metadata(files.output)["training"]
    assert record["frames"] == {"training": 16, "validation": 3}
    assert record["accuracy"]["test"]["frames"] == 4
    assert (files.folder / "parity_test.png").exists()


def test_training_learns_and_records_the_accuracy_that_evaluate_finds(tmp_path, data):
    files = TrainingFiles([data], [], [], tmp_path / "efg.safetensors")
    train(settings("efg", epochs=60, batch_size=2), files)
    rows = history(files.folder)
    assert float(rows[-1]["training_loss"]) < 0.2 * float(rows[0]["training_loss"])
    record = read_metadata(files.output)["training"]
    assert record["frames"] == {"training": 12, "validation": 4}
    assert record["data_sha256"] == load([data], "efg").sha256
    accuracy = record["accuracy"]["validation"]["elements"]["Ar"]
    assert accuracy["rmse_per_sigma"] < 0.5
    best = min(rows, key=lambda row: float(row["validation_score"]))
    assert int(best["epoch"]) == record["best_epoch"]
    # The history's ratio has sigma of the training frames, the accuracy's that of the frames compared.
    ratio = float(best["Ar_rmse_per_sigma"]) * record["sigma_au"]["Ar"] / accuracy["sigma_au"]
    assert accuracy["rmse_per_sigma"] == pytest.approx(ratio, rel=1e-3)
    for name in ("curve.png", "parity_validation.png", "parity_validation.svg"):
        assert (files.folder / name).stat().st_size > 1000


def test_the_time_budget_ends_training_with_the_learning_rate_run_down(tmp_path, data):
    files = TrainingFiles([data], [], [], tmp_path / "m.safetensors")
    train(settings("efg", epochs=100000, minutes=0.02), files)
    rows = history(files.folder)
    assert 1 <= len(rows) < 1000
    assert float(rows[-1]["learning_rate"]) < 0.2 * 5e-3
    assert "minutes are over" in (files.folder / "training.log").read_text()
    train(settings("efg", epochs=100000, minutes=0.03), files)
    assert len(history(files.folder)) > len(rows)


def test_patience_ends_training(tmp_path, data):
    files = TrainingFiles([data], [], [], tmp_path / "m.safetensors")
    train(settings("efg", epochs=300, patience=1, learning_rate=0.1, ema=0.0), files)
    assert len(history(files.folder)) < 300
    assert "no improvement in 1 epochs" in (files.folder / "training.log").read_text()


def test_a_model_can_start_from_another_of_the_same_or_the_other_kind(tmp_path, data):
    energy = TrainingFiles([data], [], [], tmp_path / "energy.safetensors")
    train(settings("energy", epochs=20), energy)
    calculator = EnergyCalculator(energy.output)
    grades = np.concatenate([calculator.get_property("extrapolation", atoms) for atoms in read(data, ":")])
    assert 0.95 < (grades < 1).mean() < 1  # of known atoms; the two elements have a farthest one each
    again = TrainingFiles([data], [], [], tmp_path / "again.safetensors")
    train(settings("energy", epochs=1, model={}, learning_rate=1e-9, initialise=energy.output), again)
    for name, files in (("energy", again),):
        old, new = (read_metadata(f.output)["training"]["accuracy"]["validation"] for f in (energy, files))
        assert new["forces_rmse_meV_per_A"] == pytest.approx(old["forces_rmse_meV_per_A"], rel=1e-4), name
        assert new["energy_rmse_meV_per_atom"] < 1.5 * old["energy_rmse_meV_per_atom"]
    efg = TrainingFiles([data], [], [], tmp_path / "efg.safetensors")
    train(settings("efg", epochs=1, model={}, learning_rate=1e-9, initialise=energy.output), efg)
    a, b = (load_model(files.output).state_dict() for files in (energy, efg))
    assert torch.allclose(a["backbone.networks.1.mix.0"], b["backbone.networks.1.mix.0"], atol=1e-6)
    farther = settings("efg", model={"cutoff": 5.5}, initialise=energy.output)
    with pytest.raises(ConfigError, match=r"energy\.safetensors sees .* A far .* the new one 5\.5 A"):
        train(farther, TrainingFiles([data], [], [], tmp_path / "far.safetensors"))
    log = (efg.folder / "training.log").read_text()
    assert "tensors copied" in log
    assert "new (in " in log


def test_a_committee_is_calibrated_on_the_validation_frames(tmp_path, data):
    other = tmp_path / "other.xyz"
    write_frames(other, runs=4, per_run=3, seed=9)
    files = TrainingFiles([data], [], [other], tmp_path / "efg.safetensors")
    train(settings("efg", epochs=12, model={**TINY, "committee": 4}), files)
    accuracy = read_metadata(files.output)["training"]["accuracy"]
    for element in ("Ne", "Ar"):
        seen, unseen = (accuracy[part]["elements"][element] for part in ("validation", "test"))
        assert seen["expected_rmse_au"] == pytest.approx(seen["rmse_au"], rel=1e-4)
        assert 0.3 < unseen["expected_rmse_au"] / unseen["rmse_au"] < 3.0
        assert unseen["error_within_expected"] < unseen["error_within_twice_expected"]
        bins = unseen["calibration"]
        assert sum(b["tensors"] for b in bins) == unseen["tensors"]
        assert np.all(np.diff([b["expected_rmse_au"] for b in bins]) > 0)
        assert np.average([b["rmse_au"] ** 2 for b in bins], weights=[b["tensors"] for b in bins]) == pytest.approx(
            unseen["rmse_au"] ** 2
        )
    calculator = EFGCalculator(files.output)
    frame = load([other], "efg").frames[0]
    spread = calculator.get_property("efg_uncertainty", frame)
    assert spread.shape == (len(frame),) and (spread > 0).all()


def test_calculators_agree_with_the_evaluation(tmp_path, data):
    files = TrainingFiles([data], [], [], tmp_path / "energy.safetensors")
    train(settings("energy", epochs=3), files)
    frames = load([data], "energy")
    result = evaluate(load_model(files.output, dtype="float64"), frames)
    errors = []
    for atoms in frames.frames:
        copy = atoms.copy()
        copy.calc = EnergyCalculator(files.output, dtype="float64")
        errors.append((copy.get_potential_energy() - atoms.calc.results["energy"]) / len(atoms))
        assert copy.get_potential_energies().sum() == pytest.approx(copy.get_potential_energy())
    assert result.numbers["energy_rmse_meV_per_atom"] == pytest.approx(1e3 * np.sqrt(np.mean(np.square(errors))))
    forces = np.concatenate([copy.get_forces() for copy in [copy]])
    np.testing.assert_allclose(result.comparisons[1].predicted[-forces.size :], forces.ravel(), atol=1e-10)
    copy.pbc = False
    copy.get_potential_energy()
    assert "stress" not in copy.calc.results
    with pytest.raises(Exception, match="efg model is needed"):
        EFGCalculator(files.output)


def test_huge_reference_energies_cost_no_accuracy(tmp_path):
    from ase.io import write

    frames = write_frames(tmp_path / "f.xyz", runs=8)
    for atoms in frames:
        counts = [atoms.get_chemical_symbols().count(element) for element in ("Ne", "Ar")]
        atoms.calc.results["energy"] += float(np.dot(counts, [-123456.789, -325000.14]))
    write(tmp_path / "huge.xyz", frames, format="extxyz")
    rmse = []
    for name in ("f", "huge"):
        files = TrainingFiles([tmp_path / f"{name}.xyz"], [], [], tmp_path / f"{name}.safetensors")
        train(settings("energy", epochs=3), files)
        numbers = read_metadata(files.output)["training"]["accuracy"]["validation"]
        rmse.append(numbers["energy_rmse_meV_per_atom"])
    assert rmse[1] == pytest.approx(rmse[0], rel=1e-3)
