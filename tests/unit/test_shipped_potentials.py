"""The potentials of CH3NH3PbI3 that come with the package are as accurate as their files and their card say."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read

from efgmd.calculators import EFGCalculator, EnergyCalculator
from efgmd.frames.labels import known_atoms
from efgmd.frames.neighbours import batch_of
from efgmd.models.io import load_model, read_metadata

FOLDER = Path(__file__).parents[2] / "potentials" / "mapbi3"
LABELS = {
    "Pb_I": ["GPAW 22.8.0 PBE 12 Ha", "1,1,4/2,-2,2/0,0,12:shifted"],
    "N_C_H": ["GPAW 22.8.0 PBE 30 Ha", "1,1,10/1,-1,12/0,0,8:shifted"],
}


@pytest.mark.parametrize(
    ("model", "labels", "results"),
    [
        ("energy.safetensors", "held_out.xyz.gz", "results.json"),
        ("energy-d3.safetensors", "held_out_d3.xyz.gz", "results_d3.json"),
    ],
)
def test_forces_on_held_out_frames(model, labels, results):
    """Against the teacher, without and with D3, on frames of 384 atoms, two of each temperature."""
    frames = read(FOLDER / "validation" / labels, ":")
    recorded = json.loads((FOLDER / "validation" / results).read_text())
    calculator = EnergyCalculator(FOLDER / model)
    assert hashlib.sha256((FOLDER / model).read_bytes()).hexdigest() == recorded["model_sha256"]
    errors = {}
    for frame in frames:
        temperature = frame.info["tag"].removeprefix("heldout-").removesuffix("K")
        calculator.calculate(frame, ["energy", "forces", "stress"])
        assert abs(calculator.results["energy"] - frame.get_potential_energy()) / len(frame) < 1.5e-3
        assert np.abs(calculator.results["stress"] - frame.get_stress()).max() < 0.06 / 160.2  # GPa in eV/A^3
        errors.setdefault(f"{temperature} K", []).append(calculator.results["forces"] - frame.get_forces())
    assert list(errors) == list(recorded["runs"])
    for run, found in errors.items():
        rmse = 1000 * np.sqrt(np.mean(np.square(found)))
        assert rmse < 60.0
        told = recorded["runs"][run]["errors_against_teacher"]["forces_rmse_meV_per_A"]
        assert rmse == pytest.approx(told, rel=0.12)


def test_tensors_of_test_frames():
    """Against PBE, on the frames kept for testing; the numbers in the model file and in the card are these."""
    frames = read(FOLDER / "data" / "efg_test.xyz.gz", ":")
    recorded = read_metadata(FOLDER / "efg.safetensors")["training"]["accuracy"]["test"]["elements"]
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    calculator = EFGCalculator(FOLDER / "efg.safetensors")
    predicted = np.concatenate([calculator.get_property("efg", frame) for frame in frames])
    reference = np.concatenate([frame.arrays["efg"].reshape(-1, 3, 3) for frame in frames])
    symbols = np.concatenate([frame.symbols for frame in frames])
    for element, numbers in recorded.items():
        mine = symbols == element
        rmse = np.sqrt(np.mean((predicted[mine] - reference[mine]) ** 2))
        assert rmse == pytest.approx(numbers["rmse_au"], rel=0.01)
        assert f"| {element} | {mine.sum()} | {numbers['rmse_au']:.4f} |" in card


@pytest.mark.parametrize(("name", "least", "most"), [("test", 0.85, 1.15), ("warm", 0.65, 1.15)])
def test_expected_errors_of_frames_that_were_kept(name, least, most):
    """The committee was calibrated on other frames: its errors here are expected as large as they are, or nearly so on
    frames of warm runs. Of the latter the card tells the errors."""
    frames = read(FOLDER / "data" / f"efg_{name}.xyz.gz", ":")
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    calculator = EFGCalculator(FOLDER / "efg.safetensors")
    found, expected, reference = [], [], []
    for frame in frames:
        reference.append(frame.arrays["efg"].reshape(-1, 3, 3))
        found.append(np.mean((calculator.get_property("efg", frame) - reference[-1]) ** 2, axis=(1, 2)))
        expected.append(calculator.results["efg_uncertainty"] ** 2)
    symbols = np.concatenate([frame.symbols for frame in frames])
    known = np.concatenate([known_atoms(frame) for frame in frames])
    for element in ("Pb", "I", "C", "N", "H"):
        mine = (symbols == element) & known
        error, told = (np.sqrt(np.mean(np.concatenate(part)[mine])) for part in (found, expected))
        assert least < told / error < most
        if name == "warm":
            sigma = np.sqrt(np.mean(np.concatenate(reference)[mine] ** 2))
            assert f"| {element} | {mine.sum()} | {error:.4f} | {told:.4f} | {100 * error / sigma:.1f} % |" in card


def test_tensors_in_cubic_crystals_vanish():
    """Of each element, at the sites of a crystal of the CsCl type."""
    calculator = EFGCalculator(FOLDER / "efg.safetensors", dtype="float64")
    for pair in ("PbI", "NI", "CH"):
        crystal = bulk(pair, "cesiumchloride", a=4.2)
        shaken = crystal.copy()
        shaken.positions[0, 0] += 0.1
        assert np.abs(calculator.get_property("efg", crystal)).max() < 1e-10
        assert np.abs(calculator.get_property("efg", shaken)).max() > 1e-5


@pytest.mark.parametrize("centre", ["Pb", "I", "C", "N", "H"])
def test_no_tensor_jumps_or_kinks_at_a_cutoff(centre):
    """Where a neighbour, or a neighbour's neighbour, comes into sight: of densities, messages and their products."""
    model = load_model(FOLDER / "efg.safetensors", dtype="float64")
    number, step = model.elements.index(centre), 1e-4
    own, sent = model.backbone.basis.cutoffs[number], model.surroundings.basis.cutoffs[0]
    for other in model.elements:
        heard = float(model.message_cutoffs[number, model.elements.index(other)])
        for fixed, far in ([], own), ([-3.0], own), ([-3.0], heard), ([3.0], 3.0 + sent):
            if far == 0:
                continue  # no messages
            values = []
            for moved in (-step, 0.0, step):
                places = [[0, 0, 0], *([x, 0.3, 0] for x in fixed), [far + moved, 0, 0]]
                atoms = Atoms([centre, *(["Pb"] * len(fixed)), other], places)
                nb = batch_of(atoms, model.cutoff, model.elements, model.dtype).neighbourhoods
                values.append(model(nb)[0] / model.scales[number])
            before, at, after = values
            assert (before - 2 * at + after).abs().max() < 1e-3 * step


