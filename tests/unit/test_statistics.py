"""Error bars against series whose truth is known."""

import numpy as np
import pytest
from scipy.signal import lfilter

from efgmd.analysis.couplings import compatible_with_zero, coupling
from efgmd.analysis.model_error import model_estimate
from efgmd.analysis.statistics import BlockAverage, Estimate, mean_over_members, statistical_inefficiency
from efgmd.errors import DataError
from efgmd.nuclei import nucleus
from efgmd.tensors import asymmetry, l2_to_cartesian, matrix_to_six, principal_values


def correlated(n, tau, width, rng):
    """Gaussian series of shape (n, width), zero mean, unit variance, correlation time tau."""
    decay = np.exp(-1 / tau)
    values = rng.normal(size=(n, width))
    values[1:] *= np.sqrt(1 - decay**2)
    for i in range(1, n):
        values[i] += decay * values[i - 1]
    return values


def axial(vzz, eta):
    return np.diag([-vzz * (1 - eta) / 2, -vzz * (1 + eta) / 2, vzz])


@pytest.mark.parametrize("tau", [1.0, 5.0, 20.0])
def test_inefficiency_of_an_exponential_correlation(tau):
    found = [statistical_inefficiency(correlated(20000, tau, 1, np.random.default_rng(k))) for k in range(4)]
    exact = (1 + np.exp(-1 / tau)) / (1 - np.exp(-1 / tau))
    assert np.mean(found) == pytest.approx(exact, rel=0.15)


def test_inefficiency_of_white_noise_and_of_a_constant():
    assert statistical_inefficiency(np.random.default_rng(0).normal(size=5000)) == pytest.approx(1.0, abs=0.15)
    assert statistical_inefficiency(np.ones(50)) == 1.0


@pytest.mark.parametrize("tau", [0.2, 3.0, 10.0])
def test_block_errors_cover_the_truth(tau):
    from scipy.stats import t as student

    rng, covered, runs = np.random.default_rng(7), 0, 300
    for _ in range(runs):
        estimate = BlockAverage().compute(correlated(400, tau, 1, rng)).estimate
        covered += abs(estimate.mean[0]) < estimate.error[0] * student.ppf(0.975, estimate.degrees)
    assert 0.90 < covered / runs < 0.99


@pytest.mark.parametrize("decay", [0.08, 0.5, 0.95])
def test_squared_error_of_the_mean_is_its_variance(decay):
    """On average over many series with correlation ``decay^lag``, for blocks of one sample and for longer ones.

    With 60 blocks or more of five components each, the average over 150 series has an error of 1 % or less.
    """
    rng, n, runs = np.random.default_rng(10), 6000, 150
    squares = []
    for _ in range(runs):
        noise = rng.normal(size=(n, 5))
        noise[1:] *= np.sqrt(1 - decay**2)
        squares.append(BlockAverage().compute(lfilter([1.0], [1.0, -decay], noise, axis=0)).estimate.error ** 2)
    lags = np.arange(1, n)
    exact = (1 + 2 * np.sum((1 - lags / n) * decay**lags)) / n
    assert np.mean(squares) == pytest.approx(exact, rel=0.05)


def test_short_series_have_no_error():
    estimate = BlockAverage().compute([1.0, 2.0, 3.0]).estimate
    assert not estimate.has_error and np.isnan(estimate.error[0]) and estimate.mean[0] == 2.0


def test_results_before_compute_and_bad_series_are_refused():
    with pytest.raises(DataError, match="compute"):
        BlockAverage().estimate  # noqa: B018
    with pytest.raises(DataError, match="not finite"):
        BlockAverage().compute([1.0, np.nan])
    with pytest.raises(DataError, match="empty"):
        BlockAverage().compute([])


def test_error_over_members_is_the_standard_error():
    values = np.random.default_rng(3).normal(size=(8, 2))
    estimate = mean_over_members(values)
    np.testing.assert_allclose(estimate.error, values.std(axis=0, ddof=1) / np.sqrt(8))
    assert not mean_over_members(values[:3]).has_error


@pytest.mark.parametrize(("vzz", "eta"), [(1.0, 0.3), (-1.0, 0.0), (1.0, 0.9)])
def test_coupling_intervals_cover_the_truth(vzz, eta):
    truth = principal_values(axial(vzz, eta))
    iodine = nucleus("127I")
    rng, runs, inside = np.random.default_rng(11), 120, np.zeros(2)
    for _ in range(runs):
        noise = matrix_to_six(l2_to_cartesian(0.1 * correlated(200, 4.0, 5, rng)))
        found = coupling(iodine, BlockAverage().compute(matrix_to_six(axial(vzz, eta)) + noise).estimate)
        exact = float(iodine.coupling_mhz(truth[2])) if found.sign_known else abs(float(iodine.coupling_mhz(truth[2])))
        inside += [
            found.cq_interval[0] <= exact <= found.cq_interval[1],
            found.eta_interval[0] <= asymmetry(truth) + 1e-9 and asymmetry(truth) - 1e-9 <= found.eta_interval[1],
        ]
        assert not found.is_zero
    assert np.all(inside / runs > 0.85)


