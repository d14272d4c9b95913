"""Groups of nuclei that the user chooses, and the symmetry of a site itself."""

import numpy as np
import pytest
from crystals import perovskite, point_charge_tensors
from scipy.spatial.transform import Rotation

from efgmd.analysis.averaging import NucleusAverage, SiteSeries
from efgmd.analysis.groups import GroupFinder
from efgmd.analysis.rows import SiteRows
from efgmd.analysis.sites import Site, SiteFinder
from efgmd.analysis.table import coupling_text, eta_text
from efgmd.campaign.config import Group
from efgmd.errors import ConfigError
from efgmd.nuclei import nucleus
from efgmd.tensors import l2_to_cartesian, matrix_to_six, principal_values, rotate, six_to_matrix
from efgmd.trajectories.frames import TensorFrames

ATOMS = perovskite(10.0, 1.04)
TENSORS = 300 * point_charge_tensors(ATOMS)
SITES = SiteFinder(None, 0.05).compute(ATOMS, ATOMS).sites
IODINE = np.flatnonzero(np.array(ATOMS.get_chemical_symbols()) == "I")
PLANE = next(site for site in SITES if site.element == "I" and len(site.indices) == 16).indices
AXIS = next(site for site in SITES if site.element == "I" and len(site.indices) == 8).indices


def groups(*entries):
    return GroupFinder(tuple(Group(**entry) for entry in entries))


def test_part_of_a_site_is_turned_onto_its_own_first_atom():
    chosen = PLANE[[5, 9, 2]]
    found = groups({"name": "some", "ids": tuple(int(i) + 1 for i in chosen)}).compute(SITES, ATOMS)
    (site,) = [site for site in found if site.element == "I"]
    assert site.label == "some" and list(site.indices) == sorted(chosen)
    turned = rotate(TENSORS[site.indices], site.rotations)
    np.testing.assert_allclose(turned, np.broadcast_to(TENSORS[site.indices[0]], turned.shape), atol=1e-6)
    kept = rotate(TENSORS[site.indices[0]], site.stabilizer)
    np.testing.assert_allclose(kept, np.broadcast_to(TENSORS[site.indices[0]], kept.shape), atol=1e-6)
    assert {site.element for site in found} == {"Pb", "I"}  # elements in no group keep their sites


def test_exchanging_nuclei_are_averaged_as_they_are():
    found = groups({"name": "all", "element": "I", "exchange": True}).compute(SITES, ATOMS)
    (site,) = [site for site in found if site.element == "I"]
    mean = rotate(TENSORS[site.indices], site.rotations).mean(axis=0)
    np.testing.assert_allclose(mean, TENSORS[IODINE].mean(axis=0), atol=1e-10)


def test_labels_of_the_structure_make_groups():
    atoms = ATOMS.copy()
    labels = np.array(["other"] * len(atoms), dtype=object)
    labels[AXIS], labels[PLANE] = "along", "across"
    atoms.set_array("kind", labels.astype(str))
    lead = np.flatnonzero(np.array(atoms.get_chemical_symbols()) == "Pb")
    found = groups({"name": "I", "array": "kind"}).compute(SITES, atoms)
    assert {(site.element, site.label): len(site.indices) for site in found} == {
        ("I", "I across"): 16,
        ("I", "I along"): 8,
        ("Pb", "I other"): len(lead),
    }


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "mixed", "element": "I"}], "not equivalent by symmetry; set exchange"),
        ([{"name": "a", "ids": (1, 999)}], "atom 999 of group a does not exist"),
        ([{"name": "a", "element": "Cs"}], r"no atom of group a \(Cs\)"),
        ([{"name": "a", "array": "kind"}], "no array kind; it has none"),
        ([{"name": "a", "ids": (2,)}, {"name": "b", "ids": (2, 3), "exchange": True}], "atom 2 is in two groups"),
    ],
)
def test_groups_that_cannot_be(entries, message):
    with pytest.raises(ConfigError, match=message):
        groups(*entries).compute(SITES, ATOMS)


def test_a_group_says_its_nuclei_in_one_way():
    with pytest.raises(ValueError, match="one of ids, element and array"):
        Group(name="a")
    with pytest.raises(ValueError, match="one of ids, element and array"):
        Group(name="a", ids=(1,), element="I")


@pytest.mark.parametrize(("count", "free"), [(8, 1), (16, 2)])
def test_projector_keeps_what_the_site_allows(count, free):
    """4a of I4/mcm has site symmetry 422, which leaves an axial tensor; 8h has m.2m, which fixes the three axes."""
    site = next(site for site in SITES if site.element == "I" and len(site.indices) == count)
    projector = site.projector
    np.testing.assert_allclose(projector @ projector, projector, atol=1e-12)
    exact = matrix_to_six(TENSORS[site.indices[0]])
    np.testing.assert_allclose(exact @ projector, exact, atol=1e-6)
    assert round(np.trace(projector)) == free


