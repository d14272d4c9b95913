"""Correlation times: how far to integrate, the integral, and fits of one exponential and of a stretched one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.optimize import curve_fit
from scipy.special import gamma

from efgmd.analysis.correlation import EFGCorrelation
from efgmd.errors import DataError

FloatArray = NDArray[np.float64]

_NEGLIGIBLE = 0.005
_BEYOND = 1.5
_FIT_POINTS = 120
_LEFT_AT_FIRST_LAG = 0.7


@dataclass(frozen=True)
class Fit:
    """A fitted correlation function.

    Attributes
    ----------
    amplitude
        Share of the variance that decays as the fitted function; the rest is faster than the sampling.
    tau_ps
        Time constant: of ``amplitude exp(-t/tau)``, or of ``amplitude exp(-(t/tau)^beta)``.
    beta
        Stretching exponent; 1 for one exponential.
    mean_tau_ps
        Integral of the fitted function over its amplitude, ``tau/beta Gamma(1/beta)``.
    """

    amplitude: float
    tau_ps: float
    beta: float
    mean_tau_ps: float


class CorrelationTime:
    """Correlation time of the fluctuating EFG tensor, from the rotationally invariant function.

    ``tau`` is the integral of the normalised function. The integration ends at 1.5 times the first lag from which on
    the next stretch of the same length adds less than its own error, or less than 0.5 %: without the factor, chance
    would end it too early. Unlike a window of a few correlation times this does not stop between a fast vibration and
    a slow motion that follows it.
    """

    def __init__(self) -> None:
        self._tau: tuple[float, float] | None = None

    def compute(self, correlation: EFGCorrelation) -> "CorrelationTime":
        """Integrate and fit.

        Raises
        ------
        DataError
            When the tensors do not fluctuate at all.
        """
        lags = correlation.lags_ps
        variance = float(np.trace(correlation.matrix[0]))
        if not variance > 0:
            raise DataError(
                "the tensors of a site do not fluctuate, so they have no correlation time: leave out its nucleus"
            )
        cut = np.unique(np.geomspace(2, max(2, (len(lags) - 1) // 2), 60).astype(int))
        cut = cut[2 * cut < len(lags)]

        def integrals(matrix: FloatArray) -> FloatArray:
            return cumulative_trapezoid(_invariant(matrix), lags, initial=0.0)

        so_far = integrals(correlation.matrix)[cut]
        added, error = correlation.estimate(lambda matrix: integrals(matrix)[2 * cut] - integrals(matrix)[cut])
        small = np.abs(added) <= np.fmax(_NEGLIGIBLE * np.abs(so_far), np.nan_to_num(error))
        self._resolved = bool(small.any())
        self._window = int(_BEYOND * cut[np.argmax(small)]) if self._resolved else len(lags) - 1
        tau, tau_error = correlation.estimate(lambda matrix: integrals(matrix)[self._window])
        self._tau = float(tau), float(tau_error)
        self._window_ps = float(lags[self._window])
        self._first = float(_invariant(correlation.matrix)[1])
        self._lags, self._function = lags, _invariant(correlation.matrix)
        return self

    def _done(self) -> tuple[float, float]:
        if self._tau is None:
            raise DataError("call compute(correlation) before asking for its results")
        return self._tau

    @property
    def tau_ps(self) -> float:
        """Integral correlation time, ps; a lower bound when not `resolved`."""
        return self._done()[0]

    @property
    def error_ps(self) -> float:
        """Standard error of `tau_ps` (jackknife)."""
        return self._done()[1]

    @property
    def window(self) -> int:
        """Lag index at which the integration ends."""
        self._done()
        return self._window

    @property
    def window_ps(self) -> float:
        """Lag at which the integration ends, ps."""
        self._done()
        return self._window_ps

    @property
    def resolved(self) -> bool:
        """Whether the function has decayed within the lags; if not, motion is slower than the run, or static."""
        self._done()
        return self._resolved

    @property
    def sampled_finely(self) -> bool:
        """Whether less than 30 % of the fluctuation is lost within one sampling interval.

        If not, vibrations are sampled too rarely, and integrals count them with errors of the order of their share
        times the interval.
        """
        self._done()
        return self._first > _LEFT_AT_FIRST_LAG

    def fit(self, stretched: bool = False) -> Fit:
        """Fit ``A exp(-t/tau)`` or ``A exp(-(t/tau)^beta)`` to the lags from one interval to the end of the window.

        Raises
        ------
        DataError
            Before `compute`, or when the fit fails: the function is not of this form.
        """
        tau, _ = self._done()
        last = max(self._window, 4)
        chosen = np.unique(np.geomspace(1, min(last, len(self._lags) - 1), _FIT_POINTS).astype(int))
        times, values = self._lags[chosen], self._function[chosen]

        def model(t: FloatArray, amplitude: float, log_tau: float, beta: float = 1.0) -> FloatArray:
            return np.asarray(amplitude * np.exp(-((t / np.exp(log_tau)) ** beta)))

        guess = [min(max(self._first, 0.1), 1.0), np.log(max(tau, self._lags[1]))]
        low, high = [0.0, np.log(self._lags[1] / 100)], [2.0, np.log(1e4 * self._lags[-1])]
        if stretched:
            guess, low, high = [*guess, 0.8], [*low, 0.1], [*high, 2.0]
        try:
            found, _ = curve_fit(model, times, values, p0=np.clip(guess, low, high), bounds=(low, high))
        except (RuntimeError, ValueError) as error:
            kind = "a stretched exponential" if stretched else "one exponential"
            raise DataError(f"the correlation function cannot be fitted by {kind}: {error}") from error
        beta = float(found[2]) if stretched else 1.0
        time = float(np.exp(found[1]))
        return Fit(float(found[0]), time, beta, float(time / beta * gamma(1 / beta)))


def _invariant(matrix: FloatArray) -> FloatArray:
    """Normalised trace: the rotationally invariant correlation function, 1 at lag 0, of shape ``(n_lags,)``."""
    trace = np.einsum("taa->t", matrix)
    return np.asarray(trace / trace[0])
