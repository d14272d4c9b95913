"""Molecules that tumble: the tensors put in come out again in the frame of the molecule."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from frames_in_memory import Trajectory
from scipy.spatial.transform import Rotation

from efgmd.analysis.averaging import NucleusAverage
from efgmd.analysis.axes import CellFrame
from efgmd.analysis.following import FrameFollower
from efgmd.analysis.molecular_frame import MolecularFrame
from efgmd.campaign.config import Sites
from efgmd.campaign.sampling import cell_matrix
from efgmd.errors import DataError
from efgmd.tensors import l2_to_cartesian, matrix_to_six, rotate
from efgmd.trajectories.frames import TensorFrames


def test_tumbling_molecules_keep_their_tensors():
    """Methylamine in boxes of lead: each molecule tumbles by itself, its geometry shakes, its tensors turn along."""
    rng = np.random.default_rng(5)
    single = molecule("H3CNH2")
    start = Atoms(cell=[16.0, 8.0, 8.0], pbc=True)
    for centre in ([4.0, 4, 4], [12.0, 4, 4]):
        start += Atoms("Pb", positions=[np.subtract(centre, 4)])
        turned = single.copy()
        # Lists of atoms in the same order, molecules in other orientations.
        turned.positions = (single.positions - single.positions.mean(0)) @ Rotation.random(rng=rng).as_matrix().T
        turned.positions += centre
        start += turned
    own = l2_to_cartesian(rng.normal(size=(len(single), 5)))  # in the frame of the first molecule
    count, n = 200, len(single)
    efg, scaled = np.zeros((count, len(start), 6)), np.zeros((count, len(start), 3))
    body = start.positions[1 : n + 1] - start.positions[1 : n + 1].mean(0)
    for frame in range(count):
        positions = start.positions.copy()
        for first in (1, n + 2):
            rotation = Rotation.random(rng=rng).as_matrix()
            centre = start.positions[first : first + n].mean(0)
            positions[first : first + n] = (body + rng.normal(0, 0.01, body.shape)) @ rotation.T + centre
            efg[frame, first : first + n] = matrix_to_six(rotate(own, rotation))
        scaled[frame] = positions / start.cell.lengths()
    cell = np.tile([16.0, 8, 8, 0, 0, 0], (count, 1))
    frames = TensorFrames(np.arange(count), cell, efg, np.ones(efg.shape[:2]), scaled)
    assert np.abs(NucleusAverage().compute(frames).mean).max() < 0.5  # tumbling averages nearly all of it away
    inside = MolecularFrame(start, ("Pb",))
    mean = NucleusAverage().compute(inside.apply(frames)).mean
    np.testing.assert_allclose(mean[1 : n + 1], matrix_to_six(own), atol=0.02)
    np.testing.assert_allclose(mean[n + 2 :], matrix_to_six(own), atol=0.02)
    assert len(inside.sites) == n and all(len(site.indices) == 2 for site in inside.sites)


@pytest.mark.parametrize("name", ["H3CNH2", "C2H6NH", "CH4"])
def test_equal_molecules_may_list_their_atoms_in_any_order(name):
    """Hydrogens of a methyl group the other way round, its methyl groups exchanged: atoms at the same place in the
    molecule share a tensor."""
    rng = np.random.default_rng(11)
    single = molecule(name)
    single.rattle(0.05, seed=3)  # no symmetry is left, so each atom has its own tensor
    n, count = len(single), 60
    own = l2_to_cartesian(rng.normal(size=(n, 5)))
    orders = [np.arange(n)] + [rng.permutation(n) for _ in range(5)]
    start = Atoms(cell=[8.0 * len(orders), 8, 8], pbc=True)
    for k, order in enumerate(orders):
        start += Atoms("Pb", positions=[[8.0 * k, 0, 0]])
        listed = single[order]
        listed.positions = listed.positions @ Rotation.random(rng=rng).as_matrix().T + [8.0 * k + 4, 4, 4]
        start += listed
    efg, scaled = np.zeros((count, len(start), 6)), np.zeros((count, len(start), 3))
    for frame in range(count):
        positions = start.positions.copy()
        for k, order in enumerate(orders):
            rotation, first = Rotation.random(rng=rng).as_matrix(), k * (n + 1) + 1
            positions[first : first + n] = single.positions[order] @ rotation.T + [8.0 * k + 4, 4, 4]
            efg[frame, first : first + n] = matrix_to_six(rotate(own[order], rotation))
        scaled[frame] = positions / start.cell.lengths()
    cell = np.tile([8.0 * len(orders), 8, 8, 0, 0, 0], (count, 1))
    inside = MolecularFrame(start, ("Pb",))
    turned = inside.apply(TensorFrames(np.arange(count), cell, efg, np.ones(efg.shape[:2]), scaled)).efg
    inner = matrix_to_six(rotate(own, _turn_of(start.positions[1 : n + 1], single.positions)))
    for k, order in enumerate(orders):
        first = k * (n + 1) + 1
        np.testing.assert_allclose(turned[:, first : first + n], np.tile(inner[order], (count, 1, 1)), atol=1e-9)
    for site in inside.sites:
        places = [orders[index // (n + 1)][index % (n + 1) - 1] for index in site.indices]
        assert len(places) == len(orders) and len(set(places)) == 1


def _turn_of(positions, reference):
    """Rotation that takes the reference to the positions."""
    away, own = positions - positions.mean(axis=0), reference - reference.mean(axis=0)
    return Rotation.align_vectors(away, own)[0].as_matrix()


@pytest.mark.parametrize(
    ("formula", "positions"),
    [("PbOH", [[0, 0, 0], [4, 4, 4], [4, 4, 5]]), ("PbCO2", [[0, 0, 0], [4, 4, 4], [4, 4, 5.2], [4, 4, 2.8]])],
)
def test_a_linear_molecule_has_no_frame(formula, positions):
    with pytest.raises(DataError, match="linear and has no frame"):
        MolecularFrame(Atoms(formula, positions=positions, cell=[8] * 3, pbc=True), ("Pb",))


def test_a_molecular_frame_in_a_cell_that_shears():
    """The frame of the molecule already turns with everything: the cell's own rotation must not be undone on top."""
    rng, count = np.random.default_rng(6), 300
    start = molecule("NH3")
    start.cell, start.pbc = np.eye(3) * 8, True
    start.positions += 4 - start.positions.mean(axis=0)
    start += Atoms("Pb", positions=[[0, 0, 0]])
    cell = np.tile([8.0, 8, 8, 0, 0, 0], (count, 1))
    cell[:, 3:] = rng.normal(0, 0.8, (count, 3))  # tilts of 6 degrees
    own, rotations = l2_to_cartesian(rng.normal(size=5)), Rotation.random(count, rng=rng).as_matrix()
    positions = np.zeros((count, 5, 3))
    positions[:, :4] = (start.positions[:4] - 4) @ np.swapaxes(rotations, 1, 2) + 4
    efg = np.zeros((count, 5, 6))
    efg[:, :4] = matrix_to_six(rotate(own, rotations))[:, None]
    undone = CellFrame(cell.mean(axis=0), np.ones(5, dtype=bool)).rotations(cell)
    efg[:, 4] = matrix_to_six(rotate(own, np.swapaxes(undone, 1, 2)))  # lead turns with the cell
    scaled = positions @ np.linalg.inv(cell_matrix(cell))
    trajectory = Trajectory(
        start.get_chemical_symbols(), TensorFrames(np.arange(count), cell, efg, np.ones((count, 5)), scaled)
    )
    follower = FrameFollower(Sites(frame="molecule", framework=("Pb",)), (1, 1, 1))
    followed = follower.compute(trajectory, start, np.arange(count), cell, 0.1).followed
    average = NucleusAverage()
    for frames in followed.frames():
        average.compute(frames)
    np.testing.assert_allclose(average.mean, np.tile(matrix_to_six(own), (5, 1)), atol=1e-9)


