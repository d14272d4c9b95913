"""Whether a run is long enough for an average, and how much longer it would have to be."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import f as f_distribution

from efgmd.analysis.statistics import FEW_INDEPENDENT, Estimate, component_degrees, statistical_inefficiency

FloatArray = NDArray[np.float64]

_DRIFT_LEVEL = 0.01
_SIGMAS = 2.0


@dataclass(frozen=True)
class Convergence:
    """What a series says about its own length.

    Attributes
    ----------
    drift_p
        Probability of a difference as large as that between the means of the two halves if there is no drift; None
        when the series has no error.
    growth
        Statistical inefficiency of the whole series over that of its halves: near 1 once the correlation time has been
        seen in full.
    reasons
        Why the run is too short, one line each; empty when nothing speaks against it.
    """

    drift_p: float | None
    growth: float
    reasons: tuple[str, ...]

    @property
    def too_short(self) -> bool:
        """Whether the run is too short for its error bars to be trusted."""
        return bool(self.reasons)


class ConvergenceCheck:
    """Looks for signs that a series is too short: few independent samples, drift, a correlation time still growing."""

    def compute(self, series: ArrayLike, estimate: Estimate) -> "ConvergenceCheck":
        """Check a series against the estimate made from it.

        Parameters
        ----------
        series
            Evenly spaced samples in time order, of shape ``(n, d)``.
        estimate
            What `BlockAverage` gave for this series.

        Sets
        ----
        found : Convergence
            The verdict.
        """
        values = np.asarray(series, dtype=np.float64)
        values = values.reshape(len(values), -1)
        half = len(values) // 2
        drift = _drift_probability(values, half, estimate)
        growth = _growth(values, half)
        reasons = []
        if estimate.n_independent < FEW_INDEPENDENT:
            reasons.append(f"only {estimate.n_independent:.0f} independent samples")
        if drift is not None and drift < _DRIFT_LEVEL:
            reasons.append(f"the mean drifts: its first and second half differ (p = {drift:.1g})")
        # Error of the logarithm of g, with a window of 2.5 g (U. Wolff, Comput. Phys. Commun. 156, 143 (2004), eq. 42).
        uncertainty = np.sqrt(10.0 * estimate.inefficiency / len(values))
        if growth > 1.0 + _SIGMAS * max(uncertainty, 0.25):
            reasons.append("the correlation time still grows with the length of the run")
        self.found = Convergence(drift, growth, tuple(reasons))
        return self


def _drift_probability(values: FloatArray, half: int, estimate: Estimate) -> float | None:
    """Compare the squared difference of the halves' means with what the error of the whole mean lets expect.

    Each half has twice the covariance of the whole, their difference four times.
    """
    if not estimate.has_error:
        return None
    difference = values[half:].mean(axis=0) - values[:half].mean(axis=0)
    size = 4.0 * np.trace(estimate.covariance)
    if not size > 0.0:
        return 1.0 if not np.any(difference) else 0.0
    effective = component_degrees(estimate)
    return float(f_distribution.sf(difference @ difference / size, effective / estimate.degrees, effective))


def _growth(values: FloatArray, half: int) -> float:
    if half < 2:
        return 1.0
    halves = 0.5 * (statistical_inefficiency(values[:half]) + statistical_inefficiency(values[half:]))
    return statistical_inefficiency(values) / halves


def longer_factor(error: float, target: float) -> float:
    """How many times longer a run must be for ``target``: errors fall with the root of its length; 1 if reached."""
    return max(1.0, (error / target) ** 2)
