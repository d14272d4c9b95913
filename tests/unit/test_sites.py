"""Grouping of nuclei: tensors of equivalent atoms fall on one another after the site's rotations."""

import numpy as np
import pytest
from ase.build import molecule
from crystals import perovskite, point_charge_tensors
from scipy.spatial.transform import Rotation

from efgmd.analysis.lattice import LatticeAverage, lattice_parameters, unique_axes
from efgmd.analysis.molecules import Molecules
from efgmd.analysis.sites import SiteFinder, expand, fold
from efgmd.analysis.table import symmetry_warnings
from efgmd.tensors import rotate


@pytest.mark.parametrize(
    ("tilt", "stretch", "group", "iodine"),
    [(10.0, 1.02, "I4/mcm (140)", [8, 16]), (0.0, 1.0, "Pm-3m (221)", [24]), (0.0, 1.05, "P4/mmm (123)", [8, 16])],
)
def test_phases_of_a_perovskite(tilt, stretch, group, iodine):
    atoms = perovskite(tilt, stretch)
    finder = SiteFinder(None, 0.05).compute(atoms, atoms)
    assert finder.symmetry.space_group == group
    assert not finder.symmetry.widened and not finder.symmetry.assumed
    assert sorted(len(site.indices) for site in finder.sites if site.element == "I") == iodine
    tensors = point_charge_tensors(atoms)
    for site in finder.sites:
        onto_reference = rotate(tensors[site.indices], site.rotations)
        np.testing.assert_allclose(onto_reference, np.broadcast_to(onto_reference[0], onto_reference.shape), atol=1e-8)
        np.testing.assert_allclose(onto_reference[0], tensors[site.indices[0]], atol=1e-8)
    assert sorted(np.concatenate([site.indices for site in finder.sites])) == list(range(len(atoms)))


def test_wyckoff_labels_of_the_tetragonal_phase():
    atoms = perovskite(10.0, 1.02)
    found = {site.label: len(site.indices) for site in SiteFinder(None, 0.05).compute(atoms, atoms).sites}
    assert found == {"4c": 8, "8h": 16, "4a": 8}


def test_turned_crystal_gives_the_same_sites():
    atoms = perovskite(10.0, 1.02)
    turned = atoms.copy()
    rotation = Rotation.random(random_state=1).as_matrix()
    turned.set_cell(atoms.cell.array @ rotation.T)
    turned.positions = atoms.positions @ rotation.T
    tensors = point_charge_tensors(turned)
    for site in SiteFinder(None, 0.05).compute(turned, atoms).sites:
        onto_reference = rotate(tensors[site.indices], site.rotations)
        np.testing.assert_allclose(onto_reference, np.broadcast_to(onto_reference[0], onto_reference.shape), atol=1e-8)


def test_noise_widens_the_tolerance_and_says_so():
    atoms = perovskite(10.0, 1.02)
    noisy = atoms.copy()
    noisy.positions += np.random.default_rng(0).normal(0, 0.05, noisy.positions.shape)
    found = SiteFinder(None, 0.2).compute(noisy, atoms).symmetry
    assert found.space_group == "I4/mcm (140)" and found.widened and found.tolerance > 0.2
    assert 0.01 < found.rms_deviation < found.max_deviation < 1.0


def test_structure_without_symmetry_is_grouped_like_its_start():
    atoms = perovskite(10.0, 1.02)
    broken = atoms.copy()
    broken.positions += np.random.default_rng(0).normal(0, 0.6, broken.positions.shape)
    finder = SiteFinder(None, 0.2).compute(broken, atoms)
    assert finder.symmetry.assumed and finder.symmetry.space_group == "I4/mcm (140)"
    assert sorted(len(site.indices) for site in finder.sites) == [8, 8, 16]
    hopeless = SiteFinder(None, 0.2).compute(broken, broken)
    assert hopeless.symmetry.space_group == "P1 (1)" and all(len(site.indices) == 1 for site in hopeless.sites)


def test_large_frameworks_are_not_searched_and_the_reader_is_told():
    """1500 atoms at most, or spglib takes hours; a small structure and its repeats are the way."""
    small = perovskite(10.0, 1.02)
    large = small.repeat((5, 5, 2))
    assert SiteFinder(("Pb",), 0.05).compute(large, large).symmetry.searched
    found = SiteFinder(None, 0.05).compute(large, large)
    assert not found.symmetry.searched and len(found.sites) == len(large) > 1500
    fields = {"tolerance_angstrom": 0.05, "tolerance_widened": False, "assumed_from_start": found.symmetry.assumed}
    (warning,) = symmetry_warnings(fields | {"searched": found.symmetry.searched})
    assert "1500" in warning and "structure.supercell" in warning
    assert "starting structure" in symmetry_warnings(fields | {"searched": True})[0]


