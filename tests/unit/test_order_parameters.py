"""Which order parameters a campaign has, with which noise, and what is said about values that are missing."""

import json
from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import report_results
from landau_campaign import power_law, write_landau_campaign

from efgmd.analysis.lattice import LatticeAverage
from efgmd.analysis.order_parameters import order_parameters
from efgmd.analysis.results import analyze_campaign
from efgmd.analysis.transition import TransitionAnalysis
from efgmd.errors import StoreError
from efgmd.store import Store

FEW = (250.0, 300.0, 350.0)
MORE = (250.0, 275.0, 300.0, 325.0, 337.5, 350.0, 400.0)


@cache
def _made_up(temperatures):
    return report_results.results(temperatures)


def results(temperatures=MORE):
    return deepcopy(_made_up(temperatures))


def analyzed(content, choices=None):
    return TransitionAnalysis(choices).compute(content).entry


def series_of(content, kind, choices=None):
    return [found for found in order_parameters(content, choices) if found.kind == kind]


def set_lattice(content, lengths=None, covariance=None, gamma=None):
    for entry in content["temperatures"]:
        lattice = entry["lattice"]
        for name, value in zip("abc", lengths or (), strict=False):
            lattice["pseudocubic"][name]["mean"] = value
        if covariance is not None:
            lattice["pseudocubic_covariance"] = np.asarray(covariance).tolist()
        if gamma is not None:
            lattice["supercell"]["gamma"]["mean"] = gamma
    return content


# ---- the noise of a strain


def test_noise_of_a_strain_is_that_of_lengths_which_move_against_each_other():
    """A volume that is kept makes the lengths anticorrelated: independent errors of the three are too small."""
    against = 1e-4 * (np.eye(3) - 1 / 3)
    together = 1e-4 * np.full((3, 3), 1 / 3) + 1e-6 * np.eye(3)
    scale = 100 * np.sqrt(1.5)
    for covariance, variance in ((against, 1e-4), (together, 1e-6)):
        (strain,) = series_of(set_lattice(results(FEW), (1.0, 1.0, 1.01), covariance), "strain", [{"kind": "strain"}])
        for point in strain.points:
            assert point.components == pytest.approx(2.0) and point.degrees == 40
            assert point.noise == pytest.approx(scale * np.sqrt(variance), rel=0.01)


def test_scatter_of_strains_is_what_their_noise_says():
    """Runs of a cubic cell that differ in their noise alone; their lengths move against each other and slowly."""
    rng = np.random.default_rng(5)
    mixed = 0.06 * np.linalg.cholesky(1.45 * np.eye(3) - 0.45)
    content = results(FEW)
    points = []
    for _ in range(40):
        shaken = np.convolve(rng.normal(size=(3 * 600)), [0.6, 0.5, 0.4, 0.3], mode="same").reshape(3, 600)
        cells = np.concatenate([12.6 + (mixed @ shaken).T, np.zeros((600, 3))], axis=1)
        per_cell = LatticeAverage((2, 2, 2)).compute(cells).means.per_cell
        set_lattice(content, tuple(per_cell.mean), per_cell.covariance)
        points.append(series_of(content, "strain", [{"kind": "strain"}])[0].points[0])
    found = np.mean([point.size**2 for point in points])
    stated = np.mean([point.components * point.noise**2 for point in points])
    assert 0.6 < found / stated < 1.5  # with independent lengths 1.45 times as large


def test_results_hold_the_covariance_of_the_lengths(tmp_path):
    record = write_landau_campaign(tmp_path, power_law(0.25), temperatures=(260.0, 300.0, 380.0), seed=6)
    found = analyze_campaign(tmp_path, record)
    for entry in found["temperatures"]:
        cells = Store(tmp_path / entry["folder"] / "efg.h5").sample("cell")
        per_cell = LatticeAverage(tuple(entry["lattice"]["cells"])).compute(cells).means.per_cell
        np.testing.assert_allclose(entry["lattice"]["pseudocubic_covariance"], per_cell.covariance)
        assert entry["lattice"]["pseudocubic_degrees"] == per_cell.degrees
    strain = next(entry for entry in found["transition"]["order_parameters"] if entry["kind"] == "strain")
    assert [point["degrees"] for point in strain["points"]] == [
        entry["lattice"]["pseudocubic_degrees"] for entry in found["temperatures"]
    ]


def test_results_without_covariance_ask_for_another_analysis():
    content = results(FEW)
    for entry in content["temperatures"]:
        del entry["lattice"]["pseudocubic_covariance"]
    with pytest.raises(StoreError, match="efgmd analyze") as caught:
        order_parameters(content)
    assert "\n" not in str(caught.value)
    assert order_parameters(content, [{"kind": "splitting", "nucleus": "127I"}])


