"""Whole runs whose unique axis is followed: lattice and merged sites are those of the crystal, whatever its axis."""

from dataclasses import replace

import numpy as np
import pytest
from crystals import perovskite, point_charge_tensors
from scipy.stats import t as student
from test_axes import exchanging
from test_sampling import SPEC

from efgmd.analysis.merged import follow_merged_sites
from efgmd.analysis.order_parameters import order_parameters
from efgmd.analysis.temperature import TemperatureAnalysis
from efgmd.campaign.config import Sites
from efgmd.nuclei import nucleus
from efgmd.store import BLOCKS_PER_MEMBER_ROW, StoreWriter
from efgmd.tensors import asymmetry, l2_to_cartesian, matrix_to_six, principal_values, six_to_matrix

IODINE = nucleus("127I")


def write_run(folder, kelvin, cell, efg, scaled, symbols, members=None, **changes):
    """A run of one sample per block, as a worker leaves it; ``members`` (rows, N, M, 6) are of every tenth block."""
    count = len(cell)
    folder.mkdir()
    fields = {"symbols": symbols, "samples_per_block": 1, "n_samples": count, "equilibration_steps": 0}
    spec = replace(SPEC, temperature=kelvin, **fields | changes)
    spec.write(folder)
    steps = spec.equilibration_steps + spec.sampling_steps * np.arange(1, count + 1)
    samples = {"cell": cell, "volume": cell[:, :3].prod(axis=1), "temperature": kelvin, "pressure": 0.0}
    sizes = np.abs(principal_values(six_to_matrix(efg))[..., 2])
    groups = {
        "samples": (samples | {"potential_energy": -1.0}, steps),
        "blocks": ({"efg": efg, "abs_vzz": sizes, "scaled": scaled, "cell": cell}, steps),
    }
    if members is not None:
        groups["members"] = ({"deviation": members}, steps[::BLOCKS_PER_MEMBER_ROW])
    committee = 1 if members is None else members.shape[2]
    with StoreWriter(
        folder / "efg.h5", identity=spec.identity, header={}, symbols=symbols, n_samples=count, committee=committee
    ) as store:
        for group, (values, ends) in groups.items():
            for name, content in values.items():
                store._file[group][name][...] = content
            store._file[group]["step"][...] = ends
    return spec


def analysis():
    return TemperatureAnalysis([IODINE], Sites(follow_axis=True, axis_window_ps=0.1, tolerance=0.2), (2, 2, 2))


def write_tetragonal(folder, kelvin, axes):
    trajectory, start, _ = exchanging([(axis, (0, 0, 0)) for axis in axes])
    frames = trajectory._frames
    write_run(folder, kelvin, frames.cell, frames.efg, frames.scaled, start.get_chemical_symbols())
    return start


def test_lattice_of_a_run_that_exchanges_its_axis(tmp_path):
    start = write_tetragonal(tmp_path / "T0300K", 300.0, (0, 1, 2))
    found = analysis().compute(tmp_path / "T0300K", start)
    lengths = found["lattice"]["pseudocubic"]
    for name, true in zip("abc", start.cell.lengths() / 2, strict=True):
        assert lengths[name]["mean"] == pytest.approx(true, abs=0.01) and lengths[name]["error"] < 0.01
    assert {"a", "b", "c"} <= set(found["lattice"]["unique_axes"])  # what the cell itself did


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_merged_sites_are_averaged_in_the_frame_they_were_found_in(tmp_path, axis):
    """Above the transition nothing is split, and all iodine has one tensor, whichever axis was long below."""
    start = write_tetragonal(tmp_path / "T0250K", 250.0, (axis,))
    cubic, rng, count = perovskite(0.0), np.random.default_rng(3), 80
    tensors = 300 * point_charge_tensors(cubic)
    shape = (count, len(cubic))
    efg = matrix_to_six(tensors + l2_to_cartesian(0.3 * rng.normal(size=(*shape, 5))))
    scaled = cubic.get_scaled_positions() + rng.normal(0, 0.008, (*shape, 3))
    cell = np.hstack([cubic.cell.lengths() + rng.normal(0, 0.05, (count, 3)), np.zeros((count, 3))])
    write_run(tmp_path / "T0400K", 400.0, cell, efg, scaled, start.get_chemical_symbols())
    analyses = analysis()
    entries = [analyses.compute(tmp_path / name, start) for name in ("T0250K", "T0400K")]
    follow_merged_sites(analyses, tmp_path, start, entries, ["127I"])
    assert [bool(entry["axes"]["segments"]) for entry in entries] == [True, False]
    iodine = tensors[np.flatnonzero(cubic.numbers == 53)[0]]
    true = float(IODINE.coupling_mhz(principal_values(iodine)[2]))
    assert sorted(row["site"] for row in entries[1]["merged_sites"]) == ["4a", "8h"]
    for row in entries[1]["merged_sites"]:
        assert row["cq_MHz"] == pytest.approx(true, abs=4 * row["cq_error_sampling_MHz"]) and row["eta"] < 0.01
    results = {"temperatures": entries, "nuclei": {"127I": {"moment_mb": IODINE.moment_mb}}}
    (splitting,) = order_parameters(results, [{"kind": "splitting", "nucleus": "127I"}])
    cold, hot = splitting.points
    assert cold.size > 100 and hot.size < 6 * hot.noise and hot.size < 0.05 * cold.size


def test_members_of_a_committee_follow_the_crystal(tmp_path):
    """Members off by shares of the true tensors, twice as much on the axis: so is Cq, and eta has no error."""
    parts = [(0, (0.5, 0, 0)), (2, (0, 0, 0))]
    trajectory, start, tensors = exchanging(parts, frames_each=75)  # no row of members at the change
    exact = exchanging(parts, frames_each=75, noise=0.0)[0]._frames.efg[::BLOCKS_PER_MEMBER_ROW]
    shares, scale, frames = np.array([0.02, -0.01, 0.03, -0.04]), 1.5, trajectory._frames
    on_axis, in_plane = principal_values(tensors[[3, 1]])
    factor = np.where(np.isclose(principal_values(six_to_matrix(exact))[..., 2], on_axis[2]), 2.0, 1.0)
    members = (factor[..., None] * exact)[:, :, None] * shares[:, None]
    symbols = start.get_chemical_symbols()
    scales = {"I": scale, "Pb": 9.0}
    write_run(tmp_path / "T", 300.0, frames.cell, frames.efg, frames.scaled, symbols, members, spread_scales=scales)
    found = analysis().compute(tmp_path / "T", start)
    rows = {row["count"]: row for row in found["sites"]}
    assert len(found["axes"]["segments"]) == 2 and rows.keys() == {8, 16}
    for count, values, times in ((8, on_axis, 2.0), (16, in_plane, 1.0)):
        spread = scale * times * np.std(shares, ddof=1) * abs(float(IODINE.coupling_mhz(values[2])))
        half_of_68 = student.ppf(0.84135, len(shares) - 1)
        assert rows[count]["cq_error_model_MHz"] == pytest.approx(half_of_68 * spread, rel=0.05)
        assert rows[count]["eta_error_model"] < 0.003 and rows[count]["eta"] == pytest.approx(
            asymmetry(values), abs=0.02
        )