def with_cations(framework, rng):
    atoms = framework.copy()
    ion = molecule("H3CNH2")
    ion.positions -= ion.get_center_of_mass()
    for cell in np.ndindex(2, 2, 2):
        turned = ion.copy()
        turned.positions = turned.positions @ Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix().T
        turned.positions += (np.array(cell) + 0.5) / 2 @ atoms.cell.array
        atoms += turned
    return atoms


def test_molecules_are_grouped_by_environment_and_cavity():
    atoms = with_cations(perovskite(10.0, 1.02), np.random.default_rng(2))
    moved = atoms.copy()
    moved.positions += np.random.default_rng(3).normal(0, 0.02, moved.positions.shape)
    finder = SiteFinder(("Pb", "I"), 0.3).compute(moved, atoms)
    assert finder.symmetry.space_group == "I4/mcm (140)"
    nitrogen = [site for site in finder.sites if site.element == "N"]
    assert [(site.label, len(site.indices)) for site in nitrogen] == [("CH2", 8)]
    hydrogen = {site.label: len(site.indices) for site in finder.sites if site.element == "H"}
    assert hydrogen["N"] == 16
    assert sum(hydrogen.values()) == 40
    for site in finder.sites:
        np.testing.assert_allclose(np.abs(np.linalg.det(site.rotations)), 1.0, atol=1e-10)


def test_molecules_across_the_boundary_have_their_centre_inside():
    ion = molecule("H3CNH2")
    ion.set_cell([10, 10, 10])
    ion.pbc = True
    ion.positions += [9.9, 9.9, 9.9] - ion.positions.mean(axis=0)
    whole = ion.get_scaled_positions(wrap=False)
    ion.wrap()
    found = Molecules(frozenset({"Pb"})).compute(ion)
    assert found.molecule.max() == 0
    difference = found.centres(ion.get_scaled_positions())[0] - whole.mean(axis=0)
    np.testing.assert_allclose(difference - np.round(difference), 0, atol=1e-12)
    assert found.neighbours[ion.symbols.search("N")[0]] == "CH2"


def test_lattice_parameters_of_a_triclinic_cell():
    from ase.geometry import cellpar_to_cell

    expected = [5.0, 6.0, 7.0, 80.0, 95.0, 110.0]
    matrix = cellpar_to_cell(expected)
    cell = np.array([matrix[0, 0], matrix[1, 1], matrix[2, 2], matrix[1, 0], matrix[2, 0], matrix[2, 1]])
    np.testing.assert_allclose(lattice_parameters(cell), expected, atol=1e-10)
    series = cell + np.random.default_rng(0).normal(0, 0.01, (500, 6))
    means = LatticeAverage((1, 2, 1)).compute(series).means
    np.testing.assert_allclose(means.parameters.mean, expected, atol=0.2)
    assert means.per_cell.mean[1] == pytest.approx(3.0, abs=0.01)
    assert abs(means.parameters.mean[0] - 5.0) < 5 * means.parameters.error[0]


def test_folding_a_supercell_averages_its_repeats_and_keeps_tensors_together():
    single = perovskite(10.0, 1.02)
    supercell = (2, 1, 3)
    large = single.repeat(supercell)
    noise = np.random.default_rng(4).normal(0, 0.05, large.positions.shape)
    scaled = np.linalg.solve(large.cell.array.T, (large.positions + noise).T).T
    folded = fold(scaled, supercell) @ single.cell.array
    np.testing.assert_allclose(folded, single.positions + noise.reshape(6, -1, 3).mean(axis=0), atol=1e-10)
    sites = expand(SiteFinder(None, 0.05).compute(single, single).sites, len(single), 6)
    tensors = point_charge_tensors(large)
    assert sum(len(site.indices) for site in sites) == len(large)
    for site in sites:
        onto_reference = rotate(tensors[site.indices], site.rotations)
        np.testing.assert_allclose(onto_reference, np.broadcast_to(onto_reference[0], onto_reference.shape), atol=1e-8)


def test_unique_axis_that_moves_is_noticed():
    rng = np.random.default_rng(1)
    long_c = np.array([12.5, 12.5, 12.8, 0, 0, 0]) + rng.normal(0, 0.1, (400, 6)) * [1, 1, 1, 0, 0, 0]
    assert set(unique_axes(long_c, (2, 2, 2))) == {"c"}
    moved = long_c.copy()
    moved[200:, [0, 2]] = long_c[200:, [2, 0]]
    assert unique_axes(moved, (2, 2, 2)) == ["c"] * 4 + ["a"] * 4
    assert unique_axes(long_c[:20], (2, 2, 2)) == []
    cubic = np.array([12.6, 12.6, 12.6, 0, 0, 0]) + rng.normal(0, 0.1, (400, 6)) * [1, 1, 1, 0, 0, 0]
    assert unique_axes(cubic, (2, 2, 2)).count(None) >= 6
