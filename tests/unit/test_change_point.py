"""Where a series of precise points becomes zero, and series that do not fall on heating."""

import numpy as np
import pytest

from efgmd.analysis.change_point import _log_mean_likelihood, differs_somewhere, find_change, rises_from_zero
from efgmd.analysis.magnitude import Magnitude
from efgmd.analysis.order_parameters import OrderParameter
from efgmd.analysis.transition import TransitionAnalysis
from efgmd.analysis.transition_words import summary


def measured(sizes, noise, seed=0, components=2):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(0, noise, (len(sizes), components))
    vectors[:, 0] += sizes
    return [Magnitude(float(size), noise, components) for size in np.linalg.norm(vectors, axis=1)]


def analyzed(sizes, noise, seed=0):
    kelvin = tuple(150.0 + 50.0 * np.arange(len(sizes)))
    points = tuple(measured(sizes, noise, seed))
    name = "lattice strain |c/a - 1|"
    return TransitionAnalysis().analyze(OrderParameter("strain", None, None, name, "%", kelvin, points, ()))


def test_mean_likelihood_of_falling_pairs_is_the_integral():
    """Of two points the mean is 2/V^2 times the integral over v1 > v2."""
    values = np.linspace(0.0, 4.0, 4001)
    points = [Magnitude(2.0, 0.3), Magnitude(1.5, 0.2)]
    found = _log_mean_likelihood(values, np.array([point.log(values) for point in points]))

    middles = np.linspace(0.0, 4.0, 1601)[1::2]
    first, second = (np.exp(point.log(middles)) for point in points)
    pairs = np.outer(first, second)
    expected = (np.tril(pairs, -1).sum() + 0.5 * np.trace(pairs)) * (middles[1] - middles[0]) ** 2
    assert found == pytest.approx(np.log(2 / 4.0**2 * expected), abs=1e-3)


@pytest.mark.parametrize("noise", [0.05, 0.02, 0.005, 1e-3])
def test_precise_points_that_are_no_falling_series_still_locate_their_end(noise):
    """The strain grows before it falls: every falling series is unlikely, by more than numbers can hold."""
    kelvin = [100.0, 150, 200, 250, 280, 310, 340, 370, 400, 430]
    change = find_change(kelvin, measured([1.0, 1.2, 1.5, 2.0, 1.8, 1.5, 0.9, 0, 0, 0], noise))
    assert change.shares[6] > 0.7 and change.shares[-1] < 0.01
    assert change.interval[0] == 340 and change.interval[1] is not None


@pytest.mark.parametrize("noise", [0.03, 0.2])
def test_order_at_high_temperatures_only_is_neither_zero_nor_order_throughout(noise):
    entry = analyzed([0, 0, 0, 0.7, 1.0, 1.2], noise)
    assert entry["state"] == "not falling" and entry["tc_K"] is None and entry["interval95_K"] is None
    assert "differs from zero at 300, 350, 400 K" in entry["text"] and "no order that falls on heating" in entry["text"]
    told = summary([entry], [150.0, 400.0])
    assert told["state"] == "not falling" and "no order falls on heating" in told["text"]


def test_order_between_zeros_is_not_falling():
    """As the tetragonal and orthorhombic strain of a crystal that is rhombohedral below and cubic above."""
    assert analyzed([0, 0, 0.7, 1.0, 0.9, 0.7, 0, 0], 0.03)["state"] == "not falling"


def test_one_point_that_differs_forbids_to_say_zero():
    entry = analyzed([0, 0, 0, 0, 0.9, 0], 0.15)
    assert entry["state"] == "not falling" and "no order found" not in entry["text"]


def test_falling_series_and_noise_are_rarely_called_not_falling():
    zeros = [analyzed(np.zeros(6), 0.1, seed)["state"] for seed in range(60)]
    assert zeros.count("zero") >= 53  # 5 % of series of noise have a point that differs
    falls = [measured([1.0, 0.8, 0.5, 0.2, 0, 0], 0.2, seed) for seed in range(60)]
    assert sum(map(rises_from_zero, falls)) <= 1
    constant = [measured(np.full(8, 0.4), 0.2, seed) for seed in range(60)]
    assert sum(map(rises_from_zero, constant)) <= 3
    assert not rises_from_zero([Magnitude(0.3, 0.5), Magnitude(1.0, 0.05)])  # a zero only by its noise
    assert not differs_somewhere([Magnitude(1.0, 0.5)] * 3) and differs_somewhere([Magnitude(2.0, 0.5)] * 3)
