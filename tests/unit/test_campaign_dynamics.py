"""dynamics.json of a campaign whose tensors move with a time for each |m|, against the exact numbers."""

import csv
import json

import numpy as np
import pytest
from ase import Atoms
from scipy.signal import lfilter
from test_followed_runs import write_run
from typer.testing import CliRunner

from efgmd.cli import app
from efgmd.larmor import larmor_mhz
from efgmd.nuclei import nucleus
from efgmd.tensors import matrix_to_six

FRAMES, INTERVAL_PS, FIELD = 20000, 0.01, 9.4
#: By |m| along z: correlation time in frames, and standard deviation of each component, a.u.
TIMES, SIZES = np.array([4.0, 6.0, 9.0]), np.array([0.02, 0.03, 0.015])
MEAN = 0.04 * np.diag([-0.3, -0.7, 1.0])
NUCLEI = ("14N", "127I")
UNITS = {"s": 1.0, "ms": 1e-3}


def unit(*pairs):
    """Symmetric matrix of norm 1 with the given elements ``(i, j, value)``."""
    matrix = np.zeros((3, 3))
    for i, j, value in pairs:
        matrix[i, j] = matrix[j, i] = value
    return matrix / np.linalg.norm(matrix)


COMPONENTS = (
    (0, unit((0, 0, -1), (1, 1, -1), (2, 2, 2))),
    (1, unit((0, 2, 1))),
    (1, unit((1, 2, 1))),
    (2, unit((0, 1, 1))),
    (2, unit((0, 0, 1), (1, 1, -1))),
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """dynamics.json and .csv, what was printed, and the campaign's folder; the field is along z."""
    folder, rng = tmp_path_factory.mktemp("dynamics"), np.random.default_rng(7)
    atoms = Atoms("NI", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[4.0] * 3, pbc=True).repeat(2)
    atoms.write(folder / "structure.extxyz")
    tensors = np.tile(MEAN, (FRAMES, len(atoms), 1, 1))
    for order, component in COMPONENTS:
        decay = np.exp(-1 / TIMES[order])
        noise = rng.normal(size=(FRAMES, len(atoms)))
        noise[1:] *= np.sqrt(1 - decay**2)
        tensors += (SIZES[order] * lfilter([1.0], [1.0, -decay], noise, axis=0))[..., None, None] * component
    cell = np.tile([8.0, 8, 8, 0, 0, 0], (FRAMES, 1))
    scaled = np.tile(atoms.get_scaled_positions(), (FRAMES, 1, 1))
    write_run(folder / "T0300K", 300.0, cell, matrix_to_six(tensors), scaled, atoms.get_chemical_symbols())
    record = {
        "campaign": {
            "nuclei": [{"name": name} for name in NUCLEI],
            "sites": {"tolerance": 0.1},
            "structure": {"supercell": [2, 2, 2]},
        },
        "cells": [2, 2, 2],
        "folders": ["T0300K"],
        "nuclei": {name: {} for name in NUCLEI},
    }
    (folder / "campaign.json").write_text(json.dumps(record))
    command = ["dynamics", str(folder), "--field", str(FIELD), "--direction", "0", "0", "1"]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((folder / "dynamics.csv").open()))
    (entry,) = json.loads((folder / "dynamics.json").read_text())["temperatures"]
    return {site["nucleus"]: site for site in entry["sites"]}, {row["nucleus"]: row for row in rows}, done.output


def exact_densities(name, frequencies_mhz):
    """Trapezoidal sum over exp(-t/tau) at the frames, twice, for |m| = 0, 1, 2, in rad^2/s, of shape ``(k, 3)``."""
    per_au = 2e6 * np.pi * float(nucleus(name).coupling_mhz(1.0))
    turn = 2 * np.pi * np.asarray(frequencies_mhz)[:, None] * 1e6 * INTERVAL_PS * 1e-12
    sums = np.sinh(1 / TIMES) / (np.cosh(1 / TIMES) - np.cos(turn)) * INTERVAL_PS * 1e-12
    return (per_au * SIZES) ** 2 * sums


