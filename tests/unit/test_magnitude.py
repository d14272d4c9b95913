"""Lengths whose noise is estimated from few blocks: intervals and the test against zero."""

import numpy as np
import pytest
from scipy.stats import f as f_distribution
from scipy.stats import t

from efgmd.analysis.magnitude import Magnitude


@pytest.mark.parametrize("degrees", [3, 7, 40])
def test_interval_of_one_component_is_students(degrees):
    for size in (12.0, 29.0, 31.0, 200.0):
        found = Magnitude(size, 1.0, 1.0, degrees).interval
        assert found == pytest.approx(size + t.ppf([0.025, 0.975], degrees), abs=0.05)
    assert Magnitude(0.0, 1.0, 1.0, degrees).interval == pytest.approx((0.0, t.ppf(0.975, degrees)))
    assert np.diff(Magnitude(12.0, 1.0, 1.0, degrees).bounds(0.99)) > np.diff(
        Magnitude(12.0, 1.0, 1.0, degrees).interval
    )


@pytest.mark.parametrize("components", [1.0, 2.0, 3.7, 5.0])
@pytest.mark.parametrize("degrees", [3, 7, 40])
def test_lengths_are_zero_below_the_limit_of_fishers_f(components, degrees):
    limit = np.sqrt(components * f_distribution.ppf(0.95, components, components * degrees))
    assert Magnitude(0.99 * limit, 1.0, components, degrees).is_zero
    assert not Magnitude(1.01 * limit, 1.0, components, degrees).is_zero


def test_many_degrees_are_as_a_known_noise():
    for size in (0.3, 2.0, 8.0, 40.0):
        many, known = Magnitude(size, 1.0, 2.0, 1e5), Magnitude(size, 1.0, 2.0)
        assert many.interval == pytest.approx(known.interval, abs=1e-3)
        assert many.share_below(1.0) == pytest.approx(known.share_below(1.0), abs=1e-4)


@pytest.mark.parametrize(("components", "true"), [(1, 0.0), (1, 10.0), (2, 0.0), (5, 10.0)])
def test_few_blocks_keep_their_promise(components, true):
    """Means of four blocks: zeros are called different and lengths are missed in 5 % of cases at most."""
    rng = np.random.default_rng(3)
    missed, different, repetitions = 0, 0, 300
    for _ in range(repetitions):
        blocks = 2 * rng.normal(size=(4, components))
        blocks[:, 0] += true
        point = Magnitude.of_vector(blocks.mean(axis=0), np.cov(blocks.T).reshape(components, components) / 4, 3)
        low, high = point.interval
        missed += not low <= true <= high
        different += not point.is_zero
    at_most = 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / repetitions)
    assert missed / repetitions <= at_most
    assert true > 0 or different / repetitions <= at_most
