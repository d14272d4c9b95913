"""Stores with known tensors, through the analysis, to the table, results.json and the report."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from crystals import perovskite, point_charge_tensors
from rich.console import Console
from test_sampling import SPEC

from efgmd.analysis.results import analyze_campaign, read_results
from efgmd.analysis.table import print_table, with_error
from efgmd.errors import StoreError
from efgmd.nuclei import nucleus
from efgmd.report.page import write_report
from efgmd.store import StoreWriter
from efgmd.tensors import asymmetry, l2_to_cartesian, matrix_to_six, principal_values

SAMPLES, SUPERCELL, NOISE = 120, (1, 1, 2), 0.4
TEMPERATURES = (250.0, 400.0)


def truth(temperature):
    """Structure and tensors of each temperature: I4/mcm below, Pm-3m above."""
    atoms = perovskite(10.0, 1.02) if temperature < 330 else perovskite(0.0)
    return atoms, 300 * point_charge_tensors(atoms)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """Folder of a campaign with noisy samples of the true tensors and positions, and its record."""
    folder = tmp_path_factory.mktemp("campaign")
    rng = np.random.default_rng(12)
    start = perovskite(10.0, 1.02).repeat(SUPERCELL)
    start.write(folder / "structure.extxyz")
    names = []
    for temperature in TEMPERATURES:
        atoms, tensors = truth(temperature)
        atoms, tensors = atoms.repeat(SUPERCELL), np.tile(tensors, (2, 1, 1))
        spec = replace(
            SPEC,
            temperature=temperature,
            symbols=atoms.get_chemical_symbols(),
            samples_per_block=1,
            n_samples=SAMPLES,
            equilibration_steps=0,
        )
        names.append(f"T{temperature:04.0f}K")
        (folder / names[-1]).mkdir()
        spec.write(folder / names[-1])
        write_store(folder / names[-1] / "efg.h5", spec, atoms, tensors, rng)
    record = {
        "campaign": {
            "nuclei": [{"name": "127I", "moment_mb": -688.0, "spin": None}],
            "sites": {"framework": None, "tolerance": 0.1},
            "structure": {"supercell": list(SUPERCELL)},
            "ensemble": {"kind": "npt", "pressure_control": "aniso", "pressure_bar": 0.0},
            "production_ps": 1.2,
            "equilibration_ps": 0.0,
            "timestep_fs": 0.5,
            "sampling_fs": 10.0,
        },
        "campaign_file": "toy.yaml",
        "campaign_sha256": "c" * 64,
        "structure_sha256": "s" * 64,
        "cells": [2, 2, 4],
        "n_atoms": len(start),
        "formula": "Pb16I48",
        "folders": names,
        "models": {kind: {"path": kind, "sha256": kind, "cutoff": 6.0, "training": {}} for kind in ("energy", "efg")},
        "nuclei": {"127I": {"spin": "5/2", "moment_mb": -688.0, "source": "user"}},
        "masses": {"Pb": 207.2, "I": 126.9},
        "notes": ["a note"],
    }
    return folder, record


def write_store(path, spec, atoms, tensors, rng):
    cell = np.array([*atoms.cell.lengths(), 0, 0, 0])
    with StoreWriter(path, identity=spec.identity, header={}, symbols=spec.symbols, n_samples=SAMPLES) as store:
        for row in range(SAMPLES):
            step = (row + 1) * spec.sampling_steps
            shaken = cell + np.array([*rng.normal(0, 0.05, 3), 0, 0, 0])
            noisy = matrix_to_six(tensors + l2_to_cartesian(NOISE * rng.normal(size=(len(atoms), 5))))
            scaled = atoms.get_scaled_positions(wrap=False) + rng.normal(0, 0.005, (len(atoms), 3))
            scalars = {"temperature": spec.temperature + rng.normal(0, 5), "pressure": 0.0, "potential_energy": -1.0}
            store.write_sample(row, step, {"cell": shaken, "volume": shaken[:3].prod(), **scalars})
            sizes = np.abs(principal_values(tensors)[:, 2])
            store.write_block(row, step, {"efg": noisy, "abs_vzz": sizes, "scaled": scaled, "cell": shaken})


@pytest.fixture(scope="module")
def results(campaign):
    return analyze_campaign(*campaign)


def test_couplings_are_those_put_in(results):
    iodine = nucleus("127I", moment_mb=-688)
    for entry, temperature, labels in zip(results["temperatures"], TEMPERATURES, (["8h", "4a"], ["3c"]), strict=True):
        atoms, tensors = truth(temperature)
        values = principal_values(tensors)
        assert sorted(site["site"][0] for site in entry["sites"]) == sorted(label[0] for label in labels)
        assert sum(site["count"] for site in entry["sites"]) == 2 * atoms.symbols.count("I")
        for site in entry["sites"]:
            exact = values[(site["atom_ids"][0] - 1) % len(atoms)]
            cq, eta = float(iodine.coupling_mhz(exact[2])), float(asymmetry(exact))
            assert abs(site["cq_MHz"] - cq) < 4 * site["cq_error_sampling_MHz"]
            assert site["cq_interval95_MHz"][0] - site["cq_error_sampling_MHz"] < cq
            assert site["eta_interval95"][0] - 0.02 <= eta <= site["eta_interval95"][1] + 0.02
            assert site["sign_known"] and not site["compatible_with_zero"]
            assert site["cq_error_model_MHz"] is None
            assert site["abs_cq_instant_MHz"] == pytest.approx(abs(cq), rel=1e-5)  # as stored, without noise
            # Averaging over n nuclei and t samples leaves noise / sqrt(n t), about its error.
            expected = abs(float(iodine.coupling_mhz(NOISE * np.sqrt(2 / 3) / np.sqrt(site["count"] * SAMPLES))))
            assert 0.5 * expected < site["cq_error_sampling_MHz"] < 2.5 * expected


def test_lattice_and_symmetry(results):
    cold, hot = results["temperatures"]
    assert [entry["symmetry"]["space_group"] for entry in (cold, hot)] == ["I4/mcm (140)", "Pm-3m (221)"]
    per_cell = cold["lattice"]["pseudocubic"]
    assert per_cell["a"]["mean"] == pytest.approx(6.28, abs=0.01)
    assert per_cell["c"]["mean"] == pytest.approx(6.28 * 1.02, abs=0.01)
    assert 0 < per_cell["c"]["error"] < 0.01
    assert cold["measured"]["temperature"]["mean"] == pytest.approx(250, abs=3)
    assert results["complete"] and cold["samples"] == SAMPLES


def test_running_mean_ends_at_the_result(results):
    for site in (site for entry in results["temperatures"] for site in entry["sites"]):
        assert site["running"]["abs_cq_MHz"][-1] == pytest.approx(abs(site["cq_MHz"]), rel=1e-6)
        assert site["running"]["time_ps"][-1] == pytest.approx(1.2)


def test_table_fits_a_narrow_terminal(results):
    console = Console(width=80, record=True, force_terminal=False, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        print_table(results, console)
        lines = console.export_text().splitlines()
    table = [line for line in lines if "│" in line]
    assert len(table) == 3 and all("127I" in line and "MHz" in line for line in table)
    assert any("sampling error" in line for line in lines)


def test_files_agree_and_the_report_names_its_origin(campaign, results):
    folder, _ = campaign
    assert read_results(folder) == json.loads(json.dumps(results))
    with open(folder / "results.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    sites = [site for entry in results["temperatures"] for site in entry["sites"]]
    assert [float(row["cq_MHz"]) for row in rows] == [site["cq_MHz"] for site in sites]
    page = write_report(folder).read_text()
    for text in ("c" * 64, "-688 mb (user)", "I4/mcm (140)", "a note", "SHA-256 efg"):
        assert text in page
    assert "Incomplete" not in page


def test_missing_temperatures_make_results_incomplete(campaign):
    folder, record = campaign
    partial = analyze_campaign(folder, record | {"folders": [*record["folders"], "T0500K"]})
    assert partial["complete"] is False and "T0500K" in partial["missing"][0]
    assert "Incomplete" in write_report(folder).read_text()
    with pytest.raises(StoreError, match=r"run\.json"):
        analyze_campaign(folder, record | {"folders": ["T0500K"]})
    analyze_campaign(folder, record)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-551.234, 1.26, "-551.2 ± 1.3"),
        (0.12345, 0.0034, "0.1235 ± 0.0034"),
        (551, 130, "551 ± 130"),
        (2.5, None, "2.5"),
    ],
)
def test_numbers_are_written_to_the_precision_of_their_error(value, error, text):
    assert with_error(value, error) == text