@pytest.mark.parametrize("name", NUCLEI)
def test_each_order_has_its_time_and_its_spectral_density(found, name):
    """Within three errors of a time that is integrated over five times the longest one in 160000 samples: 10 %."""
    site = found[0][name]
    assert site["count"] == 8 and site["tau_resolved"]
    times = INTERVAL_PS / 2 / np.tanh(1 / (2 * TIMES))
    np.testing.assert_allclose(site["tau_by_order_ps"], times, rtol=0.1)
    frequencies = np.array(site["spectral_density"]["frequency_MHz"])
    exact = exact_densities(name, frequencies)
    assert frequencies[0] == 0 and frequencies[-1] == pytest.approx(1e6 / (4 * INTERVAL_PS))
    assert exact[-1, 2] < 0.03 * exact[0, 2]  # the frequencies reach beyond the motion
    densities = np.array(site["spectral_density"]["J_rad2_per_s"]).T
    assert (np.abs(densities - exact) < 0.1 * exact[0]).all()
    np.testing.assert_allclose(site["relaxation"]["densities_rad2_per_s"], exact[0], rtol=0.1)  # 9.4 T is slow


@pytest.mark.parametrize("name", NUCLEI)
def test_mean_and_fluctuating_couplings(found, name):
    """Each in the unit of an axial tensor, whose squared norm is 3/2 of Vzz^2; the mean has eta = 0.4."""
    site, per_au = found[0][name], abs(float(nucleus(name).coupling_mhz(1.0)))
    variance = SIZES**2 @ [1, 2, 2]
    assert site["mean_cq_MHz"] == pytest.approx(per_au * 0.04 * np.sqrt(1 + 0.4**2 / 3), rel=0.01)
    assert site["fluctuating_cq_MHz"] == pytest.approx(per_au * np.sqrt(2 / 3 * variance), rel=0.02)
    assert site["correlation"]["mean_part"] == pytest.approx(np.sum(MEAN**2) / variance, rel=0.03)


def test_times_of_a_spin_one(found):
    """1/T1 = (J1 + 4 J2)/8, 1/T2 = (3 J0 + 5 J1 + 2 J2)/16, lines apart (3 J0 + 3 J1 + 2 J2)/16; no central line."""
    times = found[0]["14N"]["relaxation"]
    j0, j1, j2 = times["densities_rad2_per_s"]
    assert 1 / times["T1_s"] == pytest.approx((j1 + 4 * j2) / 8)
    assert 1 / times["T2_s"] == pytest.approx((3 * j0 + 5 * j1 + 2 * j2) / 16)
    assert 1 / times["T2_resolved_s"] == pytest.approx((3 * j0 + 3 * j1 + 2 * j2) / 16)
    assert times["larmor_MHz"] == pytest.approx(larmor_mhz("14N", FIELD)) and times["central_transition"] is None


def left_by(spin, m, step):
    """Sum over both signs of |<m +- step|T_2,+-step|m>|^2, by the matrix elements of the ladder operators."""
    total = 0.0
    for sign in (1, -1):
        first = (spin - sign * m) * (spin + sign * m + 1)
        then = (spin - sign * m - 1) * (spin + sign * m + 2)
        total += first * then / 4 if step == 2 else first * (2 * m + sign) ** 2 / 4
    return total


def test_central_transition_of_iodine(found):
    """Both of its levels are left at the same rate, (2 J1 + 7 J2)/100, and its coherence decays with it, without J0."""
    times = found[0]["127I"]["relaxation"]
    _, j1, j2 = times["densities_rad2_per_s"]
    rate = (left_by(2.5, 0.5, 1) * j1 + left_by(2.5, 0.5, 2) * j2) / (2 * 2.5 * (2 * 2.5 - 1)) ** 2
    assert rate == pytest.approx((2 * j1 + 7 * j2) / 100)
    central = times["central_transition"]
    assert 1 / central["T2_s"] == pytest.approx(rate)
    assert 0 < central["T2_error_s"] < 0.1 * central["T2_s"]
    recovery = central["recovery"]
    # No jump joins the two levels directly, so that the difference of their populations starts to decay likewise.
    assert np.dot(recovery["rates_per_s"], recovery["weights"]) == pytest.approx(rate)
    assert len(recovery["rates_per_s"]) == 3 and sum(recovery["weights"]) == pytest.approx(1)


def test_table_and_csv_have_the_times_of_the_file(found):
    sites, rows, printed = found
    for name in NUCLEI:
        times = sites[name]["relaxation"]
        for column in ("T1_s", "T1_error_s", "T2_s", "T2_error_s", "T2_resolved_s", "T2_resolved_error_s"):
            assert float(rows[name][column]) == times[column]
        assert float(rows[name]["tau_error_ps"]) == sites[name]["tau_error_ps"] > 0
        words = next(line for line in printed.splitlines() if name in line).split()
        # ... T1 +- error unit, T2 unit
        assert float(words[-6]) * UNITS[words[-3]] == pytest.approx(times["T1_s"], rel=1e-3)
        assert float(words[-2]) * UNITS[words[-1]] == pytest.approx(times["T2_s"], rel=1e-3)
