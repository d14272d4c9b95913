"""Symmetry of simulated CH3NH3PbI3: what I4/mcm and Pm-3m demand, in runs with the shipped force field.

The runs are those of ``symmetry.yaml`` and ``symmetry_large.yaml`` in ``potentials/mapbi3/validation``, with their
results beside them. Sites and space groups were found by the analysis, from the mean positions of Pb and I alone. All
runs start from one tilted cell.
Facts: R. E. Wasylishen, O. Knop, J. B. Macdonald, Solid State Commun. 56, 581 (1985); site symmetries from the
International Tables (I4/mcm: 4a is 422, 8h is m.mm; Pm-3m: 3d is 4/mm.m).
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from efgmd.tensors import six_to_matrix

FOLDER = Path(__file__).parents[2] / "potentials" / "mapbi3" / "validation"
RESULTS = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in ("symmetry", "symmetry_large")}
ENTRIES = [{**entry, "of": name} for name, found in RESULTS.items() for entry in found["temperatures"]]
# A run in which the long axis moves is no single crystal, and its averages need not have the symmetry of one.
STAYED = [entry for entry in ENTRIES if set(entry["lattice"]["unique_axes"]) == {"c"}]
TETRAGONAL = [entry for entry in STAYED if entry["symmetry"]["space_group"] == "I4/mcm (140)"]
CUBIC = [entry for entry in ENTRIES if entry["symmetry"]["space_group"] == "Pm-3m (221)"]


def named(entry):
    """Name of a test."""
    return f"{entry['of']}-{entry['temperature_K']:.0f}K"


def site(entry, nucleus, label=None):
    """The one row of a nucleus, or of its site ``label``."""
    (row,) = [row for row in entry["sites"] if row["nucleus"] == nucleus and label in (None, row["site"])]
    return row


def axis(row):
    """Unique axis of the mean tensor of the first atom of the site."""
    values, vectors = np.linalg.eigh(six_to_matrix(np.array(row["tensor_au"])))
    return np.abs(vectors[:, np.argmax(np.abs(values))])


@pytest.mark.parametrize("name", RESULTS)
def test_the_runs_are_of_the_shipped_models(name):
    for model, told in RESULTS[name]["models_sha256"].items():
        assert hashlib.sha256((FOLDER.parent / f"{model}.safetensors").read_bytes()).hexdigest() == told


def test_both_phases_are_there():
    assert TETRAGONAL and CUBIC
    assert max(entry["temperature_K"] for entry in TETRAGONAL) < min(entry["temperature_K"] for entry in CUBIC)


@pytest.mark.parametrize("entry", TETRAGONAL, ids=named)
class TestTetragonal:
    def test_iodine_has_two_sites_one_to_two(self, entry):
        assert 2 * site(entry, "127I", "4a")["count"] == site(entry, "127I", "8h")["count"]
        assert sum(row["nucleus"] == "127I" for row in entry["sites"]) == 2

    def test_iodine_along_c_is_axial(self, entry):
        row = site(entry, "127I", "4a")
        assert row["symmetrised"]["free_components"] == 1 and row["symmetrised"]["forbidden_is_noise"]
        assert row["eta_interval95"][0] == 0.0
        assert axis(row)[2] > 0.999

    def test_iodine_in_the_plane_is_not_axial(self, entry):
        row = site(entry, "127I", "8h")
        assert row["eta_interval95"][0] > 0.0
        assert axis(row)[2] < 0.02

    def test_nitrogen_has_one_site(self, entry):
        row = site(entry, "14N")
        assert row["count"] == RESULTS[entry["of"]]["n_atoms"] // 12
        assert row["symmetrised"]["free_components"] == 1

    def test_c_is_longer_than_a(self, entry):
        cell = entry["lattice"]["pseudocubic"]
        difference = cell["c"]["mean"] - (cell["a"]["mean"] + cell["b"]["mean"]) / 2
        assert difference > 5 * np.sqrt(sum(cell[name]["error"] ** 2 for name in "abc"))


@pytest.mark.parametrize("entry", CUBIC, ids=named)
class TestCubic:
    def test_iodine_has_one_axial_site(self, entry):
        row = site(entry, "127I")
        assert row["count"] == RESULTS[entry["of"]]["n_atoms"] // 4
        assert row["symmetrised"]["free_components"] == 1

    def test_nothing_is_left_at_the_cation(self, entry):
        for row in entry["sites"]:
            if row["nucleus"] in ("14N", "2H"):
                assert row["symmetrised"]["free_components"] == 0
                assert row["compatible_with_zero"]
