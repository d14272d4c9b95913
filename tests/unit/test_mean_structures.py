"""`efgmd structures`: the tensors written with a mean structure are those of its own atoms, axis by axis."""

import json

import numpy as np
import pytest
from ase.io import read
from crystals import point_charge_tensors, trigonal
from test_axes import exchanging
from test_followed_runs import write_run
from typer.testing import CliRunner

from efgmd.cli import app
from efgmd.tensors import asymmetry, l2_to_cartesian, matrix_to_six, principal_values


def written(folder, start, sites, cells, frames, supercell=(1, 1, 1)):
    """Store a run as a campaign and let the command write its structure in both formats."""
    start.write(folder / "structure.extxyz")
    write_run(folder / "T0300K", 300.0, frames["cell"], frames["efg"], frames["scaled"], start.get_chemical_symbols())
    campaign = {"sites": sites, "structure": {"supercell": supercell}}
    (folder / "campaign.json").write_text(json.dumps({"campaign": campaign, "cells": cells, "folders": ["T0300K"]}))
    for form in ("magres", "extxyz"):
        found = CliRunner().invoke(app, ["structures", str(folder), "--format", form])
        assert found.exit_code == 0, found.output
        atoms = read(folder / f"mean-0300K.{form}")
        yield atoms, atoms.arrays["efg"].reshape(-1, 3, 3)


@pytest.mark.parametrize("impose", [False, True])
def test_tensors_of_nuclei_that_turns_by_a_third_relate(tmp_path, impose):
    """Two repeats of a hexagonal cell; a rotation taken the wrong way round is another orientation here."""
    rng, noise, count = np.random.default_rng(6), 0.3, 60
    crystal = trigonal().repeat((1, 1, 2))
    start = crystal.copy()
    start.set_cell(1.02 * crystal.cell, scale_atoms=True)  # the run has another cell than its start
    tensors, shape = 300 * point_charge_tensors(crystal), (count, len(crystal))
    cell = crystal.cell.array[[0, 1, 2, 1, 2, 2], [0, 1, 2, 0, 0, 1]]
    frames = {
        "efg": matrix_to_six(tensors + l2_to_cartesian(noise * rng.normal(size=(*shape, 5)))),
        "scaled": np.tile(crystal.get_scaled_positions(), (count, 1, 1)),
        "cell": np.tile(cell, (count, 1)),
    }
    sites = {"tolerance": 0.1, "impose_symmetry": impose}
    for atoms, found in written(tmp_path, start, sites, [1, 1, 1], frames, (1, 1, 2)):
        exact = 300 * point_charge_tensors(atoms)
        np.testing.assert_allclose(atoms.cell.array, crystal.cell.array, atol=1e-5)
        assert np.abs(found - exact).max() < 5 * noise / np.sqrt(6 * count)  # six nuclei on a site
        assert np.abs(exact - exact[start.symbols == "Pb"][0]).max() > 100 * noise / np.sqrt(6 * count)


@pytest.mark.parametrize("impose", [False, True])
def test_tensors_of_a_crystal_that_exchanges_its_axis(tmp_path, impose):
    """The structure has its axis along z, and so have the tensors; those on it are axial if symmetry is imposed."""
    parts = [(0, (0.5, 0, 0)), (2, (0, 0, 0)), (1, (0, 0, 0))]
    trajectory, start, tensors = exchanging(parts, frames_each=60)
    frames = {name: getattr(trajectory._frames, name) for name in ("efg", "scaled", "cell")}
    sites = {"follow_axis": True, "axis_window_ps": 0.1, "tolerance": 0.2, "impose_symmetry": impose}
    size = np.abs(principal_values(tensors)[start.symbols == "I", 2]).max()
    for atoms, found in written(tmp_path, start, sites, [2, 2, 2], frames):
        assert np.argmax(atoms.cell.lengths()) == 2
        np.testing.assert_allclose(found, 300 * point_charge_tensors(atoms), atol=0.05 * size)
        eta = np.sort(asymmetry(principal_values(found[atoms.symbols == "I"])))[:8]
        assert (eta < 1e-6).all() if impose else (eta > 1e-4).all()
