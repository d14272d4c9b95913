"""Error bars of tensors with noise of known correlation time: how often the truth lies inside, and what flags say."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import t as student

from efgmd.analysis.convergence import ConvergenceCheck, longer_factor
from efgmd.analysis.couplings import coupling
from efgmd.analysis.model_error import model_estimate, total_estimate
from efgmd.analysis.statistics import BlockAverage, Estimate, combine, mean_over_members
from efgmd.errors import DataError
from efgmd.nuclei import nucleus
from efgmd.tensors import l2_to_cartesian, matrix_to_six, principal_values, six_to_matrix

REPETITIONS = 400
IODINE = nucleus("127I")


def autoregressive(shape, tau, rng):
    """Gaussian noise of unit variance along the first axis, with correlation exp(-lag/tau)."""
    decay = np.exp(-1 / tau)
    noise = rng.normal(size=shape)
    noise[1:] *= np.sqrt(1 - decay**2)
    return lfilter([1.0], [1.0, -decay], noise, axis=0)


def tensor(vzz, eta):
    return np.diag([-vzz * (1 - eta) / 2, -vzz * (1 + eta) / 2, vzz])


def within(share):
    """95 +- 3 %."""
    return 0.92 <= share <= 0.98


@pytest.mark.parametrize(("n", "tau"), [(400, 0.2), (400, 3.0), (400, 10.0), (2000, 25.0)])
def test_intervals_of_the_components_cover_the_truth(n, tau):
    rng, inside = np.random.default_rng(1), 0.0
    for _ in range(REPETITIONS):
        series = matrix_to_six(tensor(1.0, 0.3) + l2_to_cartesian(0.5 * autoregressive((n, 5), tau, rng)))
        estimate = BlockAverage().compute(series).estimate
        deviation = np.abs(estimate.mean - matrix_to_six(tensor(1.0, 0.3)))
        inside += np.mean(deviation < estimate.error * student.ppf(0.975, estimate.degrees))
    assert within(inside / REPETITIONS)


@pytest.mark.parametrize(
    ("vzz", "eta", "noise", "nuclei"), [(1.0, 0.3, 0.1, 1), (-1.0, 0.0, 0.1, 1), (1.0, 0.5, 0.3, 8), (1.0, 0.9, 0.1, 1)]
)
def test_intervals_of_cq_and_eta_cover_the_truth(vzz, eta, noise, nuclei):
    """Also where they are skewed or bounded: eta = 0, and eta near 1, where the sign of Vzz is uncertain."""
    rng, inside = np.random.default_rng(2), np.zeros(2)
    exact = float(IODINE.coupling_mhz(vzz))
    for _ in range(REPETITIONS):
        fluctuations = l2_to_cartesian(noise * autoregressive((400, nuclei, 5), 4.0, rng))
        series = matrix_to_six(tensor(vzz, eta) + fluctuations)
        over_time = BlockAverage().compute(series.mean(axis=1)).estimate
        found = coupling(IODINE, combine(over_time, mean_over_members(series.mean(axis=0)))[0])
        truth = exact if found.sign_known else abs(exact)
        low, high = found.eta_interval
        inside += [found.cq_interval[0] <= truth <= found.cq_interval[1], low - 1e-9 <= eta <= high + 1e-9]
        assert 0.0 <= low <= high <= 1.0
    assert within(inside[0] / REPETITIONS)
    assert within(inside[1] / REPETITIONS)


@pytest.mark.parametrize("vzz", [0.0, 0.15])
def test_squared_coupling_is_unbiased_down_to_zero(vzz):
    """The mean tensor itself is too long on average; its squared norm less that of the noise is not."""
    rng, values, errors, raw = np.random.default_rng(3), [], [], []
    for _ in range(REPETITIONS):
        series = matrix_to_six(tensor(vzz, 0.4) + l2_to_cartesian(autoregressive((400, 5), 2.0, rng)))
        found = coupling(IODINE, BlockAverage().compute(series).estimate)
        values.append(found.pq_squared)
        errors.append(found.pq_squared_error)
        raw.append(found.cq**2 * (1 + found.eta**2 / 3))
    exact = float(IODINE.coupling_mhz(vzz)) ** 2 * (1 + 0.4**2 / 3)
    standard = np.std(values) / np.sqrt(REPETITIONS)
    assert abs(np.mean(values) - exact) < 3 * standard
    assert np.mean(raw) - exact > 10 * standard  # what is not corrected is seen to be wrong
    assert 0.9 < np.mean(errors) / np.std(values) < 1.35  # a floor keeps the error from vanishing: too large near zero
    assert vzz > 0 or 0.3 < np.mean(np.array(values) < 0) < 0.7


def test_two_sites_that_exchange_average_to_the_mean_of_their_tensors():
    """Nuclei that hop between two orientations with known rates: exact mean tensor, exact correlation time."""
    rng, nuclei, frames, to_b, to_a = np.random.default_rng(4), 8, 40000, 0.02, 0.05
    first, second = np.diag([-0.5, -0.5, 1.0]), np.diag([1.0, -0.5, -0.5])  # the axis turns by 90 degrees
    share = to_b / (to_a + to_b)
    inside = rng.random(nuclei) < share
    states = np.empty((frames, nuclei), dtype=bool)
    for frame in range(frames):
        states[frame] = inside
        inside = np.where(inside, rng.random(nuclei) >= to_a, rng.random(nuclei) < to_b)
    series = matrix_to_six(np.where(states[..., None, None], second, first)).mean(axis=1)
    estimate = BlockAverage().compute(series).estimate
    found = coupling(IODINE, estimate)
    values = principal_values((1 - share) * first + share * second)
    assert found.cq == pytest.approx(float(IODINE.coupling_mhz(values[2])), abs=4 * found.cq_error)
    assert abs(found.eta - (values[0] - values[1]) / values[2]) < 4 * found.eta_error
    assert abs(found.cq) < 0.8 * abs(float(IODINE.coupling_mhz(1.0)))  # not the Cq of either site
    # Two-state process: correlation (1 - a - b)^lag.
    decay = 1 - to_a - to_b
    assert estimate.inefficiency == pytest.approx((1 + decay) / (1 - decay), rel=0.15)


def test_equal_errors_are_pooled_and_different_ones_are_not():
    rng = np.random.default_rng(5)
    small, large = (
        Estimate(np.zeros(6), variance * np.eye(6), degrees, 1.0, 100.0) for variance, degrees in ((1.0, 40), (9.0, 20))
    )
    assert combine(small, large)[1] == "spread over nuclei"
    assert combine(large, small)[1] == "time blocks"
    pooled, origin = combine(small, Estimate(np.ones(6), 1.3 * np.eye(6), 20, 1.0, 21.0))
    assert origin == "time blocks and nuclei" and pooled.degrees == 60
    np.testing.assert_allclose(np.diag(pooled.covariance), (40 * 1.0 + 20 * 1.3) / 60)
    np.testing.assert_array_equal(pooled.mean, small.mean)
    few = mean_over_members(rng.normal(size=(2, 6)))
    assert combine(small, few)[1] == "time blocks"


def flags(series):
    return ConvergenceCheck().compute(series, BlockAverage().compute(series).estimate).found


def test_long_runs_are_rarely_called_too_short_and_short_ones_are():
    rng = np.random.default_rng(6)
    long = [flags(autoregressive((4000, 5), 5.0, rng)) for _ in range(200)]
    assert np.mean([found.too_short for found in long]) < 0.05
    assert np.mean([found.drift_p for found in long]) == pytest.approx(0.5, abs=0.08)
    short = [flags(autoregressive((400, 5), 150.0, rng)) for _ in range(100)]
    assert np.mean([found.too_short for found in short]) > 0.95
    drifting = np.linspace(0, 2, 2000)[:, None] * [1, 0, 0, 0, 0] + autoregressive((2000, 5), 3.0, rng)
    assert flags(drifting).too_short and flags(drifting).drift_p < 1e-3
    step = autoregressive((2000, 5), 3.0, rng)
    step[1000:, 0] += 0.5
    assert flags(step).too_short


def test_longer_run_reaches_the_target():
    """The promise is kept by a run that is that much longer."""
    rng, errors, longer = np.random.default_rng(7), [], []
    for _ in range(60):
        first = coupling(IODINE, BlockAverage().compute(noisy(500, rng)).estimate)
        factor = longer_factor(first.cq_error, first.cq_error / 2)
        assert factor == pytest.approx(4.0)
        errors.append(first.cq_error)
        longer.append(coupling(IODINE, BlockAverage().compute(noisy(2000, rng)).estimate).cq_error)
    assert np.mean(longer) == pytest.approx(np.mean(errors) / 2, rel=0.07)
    assert longer_factor(1.0, 2.0) == 1.0


def noisy(n, rng):
    return matrix_to_six(tensor(1.0, 0.4) + l2_to_cartesian(0.3 * autoregressive((n, 5), 3.0, rng)))


def test_model_error_is_the_calibrated_spread_of_the_members_means():
    """Members that are off by known amounts: the spread of Cq over committees, and no help from longer sampling."""
    rng, members, size, scale = np.random.default_rng(8), 4, 0.02, 1.5
    truth = tensor(1.0, 0.4)
    predicted, scatter = [], []
    for _ in range(150):
        offsets = l2_to_cartesian(size * rng.normal(size=(members, 5)))
        deviations = matrix_to_six(offsets - offsets.mean(axis=0))
        estimate = model_estimate(matrix_to_six(truth), deviations, scale)
        predicted.append(coupling(IODINE, estimate).cq_error)
        # A model whose own error is scale times the spread of the members.
        off = truth + l2_to_cartesian(scale * size * rng.normal(size=5))
        scatter.append(float(IODINE.coupling_mhz(principal_values(off)[2])))
    # Few members: the 68 % interval of a t distribution with three degrees of freedom is 1.2 standard deviations.
    assert np.median(predicted) == pytest.approx(1.2 * np.std(scatter), rel=0.15)
    with pytest.raises(DataError, match="at least two members"):
        model_estimate(np.zeros(6), np.zeros((1, 6)), 1.0)


def test_sampling_and_model_errors_add_in_squares():
    sampling = Estimate(matrix_to_six(tensor(1.0, 0.3)), 1e-4 * np.eye(6), 50, 2.0, 40.0)
    model = Estimate(sampling.mean, 3e-4 * np.eye(6), 3, 1.0, 4.0)
    both = total_estimate(sampling, model)
    np.testing.assert_allclose(both.covariance, 4e-4 * np.eye(6))
    assert both.degrees == int(16 / (1 / 50 + 9 / 3))
    assert coupling(IODINE, both).cq_error > coupling(IODINE, model).cq_error > coupling(IODINE, sampling).cq_error
    assert six_to_matrix(both.mean)[2, 2] == 1.0
