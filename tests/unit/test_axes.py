"""Crystals that turn or exchange their axes, and molecules that tumble: the tensors put in come out again."""

import numpy as np
import pytest
from ase import Atoms
from crystals import perovskite, point_charge_tensors
from frames_in_memory import Trajectory
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from efgmd.analysis.averaging import NucleusAverage, SiteSeries
from efgmd.analysis.axes import AxisFollower, CellFrame, UniqueAxis
from efgmd.analysis.following import FrameFollower
from efgmd.analysis.sites import SiteFinder
from efgmd.campaign.config import Sites
from efgmd.campaign.sampling import cell_matrix
from efgmd.errors import DataError
from efgmd.tensors import asymmetry, l2_to_cartesian, matrix_to_six, principal_values, rotate, six_to_matrix
from efgmd.trajectories.frames import TensorFrames

CELLS = (2, 2, 2)


def domain(axis, shift, cubic, tetragonal, tensors):
    """Scaled positions and tensors of the tetragonal crystal with its axis along x, y or z, moved by ``shift``.

    Atom i is the one that sits near place i of the cubic crystal, whatever the axis: nothing is relabelled.
    """
    turn = np.roll(np.eye(3), axis - 2, axis=0)  # takes z to the axis, cyclically
    assert np.linalg.det(turn) > 0 and np.allclose(turn @ [0, 0, 1], np.eye(3)[axis])
    scaled = tetragonal.get_scaled_positions() @ turn.T + shift
    turned = rotate(tensors, turn)
    places, numbers = cubic.get_scaled_positions(), cubic.numbers
    order = np.empty(len(cubic), dtype=int)
    for number in np.unique(numbers):
        members = np.flatnonzero(numbers == number)
        order[members] = members[cKDTree(scaled[members] % 1.0, boxsize=1).query(places[members] % 1.0)[1]]
    assert len(np.unique(order)) == len(order)
    near = scaled[order] + np.round(places - scaled[order])
    return near, turned[order]


def exchanging(parts, frames_each=80, noise=0.3, seed=0):
    """A trajectory of domains ``(axis, shift)`` of the tetragonal crystal, one after the other, with thermal noise."""
    rng = np.random.default_rng(seed)
    cubic, tetragonal = perovskite(0.0), perovskite(8.0, 1.05)
    tensors = 300 * point_charge_tensors(tetragonal)
    efg, scaled, cell = [], [], []
    for axis, shift in parts:
        positions, turned = domain(axis, np.array(shift), cubic, tetragonal, tensors)
        lengths = np.roll(tetragonal.cell.lengths(), axis - 2)
        for _ in range(frames_each):
            efg.append(matrix_to_six(turned + l2_to_cartesian(noise * rng.normal(size=(len(cubic), 5)))))
            scaled.append(positions + rng.normal(0, 0.008, positions.shape))
            cell.append([*(lengths + rng.normal(0, 0.03, 3)), 0, 0, 0])
    count = len(efg)
    frames = TensorFrames(
        10 * np.arange(1, count + 1), np.array(cell), np.array(efg), np.ones((count, len(cubic))), np.array(scaled)
    )
    return Trajectory(tetragonal.get_chemical_symbols(), frames), tetragonal, tensors


def site_tensors(trajectory, start, sites_options):
    """Space group, and by multiplicity the mean tensor of each iodine site, through the same steps as an analysis."""
    frames = trajectory._frames
    follower = FrameFollower(sites_options, CELLS).compute(trajectory, start, frames.step, frames.cell, 0.1)
    average = NucleusAverage()
    for chunk in follower.followed.frames():
        average.compute(chunk)
    mean = Atoms(start.numbers, scaled_positions=average.scaled, cell=cell_matrix(average.cell), pbc=True)
    finder = SiteFinder(None, 0.2).compute(mean, start)
    series = SiteSeries(finder.sites, average.count)
    for chunk in follower.followed.frames():
        series.compute(chunk)
    iodine = [
        (len(site.indices), six_to_matrix(series.series[:, k].mean(axis=0)))
        for k, site in enumerate(finder.sites)
        if site.element == "I"
    ]
    return finder.symmetry, sorted(iodine, key=lambda item: item[0]), follower


