"""Numbers of a site in results.json that stand beside Cq and eta, and those of a whole run, against what was put in."""

from dataclasses import replace

import numpy as np
import pytest
from crystals import perovskite, point_charge_tensors
from scipy.signal import lfilter
from scipy.stats import t as student
from test_followed_runs import write_run
from test_groups import AXIS, PLANE, SITES, TENSORS

from efgmd.analysis.averaging import NucleusAverage, SiteSeries
from efgmd.analysis.rows import SiteRows
from efgmd.analysis.sites import Site
from efgmd.analysis.temperature import TemperatureAnalysis
from efgmd.campaign.config import Sites
from efgmd.errors import StoreError
from efgmd.nuclei import nucleus
from efgmd.tensors import l2_to_cartesian, matrix_to_six, rotate
from efgmd.trajectories.frames import TensorFrames

IODINE = nucleus("127I")
HALF_OF_68 = 0.84135  # upper end of the central 68 %


def frames_of(efg):
    """Frames of tensors ``(n, N, 6)``; cell and positions do not matter to rows."""
    count, atoms = efg.shape[:2]
    sizes = np.ones((count, atoms))
    return TensorFrames(np.arange(count), np.ones((count, 6)), efg, sizes, np.zeros((count, atoms, 3)))


def half_width(covariance, degrees):
    """Half of the 68 % interval of Student's t."""
    return np.sqrt(covariance) * student.ppf(HALF_OF_68, degrees)


@pytest.mark.parametrize("indices", [AXIS, PLANE])
@pytest.mark.parametrize("impose", [False, True])
def test_model_error_is_that_of_the_members_means_on_the_site(indices, impose):
    """All that varies is the size of the tensors, so that Cq has their relative error and eta has none."""
    rng, shares, scale, frames = np.random.default_rng(2), np.array([0.05, -0.02, 0.01, -0.07, 0.03]), 0.6, 400
    number = next(k for k, site in enumerate(SITES) if site.indices[0] == indices[0])
    site, count = SITES[number], len(SITES[number].indices)
    chunk = frames_of(matrix_to_six(TENSORS) * (1 + 0.1 * rng.normal(size=(frames, 1, 1))))
    tensor = TENSORS[site.indices[0]]
    # Each nucleus is off in its own way as well; over the site that averages out.
    own = l2_to_cartesian(rng.normal(size=(len(shares), count, 5)))
    turned = shares[:, None, None, None] * tensor + own - own.mean(axis=1, keepdims=True)
    members = rng.normal(size=(len(shares), len(TENSORS), 6))  # of other sites, which must not matter
    members[:, site.indices] = matrix_to_six(rotate(turned, np.swapaxes(site.rotations, 1, 2)))
    average, series = NucleusAverage().compute(chunk), SiteSeries(SITES, frames).compute(chunk)
    scales = {"I": scale, "Pb": 7.0}
    rows = SiteRows(average, series, 0.1, impose_symmetry=impose, members=members, member_scales=scales)
    row = rows.row(IODINE, number, site)
    cq, six = abs(row["cq_MHz"]), matrix_to_six(tensor)
    sampling = np.trace(row["covariance_au"]) / (six @ six)  # of the size, relative
    model = scale**2 * np.var(shares, ddof=1)
    assert row["cq_error_model_MHz"] == pytest.approx(cq * half_width(model, len(shares) - 1), rel=0.05)
    degrees = (sampling + model) ** 2 / (sampling**2 / row["degrees_of_freedom"] + model**2 / (len(shares) - 1))
    assert row["cq_error_total_MHz"] == pytest.approx(cq * half_width(sampling + model, int(degrees)), rel=0.05)
    assert row["cq_error_sampling_MHz"] < row["cq_error_model_MHz"] < row["cq_error_total_MHz"]
    assert (row["eta_error_model"], row["eta_error_total"]) == pytest.approx((0, 0), abs=1e-9)
    plain = SiteRows(average, series, 0.1, impose_symmetry=impose, members=members).row(IODINE, number, site)
    assert plain["cq_error_model_MHz"] == pytest.approx(row["cq_error_model_MHz"] / scale, rel=0.02)