# ---- where a strain is suggested


def test_strain_is_suggested_for_cells_that_are_cubic_at_some_temperature():
    assert series_of(results(FEW), "strain")
    assert not series_of(set_lattice(results(FEW), (6.3, 6.3, 6.55)), "strain")  # tetragonal at all
    assert not series_of(set_lattice(results(FEW), gamma=120.0), "strain")


def test_strain_is_not_suggested_for_lengths_that_do_not_vary():
    """Constant volume gives errors that are zero, not unknown; so does one pressure for all three lengths."""
    for covariance in (np.zeros((3, 3)), 1e-4 * np.ones((3, 3))):
        content = set_lattice(results(FEW), (6.3, 6.3, 6.3), covariance)
        assert not series_of(content, "strain")
        entry = analyzed(content, [{"kind": "strain"}])["order_parameters"][0]
        assert "fixed, or vary only together" in entry["text"] and "too few samples" not in entry["text"]
        assert len(entry["left_out"]) == 3


def test_unknown_errors_are_too_few_samples():
    content = results(FEW)
    for entry in content["temperatures"]:
        entry["lattice"] |= {"pseudocubic_covariance": None, "pseudocubic_degrees": 0}
    assert not series_of(content, "strain")
    (strain,) = series_of(content, "strain", [{"kind": "strain"}])
    assert strain.left_out == tuple(f"{kelvin:g} K: too few samples for an error" for kelvin in FEW)


def test_suggested_order_that_never_vanishes_does_not_disagree():
    """Two sites that symmetry never makes equal, beside a coupling that vanishes."""
    content = results()
    iodine = [site for site in content["temperatures"][0]["sites"] if site["nucleus"] == "127I"]
    for entry in content["temperatures"]:
        entry["sites"] = [*iodine, *(site for site in entry["sites"] if site["nucleus"] != "127I")]
        entry["merged_sites"] = []
    suggested = analyzed(content)
    states = {found["kind"]: found["state"] for found in suggested["order_parameters"]}
    assert states["splitting"] == "ordered" and states["coupling"] == "transition"
    assert suggested["agreement"]["agree"] is True
    assert "not zero at any temperature: Cq splitting of 127I" in suggested["agreement"]["text"]
    chosen = analyzed(content, [{"kind": "splitting", "nucleus": "127I"}, {"kind": "coupling", "nucleus": "14N"}])
    assert chosen["agreement"]["agree"] is False


# ---- values that are missing


def test_temperatures_with_too_many_sites_are_named_with_the_reason():
    content = results()
    for entry in content["temperatures"][-3:-1]:
        row = next(row for row in entry["sites"] if row["nucleus"] == "127I")
        entry["sites"] = [row for row in entry["sites"] if row["nucleus"] != "127I"]
        entry["sites"] += [dict(row, site=str(number), count=1) for number in range(24)]
        entry["merged_sites"] = []
    choices = [{"kind": kind, "nucleus": "127I"} for kind in ("splitting", "asymmetry", "coupling")]
    reason = "24 sites of 127I, more than symmetry can tell apart"
    for found in order_parameters(content, choices):
        assert len(found.points) == len(content["temperatures"]) - 2
        assert found.left_out == (f"337.5 K: {reason}", f"350 K: {reason}")


@pytest.mark.parametrize("kind", ["coupling", "asymmetry"])
def test_sites_that_do_not_exist_are_said_to(kind):
    transition = analyzed(results(FEW), [{"kind": kind, "nucleus": "127I", "site": "16z"}, {"kind": "strain"}])
    missing = transition["order_parameters"][0]
    assert missing["state"] == "too few" and missing["points"] == [] and missing["site"] == "16z"
    assert "127I 16z" in missing["text"] and "no such site, only 4a and 8h" in missing["text"]
    assert len(missing["left_out"]) == 3
    json.dumps(transition, allow_nan=False)


def test_sites_that_do_exist_are_as_before():
    (found,) = order_parameters(results(FEW), [{"kind": "coupling", "nucleus": "127I", "site": "8h"}])
    assert found.site == "8h" and len(found.points) == 3 and not found.left_out


def test_a_nucleus_without_any_usable_site_is_named():
    content = results(FEW)
    for entry in content["temperatures"]:
        row = next(row for row in entry["sites"] if row["nucleus"] == "127I")
        entry["sites"] = [dict(row, site=str(number), count=1) for number in range(9)]
        entry["merged_sites"] = []
    for kind in ("coupling", "asymmetry", "splitting"):
        (found,) = order_parameters(content, [{"kind": kind, "nucleus": "127I"}])
        assert found.points == () and all("9 sites of 127I" in line for line in found.left_out)