PARTS = [(2, (0, 0, 0)), (0, (0.5, 0, 0)), (2, (0.5, 0, 0)), (1, (0, 0, 0)), (2, (0, 0, 0))]


def test_exchanged_axes_recover_the_tetragonal_tensors_and_the_naive_average_looks_cubic():
    # Each axis once with either sense of the tilts, which move into each other by one cell.
    parts = [(axis, shift) for shift in ((0, 0, 0), (0.5, 0, 0)) for axis in (0, 1, 2)]
    trajectory, start, tensors = exchanging(parts, frames_each=40)
    exact = {8: principal_values(tensors[3]), 16: principal_values(tensors[1])}  # on the axis, and in the plane
    naive, iodine, _ = site_tensors(trajectory, start, Sites())
    assert naive.space_group == "Pm-3m (221)" and [count for count, _ in iodine] == [24]
    assert asymmetry(principal_values(iodine[0][1])) < 0.02
    followed, iodine, follower = site_tensors(trajectory, start, Sites(follow_axis=True, axis_window_ps=1.0))
    assert followed.space_group == "I4/mcm (140)" and not followed.assumed
    assert [part["axis"] for part in follower.description["segments"]] == [*"abcabc"]
    assert [count for count, _ in iodine] == [8, 16]
    for count, mean in iodine:
        np.testing.assert_allclose(principal_values(mean), exact[count], atol=0.02 * abs(exact[count][2]))
    assert abs(exact[16][2] - exact[8][2]) > 0.1 * abs(exact[8][2])  # the two sites differ by more than the tolerance
    # In the frame of the results the axis is z.
    assert abs(iodine[0][1][2, 2]) == pytest.approx(abs(exact[8][2]), rel=0.02)


def test_domains_that_tilt_the_other_way_are_told_apart():
    """The same axis twice, moved by one cell: without the translation the tilts, and V_xy of 8h, would cancel."""
    trajectory, start, tensors = exchanging(PARTS)
    _, iodine, follower = site_tensors(trajectory, start, Sites(follow_axis=True, axis_window_ps=1.0))
    # Parts of equal axis that follow each other directly would be one segment; here they alternate.
    assert [part["axis"] for part in follower.description["segments"]] == ["c", "a", "c", "b", "c"]
    for count, mean in iodine:
        exact = principal_values(tensors[3] if count == 8 else tensors[1])
        np.testing.assert_allclose(principal_values(mean), exact, atol=0.02 * abs(exact[2]))
    assert all(part["mapped_within_angstrom"] < 0.1 for part in follower.description["segments"])


def test_followed_atoms_take_the_places_they_are_mapped_to():
    trajectory, start, _ = exchanging(PARTS, frames_each=40, noise=0.0)
    frames = trajectory._frames
    follower = FrameFollower(Sites(follow_axis=True, axis_window_ps=1.0), CELLS)
    followed = follower.compute(trajectory, start, frames.step, frames.cell, 0.1).followed
    chunks = list(followed.frames())
    scaled = np.concatenate([chunk.scaled for chunk in chunks])
    efg = np.concatenate([chunk.efg for chunk in chunks])
    cell = np.concatenate([chunk.cell for chunk in chunks])
    assert np.abs(scaled - scaled.mean(axis=0)).max() < 0.1  # no atom sits elsewhere in another part
    steady = np.ones(len(frames.step), dtype=bool)
    for border in range(40, 200, 40):
        steady[border - 6 : border + 6] = False  # smoothed lengths place a change within half a window
    np.testing.assert_allclose(efg[steady], np.broadcast_to(efg[20], efg[steady].shape), atol=1e-9)
    assert (np.argmax(cell[steady, :3], axis=1) == 2).all()