@pytest.mark.parametrize("wrapped", ["frames", "start", "both"])
def test_molecules_across_the_faces_of_the_cell(wrapped):
    """Atoms of a molecule may be listed at different periodic images, in the structure as a CIF has it or in frames."""
    rng, count = np.random.default_rng(8), 60
    single = molecule("CH4")
    start = Atoms("Pb", positions=[[4, 4, 4]], cell=[8.0] * 3, pbc=True) + single  # the carbon sits at a corner
    own = l2_to_cartesian(rng.normal(size=(5, 5)))
    efg, scaled = np.zeros((count, 6, 6)), np.zeros((count, 6, 3))
    for frame in range(count):
        rotation = Rotation.random(rng=rng).as_matrix()
        positions = start.positions.copy()
        positions[1:] = single.positions @ rotation.T
        scaled[frame] = positions / 8.0
        efg[frame, 1:] = matrix_to_six(rotate(own, rotation))
    if wrapped != "start":
        scaled %= 1.0
    if wrapped != "frames":
        start.wrap()
    cell = np.tile([8.0, 8, 8, 0, 0, 0], (count, 1))
    turned = MolecularFrame(start, ("Pb",)).apply(
        TensorFrames(np.arange(count), cell, efg, np.ones((count, 6)), scaled)
    )
    np.testing.assert_allclose(turned.efg[:, 1:], np.tile(matrix_to_six(own), (count, 1, 1)), atol=1e-9)