def noisy_rows(impose, noise=0.5, frames=60, extra=0.0):
    rng = np.random.default_rng(1)
    tensors = TENSORS + extra * l2_to_cartesian(rng.normal(size=5))
    efg = matrix_to_six(tensors + l2_to_cartesian(noise * rng.normal(size=(frames, len(ATOMS), 5))))
    chunk = TensorFrames(
        np.arange(frames), np.ones((frames, 6)), efg, np.ones(efg.shape[:2]), np.zeros((*efg.shape[:2], 3))
    )
    average, series = NucleusAverage().compute(chunk), SiteSeries(SITES, frames).compute(chunk)
    rows = SiteRows(average, series, 0.1, impose_symmetry=impose)
    return {
        len(site.indices): rows.row(nucleus("127I"), number, site)
        for number, site in enumerate(SITES)
        if site.element == "I"
    }


def test_symmetrised_values_are_given_beside_the_measured_ones():
    rows = noisy_rows(False)
    exact = {8: principal_values(TENSORS[AXIS[0]]), 16: principal_values(TENSORS[PLANE[0]])}
    on_axis, in_plane = rows[8], rows[16]
    assert on_axis["eta"] > 0 and on_axis["symmetrised"]["eta"] == pytest.approx(0, abs=1e-9)
    assert on_axis["symmetrised"]["free_components"] == 1 and in_plane["symmetrised"]["free_components"] == 2
    assert on_axis["symmetrised"]["forbidden_is_noise"] and in_plane["symmetrised"]["forbidden_is_noise"]
    for count, row in rows.items():
        expected = float(nucleus("127I").coupling_mhz(exact[count][2]))
        assert abs(row["symmetrised"]["cq_MHz"] - expected) < 4 * row["symmetrised"]["cq_error_sampling_MHz"]
    imposed = noisy_rows(True)
    for count, row in imposed.items():
        assert row["cq_MHz"] == pytest.approx(rows[count]["symmetrised"]["cq_MHz"], rel=1e-9)
        assert row["symmetrised"]["forbidden_au"] == pytest.approx(0, abs=1e-9)


def test_a_tensor_that_breaks_the_symmetry_is_noticed():
    rows = noisy_rows(False, extra=1.0)
    assert not rows[8]["symmetrised"]["forbidden_is_noise"]
    assert rows[8]["symmetrised"]["forbidden_au"] > 0.3


def test_series_is_coarsened_where_memory_is_short():
    rng = np.random.default_rng(3)
    efg = rng.normal(size=(50, len(ATOMS), 6))
    chunk = TensorFrames(np.arange(50), np.ones((50, 6)), efg, np.ones(efg.shape[:2]), np.zeros((*efg.shape[:2], 3)))
    full = SiteSeries(SITES, 50).compute(chunk).series
    short = SiteSeries(SITES, 50, memory=12 * len(SITES) * 48).compute(chunk)
    assert short.frames_per_point == 5 and short.series.shape == (10, len(SITES), 6)
    np.testing.assert_allclose(short.series, full.reshape(10, 5, len(SITES), 6).mean(axis=1), atol=1e-12)
    assert six_to_matrix(full).shape[-2:] == (3, 3)


def test_nuclei_of_one_molecule_count_once():
    """Three protons that turn together tell the error no better than one: the reported one is that of the scatter."""
    rng, reported, means = np.random.default_rng(4), [], []
    site = Site("H", "N", np.arange(24), np.tile(np.eye(3), (24, 1, 1)), np.eye(3)[None])
    for _ in range(60):
        # Orientations that hardly change within the run: only the spread over molecules tells the error.
        slow = l2_to_cartesian(rng.normal(size=(8, 5)))[np.repeat(np.arange(8), 3)]
        efg = matrix_to_six(slow + l2_to_cartesian(0.1 * rng.normal(size=(40, 24, 5))))
        chunk = TensorFrames(np.arange(40), np.ones((40, 6)), efg, np.ones((40, 24)), np.zeros((40, 24, 3)))
        rows = SiteRows(
            NucleusAverage().compute(chunk),
            SiteSeries([site], 40).compute(chunk),
            0.1,
            molecules=np.repeat(np.arange(8), 3),
        )
        row = rows.row(nucleus("2H"), 0, site)
        assert row["error_from"] == "spread over nuclei" and row["degrees_of_freedom"] == 7
        reported.append(np.trace(row["covariance_au"]))
        means.append(row["tensor_au"])
    assert np.mean(reported) == pytest.approx(np.sum(np.square(means), axis=1).mean(), rel=0.25)


def test_what_symmetry_imposes_has_no_error_and_no_coupling_is_none():
    for row in noisy_rows(True).values():
        if row["symmetrised"]["free_components"] == 1:
            assert row["eta"] == 0 and row["eta_error_sampling"] == 0
            assert eta_text(row) == "0"
    cubic = Rotation.create_group("O").as_matrix()
    site = Site("N", "a", np.arange(4), np.tile(np.eye(3), (4, 1, 1)), cubic)
    efg = matrix_to_six(l2_to_cartesian(np.random.default_rng(1).normal(size=(40, 4, 5))))
    chunk = TensorFrames(np.arange(40), np.ones((40, 6)), efg, np.ones((40, 4)), np.zeros((40, 4, 3)))
    average, series = NucleusAverage().compute(chunk), SiteSeries([site], 40).compute(chunk)
    row = SiteRows(average, series, 0.1, impose_symmetry=True).row(nucleus("14N"), 0, site)
    assert row["tensor_au"] == [0.0] * 6 and row["compatible_with_zero"]
    assert coupling_text(row) == "0 by symmetry" and row["notes"] == ["zero by the symmetry of the site"]