def test_what_symmetry_forbids_is_taken_from_the_members_too():
    """On an axial site members that differ in Vxx - Vyy alone make an error of eta, unless symmetry is imposed."""
    number = next(k for k, site in enumerate(SITES) if site.indices[0] == AXIS[0])
    chunk, site = frames_of(np.tile(matrix_to_six(TENSORS), (40, 1, 1))), SITES[number]
    members = np.zeros((3, len(TENSORS), 6))
    splits = rotate(np.diag([1.0, -1.0, 0.0]), np.swapaxes(site.rotations, 1, 2))
    members[:, site.indices] = np.array([0.3, -0.1, -0.2])[:, None, None] * matrix_to_six(splits)
    average, series = NucleusAverage().compute(chunk), SiteSeries(SITES, 40).compute(chunk)
    errors = [
        SiteRows(average, series, 0.1, impose_symmetry=impose, members=members).row(IODINE, number, site)
        for impose in (False, True)
    ]
    assert errors[0]["eta_error_model"] > 0.01 and errors[1]["eta_error_model"] == 0
    assert errors[1]["cq_error_model_MHz"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("per_point", [1, 2])
def test_correlation_time_of_a_site_is_in_picoseconds(per_point):
    """Integral over the correlation of noise with exp(-lag/tau), and of means over two frames of it."""
    frame_ps, tau, frames, nuclei = 0.02, 10.0, 40000, 3
    decay = np.exp(-1 / tau)
    noise = np.random.default_rng(3).normal(size=(frames, nuclei, 5))
    efg = matrix_to_six(
        np.diag([-0.5, -0.5, 1.0]) + 0.1 * l2_to_cartesian(lfilter([1.0], [1.0, -decay], noise, axis=0))
    )
    site = Site("N", "a", np.arange(nuclei), np.tile(np.eye(3), (nuclei, 1, 1)), np.eye(3)[None])
    series = SiteSeries([site], frames, memory=frames // per_point * 48).compute(frames_of(efg))
    assert series.frames_per_point == per_point
    row = SiteRows(NucleusAverage().compute(frames_of(efg)), series, frame_ps).row(nucleus("14N"), 0, site)
    less = 1.0 if per_point == 1 else (1 + decay) / 2  # variance that means over two frames keep
    integral = frame_ps * (1 + decay) / (1 - decay) / 2 / less
    assert row["correlation_ps"] == pytest.approx(integral, rel=0.1)
    assert row["independent_samples"] == pytest.approx(frames * frame_ps / (2 * integral), rel=0.1)
    assert row["running"]["time_ps"][-1] == pytest.approx(frames * frame_ps)


def written(folder, count=150, **changes):
    """A run of the cubic perovskite in a cell that breathes and shears, with its structure and cells."""
    rng, atoms = np.random.default_rng(4), perovskite(0.0)
    shape = (count, len(atoms))
    efg = matrix_to_six(300 * point_charge_tensors(atoms) + l2_to_cartesian(0.3 * rng.normal(size=(*shape, 5))))
    scaled = atoms.get_scaled_positions() + rng.normal(0, 0.004, (*shape, 3))
    cell = np.hstack([atoms.cell.lengths() + rng.normal(0, 0.2, (count, 3)), rng.normal(0, 0.05, (count, 3))])
    spec = write_run(folder, 400.0, cell, efg, scaled, atoms.get_chemical_symbols(), **changes)
    return spec, atoms, cell


def analysed(folder, atoms, **options):
    return TemperatureAnalysis([IODINE], Sites(tolerance=0.2), (2, 2, 2), **options).compute(folder, atoms)


def test_how_much_longer_to_run_is_told_for_a_target(tmp_path):
    """Three times the accuracy takes nine times the 1.5 ps."""
    _, atoms, _ = written(tmp_path / "T")
    (site,) = analysed(tmp_path / "T", atoms, target_error={"14N": 1.0})["sites"]
    assert site["run_longer"] is None
    error = site["cq_error_sampling_MHz"]
    for target, factor in ((error / 3, 9.0), (2 * error, 1.0)):
        (site,) = analysed(tmp_path / "T", atoms, target_error={"127I": target})["sites"]
        expected = {"target_cq_error_MHz": target, "factor": factor, "production_ps": factor * 1.5, "is_rough": False}
        assert site["run_longer"] == pytest.approx(expected) and site["too_short"] is False
    _, atoms, _ = written(tmp_path / "short", count=8)
    (site,) = analysed(tmp_path / "short", atoms, target_error={"127I": 1e-3})["sites"]
    assert site["too_short"] is site["run_longer"]["is_rough"] is True


def test_time_of_the_traces_starts_with_production_and_volumes_are_those_of_the_cell(tmp_path):
    """Samples every 0.01 ps after an equilibration of 0.5 ps, three to each of the 50 points."""
    spec, atoms, cell = written(tmp_path / "T", equilibration_steps=1000)
    assert spec.equilibration_steps * spec.timestep_fs == 500
    found = analysed(tmp_path / "T", atoms)
    volumes = cell[:, 0] * cell[:, 1] * cell[:, 2]
    traces = found["traces"]
    np.testing.assert_allclose(traces["time_ps"], 0.02 + 0.03 * np.arange(50))
    np.testing.assert_allclose(traces["volume"], volumes.reshape(50, 3).mean(axis=1))
    np.testing.assert_allclose(traces["temperature_K"], 400.0)
    volume = found["lattice"]["volume"]
    assert volume["mean"] == pytest.approx(volumes.mean())
    assert volume["error"] == pytest.approx(volumes.std(ddof=1) / np.sqrt(len(volumes)), rel=0.3)
    assert found["lattice"]["pseudocubic"]["a"]["mean"] == pytest.approx(cell[:, 0].mean() / 2)


def test_a_store_of_another_run_is_not_analysed(tmp_path):
    spec, atoms, _ = written(tmp_path / "T", count=8)
    replace(spec, n_samples=80).write(tmp_path / "T")  # the same run, lengthened
    assert analysed(tmp_path / "T", atoms)["complete"] is False
    replace(spec, seed=spec.seed + 1).write(tmp_path / "T")
    with pytest.raises(StoreError, match="belong to different runs"):
        analysed(tmp_path / "T", atoms)