def test_noise_alone_is_called_compatible_with_zero():
    rng, runs, zero, raw, debiased = np.random.default_rng(5), 100, 0, [], []
    for _ in range(runs):
        series = matrix_to_six(l2_to_cartesian(correlated(200, 4.0, 5, rng)))
        found = coupling(nucleus("14N"), BlockAverage().compute(series).estimate)
        zero += found.is_zero
        raw.append(abs(found.cq))
        debiased.append(abs(found.cq_debiased))
        if found.is_zero:
            assert found.cq_interval[0] == 0.0 and found.cq_interval[1] > abs(found.cq)
            assert any("compatible with zero" in note for note in found.notes)
    assert zero / runs > 0.85
    assert np.mean(debiased) < 0.5 * np.mean(raw)


def test_debiased_coupling_is_unbiased_where_the_signal_is_weak():
    rng, vzz, values, raw = np.random.default_rng(6), 0.5, [], []
    for _ in range(150):
        noise = matrix_to_six(l2_to_cartesian(rng.normal(size=(100, 5))))
        estimate = BlockAverage().compute(matrix_to_six(axial(vzz, 0.0)) + noise).estimate
        found = coupling(nucleus("14N"), estimate)
        values.append(found.cq_debiased)
        raw.append(found.cq)
    truth = float(nucleus("14N").coupling_mhz(vzz))
    assert abs(np.mean(values) - truth) < 0.03 * truth
    assert np.mean(values) < np.mean(raw)


def test_error_of_a_coupling_matches_its_scatter():
    rng, found = np.random.default_rng(8), []
    for _ in range(150):
        noise = matrix_to_six(l2_to_cartesian(0.3 * rng.normal(size=(100, 5))))
        estimate = BlockAverage().compute(matrix_to_six(axial(1.0, 0.4)) + noise).estimate
        found.append(coupling(nucleus("2H"), estimate))
    scatter = np.std([item.cq for item in found])
    assert np.mean([item.cq_error for item in found]) == pytest.approx(scatter, rel=0.15)
    eta_scatter = np.std([item.eta for item in found])
    assert np.mean([item.eta_error for item in found]) == pytest.approx(eta_scatter, rel=0.15)


@pytest.mark.parametrize("free", [1, 2, 3, 5])
def test_zero_is_tested_in_the_components_that_symmetry_leaves(free):
    """5 % of noise is taken for a coupling, and a signal of four standard errors in one component is not noise."""
    axes = np.linalg.qr(np.random.default_rng(7).normal(size=(5, 5)))[0][:free]
    rng, runs, noise, signal = np.random.default_rng(9), 600, 0, 0
    for _ in range(runs):
        series = rng.normal(size=(100, free))
        for kick in (0.0, 0.5):  # five standard errors of the mean
            moved = (series + kick * np.eye(free)[0]) @ axes
            found = compatible_with_zero(BlockAverage().compute(matrix_to_six(l2_to_cartesian(moved))).estimate)
            noise, signal = noise + found * (kick == 0), signal + found * (kick > 0)
    assert noise / runs == pytest.approx(0.95, abs=0.03)
    assert signal / runs < (0.02 if free < 3 else 0.1)


@pytest.mark.parametrize("count", [2, 3])
def test_coupling_of_the_smallest_committees(count):
    members = np.random.default_rng(2).normal(0, 0.01, (count, 5))
    deviations = matrix_to_six(l2_to_cartesian(members - members.mean(axis=0)))
    found = coupling(nucleus("127I"), model_estimate(matrix_to_six(axial(3.0, 0.1)), deviations, 1.0))
    assert found.cq_error > 0 and found.cq_interval[0] < found.cq < found.cq_interval[1] and not found.is_zero


def test_error_of_nqr_lines_matches_their_scatter():
    """Lines nu+ and nu- of a spin 1 share the error of Cq, nu0 = eta Cq/2 has nearly all of its from eta."""
    rng, found = np.random.default_rng(4), []
    for _ in range(200):
        noise = matrix_to_six(l2_to_cartesian(0.2 * rng.normal(size=(100, 5))))
        found.append(coupling(nucleus("14N"), BlockAverage().compute(matrix_to_six(axial(1.0, 0.4)) + noise).estimate))
    scatter = np.std([item.nqr for item in found], axis=0)
    np.testing.assert_allclose(np.mean([item.nqr_error for item in found], axis=0), scatter, rtol=0.15)


def test_what_symmetry_forbids_is_zero_without_an_error():
    mean, covariance = matrix_to_six(axial(1.0, 0.0)), np.diag([0.25, 0.25, 1.0, 0, 0, 0]) * 1e-4
    covariance[:3, :3] = 1e-4 * np.outer([-0.5, -0.5, 1.0], [-0.5, -0.5, 1.0])
    rounding = 1e-17 * np.array([1.0, -1, 0, 1, 0, 0])
    found = coupling(nucleus("14N"), Estimate(mean + rounding, covariance, 30, 1.0, 31.0))
    assert (found.eta, found.eta_error, found.eta_interval) == (0.0, 0.0, (0.0, 0.0)) and found.cq_error > 0
    assert found.notes == ("eta is zero by the symmetry of the site",)
    nothing = coupling(nucleus("14N"), Estimate(np.zeros(6), np.zeros((6, 6)), 30, 1.0, 31.0))
    assert nothing.is_zero and nothing.cq_interval == (0.0, 0.0) and nothing.nqr == ()
    assert nothing.notes == ("zero by the symmetry of the site",)
