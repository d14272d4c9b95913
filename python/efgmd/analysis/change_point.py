"""The temperature above which an order parameter is zero, without a law for how it gets there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efgmd.analysis.magnitude import Magnitude

FloatArray = NDArray[np.float64]

#: By Markov's inequality noise alone reaches such a Bayes factor in less than one case of twenty.
EVIDENCE = 20.0
_LEVEL = 0.95
_BASE, _AROUND = 256, 65


@dataclass(frozen=True)
class ChangePoint:
    """Where a series becomes zero.

    Attributes
    ----------
    bayes_factor
        Evidence for a value other than zero at the lowest temperature at least, against zero everywhere.
    shares
        Posterior probability that exactly the lowest ``k`` temperatures are ordered, ``k = 1 ... n``, of shape
        ``(n,)``, given that there is any order.
    interval
        Temperatures (K) between which the change lies with 95 % probability; None as upper end where order up to the
        highest temperature cannot be excluded.
    """

    bayes_factor: float
    shares: FloatArray
    interval: tuple[float, float | None]

    @property
    def any_order(self) -> bool:
        """Whether the series differs from zero anywhere."""
        return self.bayes_factor >= EVIDENCE

    @property
    def ordered_throughout(self) -> bool:
        """Whether it differs from zero up to the highest temperature (95 %)."""
        return bool(self.any_order and self.shares[-1] >= _LEVEL)

    @property
    def inside(self) -> bool:
        """Whether it becomes zero within the range of temperatures (95 %)."""
        return bool(self.any_order and self.shares[-1] <= 1 - _LEVEL)


def find_change(temperatures: Sequence[float], points: Sequence[Magnitude]) -> ChangePoint:
    """Find where an order parameter vanishes on heating.

    The model: the lowest ``k`` temperatures have values above zero that fall with temperature, all falling series
    equally likely, and zero is the value of all others. ``k = 0 ... n`` are equally likely beforehand. What remains
    is integration over the values.

    Parameters
    ----------
    temperatures
        In ascending order, kelvin.
    points
        What was measured at each.
    """
    n = len(points)
    at_zero = np.array([float(point.log(0.0)) for point in points])
    values = _grid(points)
    logs = np.array([point.log(values) for point in points])
    log_evidence = np.empty(n + 1)
    log_evidence[0] = at_zero.sum()
    for ordered in range(1, n + 1):
        log_evidence[ordered] = _log_mean_likelihood(values, logs[:ordered]) + at_zero[ordered:].sum()
    top = log_evidence[1:].max()
    weights = np.exp(log_evidence[1:] - top)
    factor = float(np.exp(np.clip(top + np.log(weights.mean()) - log_evidence[0], -700, 700)))
    shares = weights / weights.sum()
    return ChangePoint(factor, shares, _interval(temperatures, shares))


def differs_somewhere(points: Sequence[Magnitude]) -> bool:
    """Whether any point is not zero (5 % level for all together)."""
    return any(point.share_below(0.0) > _each(points) for point in points)


def rises_from_zero(points: Sequence[Magnitude]) -> bool:
    """Whether a point is above an earlier one that is compatible with zero, which no falling series is.

    The intervals of the two do not touch, at the 95 % level for all points together.
    """
    lowest_zero = np.inf
    for point in points:
        low, high = point.bounds(_each(points))
        if low > lowest_zero:
            return True
        if point.is_zero:
            lowest_zero = min(lowest_zero, high)
    return False


def _each(points: Sequence[Magnitude]) -> float:
    """Level of each point for `_LEVEL` of all (Z. Sidak, J. Am. Stat. Assoc. 62, 626 (1967))."""
    return float(_LEVEL ** (1 / len(points)))


def _grid(points: Sequence[Magnitude]) -> FloatArray:
    """Values that resolve the likelihood of each point."""
    top = 1.5 * max(point.size + 3 * point.noise for point in points)
    fine = [point.size + point.noise * np.linspace(-6, 6, _AROUND) for point in points]
    return np.unique(np.clip(np.concatenate([np.linspace(0, top, _BASE), *fine]), 0.0, top))


def _log_mean_likelihood(values: FloatArray, logs: FloatArray) -> float:
    """Log of the likelihood averaged over all falling series with values from zero to the largest of ``values``.

    All in logarithms: precise points that rise make the likelihood of every falling series smaller than any number.
    """
    log_halves = np.log(np.diff(values) / 2)
    log_mean = np.zeros_like(values)
    for position, log_likelihood in enumerate(logs[::-1], start=1):
        density = log_likelihood + log_mean + np.log(position / values[-1])
        areas = log_halves + np.logaddexp(density[1:], density[:-1])
        log_mean = np.concatenate([[-np.inf], np.logaddexp.accumulate(areas)])
    return float(log_mean[-1])


def _interval(temperatures: Sequence[float], shares: FloatArray) -> tuple[float, float | None]:
    """Smallest set of gaps with 95 % probability, as one interval."""
    order = np.argsort(-shares, kind="stable")
    count = int(np.searchsorted(np.cumsum(shares[order]), _LEVEL - 1e-12)) + 1
    chosen = order[:count]
    first, last = int(chosen.min()), int(chosen.max())
    upper = float(temperatures[last + 1]) if last + 1 < len(temperatures) else None
    return float(temperatures[first]), upper