@pytest.mark.parametrize("name", ["energy.safetensors", "efg.safetensors"])
def test_threads_share_a_model(name):
    """One model, evaluated by three threads at once, gives each what it gives alone."""
    model = load_model(FOLDER / name)
    frames = read(FOLDER / "data" / "efg_test.xyz.gz", ":")[-6:]
    batches = [batch_of(frame, model.cutoff, model.elements).neighbourhoods for frame in frames]

    def evaluate(number):
        nb = batches[number % len(batches)]
        with torch.no_grad():
            return model(nb._replace(vectors=nb.vectors.float()))

    alone = [evaluate(number) for number in range(len(batches))]
    with ThreadPoolExecutor(3) as pool:
        for number, found in enumerate(pool.map(evaluate, range(60))):
            assert torch.equal(found, alone[number % len(batches)])


def test_labels_of_an_element_are_of_one_kind():
    """Tensors of one element from two cutoffs or two sets of k-points would differ by more than the model errs."""
    for name in ("train", "validation", "test", "warm"):
        for frame in read(FOLDER / "data" / f"efg_{name}.xyz.gz", ":"):
            known, efg = known_atoms(frame), frame.arrays["efg"]
            assert np.isfinite(efg[known]).all()
            for elements, settings in LABELS.items():
                mine = known[np.isin(frame.get_chemical_symbols(), elements.split("_"))]
                assert mine.all() or (not mine.any() and name in ("train", "warm") and elements == "N_C_H")
                if mine.all():
                    assert settings == [frame.info[f"efg_{key}_of_{elements}"] for key in ("method", "kpoints")]