def test_axis_is_followed_only_where_it_stands_out():
    rng = np.random.default_rng(2)
    noise = np.hstack([12.6 + rng.normal(0, 0.1, (2000, 3)), np.zeros((2000, 3))])
    assert not UniqueAxis(CELLS, 20).compute(noise).clear
    long_c = noise + np.array([0, 0, 0.25, 0, 0, 0])
    found = UniqueAxis(CELLS, 20).compute(long_c)
    assert found.clear and [part.axis for part in found.segments] == [2]
    assert found.amplitude == pytest.approx(0.125, rel=0.05)
    short = noise - [0, 0.25, 0, 0, 0, 0]
    found = UniqueAxis(CELLS, 20).compute(short)
    assert found.clear and found.segments[0].axis == 1 and found.amplitude < 0
    moved = long_c.copy()
    moved[700:, [0, 2]] = long_c[700:, [2, 0]]
    found = UniqueAxis(CELLS, 20).compute(moved)
    assert [part.axis for part in found.segments] == [2, 0]
    assert abs(found.segments[1].first - 700) <= 20 and found.segments[0].last == found.segments[1].first


def test_a_flickering_border_is_one_change():
    """Where two lengths cross slowly, noise crosses many times; hysteresis keeps one change."""
    rng = np.random.default_rng(3)
    ramp = np.clip((np.arange(1000) - 400) / 200, 0, 1)
    lengths = 12.6 + np.stack([0.25 * ramp, np.zeros(1000), 0.25 * (1 - ramp)], axis=1) + rng.normal(0, 0.08, (1000, 3))
    found = UniqueAxis(CELLS, 10).compute(np.hstack([lengths, np.zeros((1000, 3))]))
    assert [part.axis for part in found.segments] == [2, 0]


def test_unequal_cells_and_scrambled_atoms_are_refused():
    with pytest.raises(DataError, match="same number of pseudo-cubic cells"):
        FrameFollower(Sites(follow_axis=True), (2, 2, 4))
    with pytest.raises(DataError, match=r"needs sites\.framework"):
        FrameFollower(Sites(frame="molecule"), CELLS)
    trajectory, start, _ = exchanging([(2, (0, 0, 0)), (0, (0, 0, 0))], frames_each=20)
    frames = trajectory._frames
    segments = UniqueAxis(CELLS, 5).compute(frames.cell).segments
    collapsed = frames.scaled[-1].copy()
    collapsed[1] = collapsed[2]
    with pytest.raises(DataError, match="cannot be mapped"):
        AxisFollower(start, None).compute(
            frames.step, segments, [frames.scaled[0], collapsed], list(frames.cell[[0, -1]])
        )


def test_frame_of_a_turning_cell_undoes_the_rotation_exactly():
    rng = np.random.default_rng(4)
    reference = np.array([12.0, 12.5, 13.0, 0.3, -0.4, 0.2])
    tensor = l2_to_cartesian(rng.normal(size=5))
    cells, tensors = [], []
    for _ in range(20):
        stretch = np.eye(3) + 0.02 * (lambda m: (m + m.T) / 2)(rng.normal(size=(3, 3)))
        rotation = Rotation.from_rotvec(rng.normal(0, 0.05, 3)).as_matrix()
        rows = cell_matrix(reference) @ stretch @ rotation.T  # symmetric strain, then the crystal turns
        # LAMMPS' own frame of that cell: lower triangular. The tensor is seen in it.
        orthogonal, triangle = np.linalg.qr(rows.T)
        upright = np.sign(np.diag(triangle))[:, None] * orthogonal.T
        lower = rows @ upright.T
        cells.append(lower[[0, 1, 2, 1, 2, 2], [0, 1, 2, 0, 0, 1]])
        tensors.append(matrix_to_six(rotate(tensor, upright @ rotation)))
    frames = TensorFrames(
        np.arange(20), np.array(cells), np.array(tensors)[:, None], np.ones((20, 1)), np.zeros((20, 1, 3))
    )
    assert np.ptp(frames.efg, axis=0).max() > 0.01
    turned = CellFrame(reference, np.ones(1, dtype=bool)).apply(frames).efg[:, 0]
    np.testing.assert_allclose(turned, np.broadcast_to(matrix_to_six(tensor), turned.shape), atol=1e-12)
