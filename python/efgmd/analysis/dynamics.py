"""Dynamics of one site: from a series of tensors to correlation times, spectral densities, T1 and T2."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid

from efgmd.analysis.correlation import EFGCorrelation, TensorSeries, field_weights
from efgmd.analysis.correlation_time import CorrelationTime
from efgmd.analysis.relaxation import Decay, QuadrupolarRelaxation
from efgmd.errors import DataError
from efgmd.nuclei import Nucleus

FloatArray = NDArray[np.float64]

_PS = 1e-12
#: ``2 pi Cq tau`` below which averaging the tensor first is legitimate, and relaxation theory of second order holds.
FAST = 0.1


@dataclass(frozen=True)
class Value:
    """A number with its standard error (NaN when there is none)."""

    value: float
    error: float


@dataclass(frozen=True)
class RelaxationTimes:
    """Relaxation at one field.

    Attributes
    ----------
    larmor_mhz
        Larmor frequency; 0 stands for extreme narrowing.
    densities
        ``J_0(0)``, ``J_1(w0)``, ``J_2(2 w0)`` of the coupling in angular frequency, rad^2/s.
    t1, t2
        Seconds; the inverse of the initial slope, which is the time constant itself where one exponential remains. In
        ``t2`` all transitions have one frequency, as without a mean coupling.
    t2_resolved
        Likewise of the signal of all transitions where a mean coupling holds their lines apart, seconds.
    longitudinal, transverse
        All exponentials, of the magnetisation of all transitions.
    central_longitudinal, central_t2
        Of the central transition alone, satellites resolved; None for integer spins.
    """

    larmor_mhz: float
    densities: FloatArray
    t1: Value
    t2: Value
    t2_resolved: Value
    longitudinal: Decay
    transverse: Decay
    central_longitudinal: Decay | None
    central_t2: Value | None


class SiteDynamics:
    """Fluctuations of the EFG of one site, and the relaxation they cause.

    Parameters
    ----------
    nucleus
        Spin and quadrupole moment.
    interval_ps
        Time between frames.
    direction
        Of the field in the frame of the tensors, of shape ``(3,)``; None for the powder average. In a powder the
        densities are averages over all directions: exact for the initial slopes ``1/T1`` and ``1/T2``, while the
        recovery of a real powder is a sum over crystallites with different rates.
    max_lag, blocks, mean
        As in `EFGCorrelation`.
    """

    def __init__(
        self,
        nucleus: Nucleus,
        interval_ps: float,
        direction: ArrayLike | None = None,
        max_lag: int | None = None,
        blocks: int = 4,
        mean: Literal["pooled", "nucleus"] = "pooled",
    ) -> None:
        self._nucleus = nucleus
        self._weights = field_weights(direction)
        self._correlation = EFGCorrelation(interval_ps, max_lag, blocks, mean)
        self._time: CorrelationTime | None = None

    def compute(self, series: TensorSeries, rotations: ArrayLike | None = None) -> "SiteDynamics":
        """Correlate a series, as in `EFGCorrelation.compute`, and integrate it.

        Raises
        ------
        DataError
            When the series is too short, not finite, or does not fluctuate.
        """
        self._correlation.compute(series, rotations)
        self._time = CorrelationTime().compute(self._correlation)
        return self

    @property
    def time(self) -> CorrelationTime:
        """Correlation time of the whole fluctuating tensor."""
        if self._time is None:
            raise DataError("call compute(series) before asking for its results")
        return self._time

    @property
    def correlation(self) -> EFGCorrelation:
        """Correlation functions."""
        _ = self.time
        return self._correlation

    @property
    def _angular(self) -> float:
        """Coupling in rad/s for a tensor of 1 a.u."""
        return 2e6 * np.pi * float(self._nucleus.coupling_mhz(1.0))

    @property
    def order_times(self) -> tuple[Value, Value, Value]:
        """Integral correlation times (ps) of the components |m| = 0, 1, 2 along the field, over the same window."""

        def times(matrix: FloatArray) -> FloatArray:
            functions = np.einsum("mab,tab->tm", self._weights, matrix[: self.time.window + 1])
            with np.errstate(divide="ignore", invalid="ignore"):
                return trapezoid(functions, self._correlation.lags_ps[: len(functions)], axis=0) / functions[0]

        values, errors = self.correlation.estimate(times)
        first, second, third = (Value(float(v), float(e)) for v, e in zip(values, errors, strict=True))
        return first, second, third

    @property
    def irreducible(self) -> FloatArray:
        """Correlation functions of |m| = 0, 1, 2 along the field, fluctuating part, a.u.^2, ``(n_lags, 3)``."""
        return np.asarray(np.einsum("mab,tab->tm", self._weights, self.correlation.matrix))

    @property
    def fluctuating_cq_mhz(self) -> Value:
        """Cq of an axial tensor with the norm of the fluctuating part, ``sqrt(2/3 <dV:dV>)``, MHz."""
        scale = abs(float(self._nucleus.coupling_mhz(1.0)))
        value, error = self.correlation.estimate(lambda matrix: scale * np.sqrt(2 / 3 * np.trace(matrix[0])))
        return Value(float(value), float(error))

    @property
    def mean_cq_mhz(self) -> float:
        """Cq of an axial tensor with the norm of the mean that does not fluctuate, MHz."""
        scale = abs(float(self._nucleus.coupling_mhz(1.0)))
        return scale * float(np.sqrt(2 / 3 * np.trace(self.correlation.mean_matrix)))

    @property
    def narrowing(self) -> float:
        """``2 pi Cq tau`` of the fluctuating part; averaging the tensor is legitimate where it is below `FAST`."""
        return 2 * np.pi * self.fluctuating_cq_mhz.value * 1e6 * self.time.tau_ps * _PS

    @property
    def fast_motion(self) -> bool | None:
        """Whether averaging the tensor is legitimate; None when the correlation time is not resolved."""
        return self.narrowing < FAST if self.time.resolved else None

    def spectral_density(self, frequencies_mhz: ArrayLike) -> FloatArray:
        """Spectral densities of the coupling in angular frequency, rad^2/s.

        ``J_m(nu) = integral of <conj(w_m(0)) w_m(t)> cos(2 pi nu t)`` over positive and negative times, up to the end
        of the window of `CorrelationTime`.

        Parameters
        ----------
        frequencies_mhz
            Of shape ``(k,)``.

        Returns
        -------
        ndarray
            Of shape ``(k, 3)``, for |m| = 0, 1, 2.
        """
        frequencies = np.atleast_1d(np.asarray(frequencies_mhz, dtype=np.float64))
        return self._densities(self.correlation.matrix, np.tile(frequencies[:, None], (1, 3)))

    def _densities(self, matrix: FloatArray, frequencies_mhz: FloatArray) -> FloatArray:
        """Spectral densities, of shape ``(k, 3)``, each order at its own frequency, of shape ``(k, 3)``."""
        last = self.time.window + 1
        functions = np.einsum("mab,tab->tm", self._weights, matrix[:last]) * self._angular**2
        lags = self._correlation.lags_ps[:last] * _PS
        result = np.empty(frequencies_mhz.shape)
        for row, row_frequencies in enumerate(frequencies_mhz):
            waves = np.cos(2e6 * np.pi * lags[:, None] * row_frequencies)
            result[row] = 2 * trapezoid(functions * waves, lags, axis=0)
        return result

    def relaxation(self, larmor_mhz: float = 0.0) -> RelaxationTimes:
        """T1 and T2 at a Larmor frequency; 0 for extreme narrowing.

        Raises
        ------
        DataError
            When a spectral density is negative, which only noise can do: the run is too short.
        """
        frequencies = larmor_mhz * np.arange(3.0)[None, :]
        densities = self._densities(self.correlation.matrix, frequencies)[0]
        if (densities < 0).any():
            raise DataError(
                f"the spectral density of {self._nucleus.name} comes out negative: the run is too short for relaxation"
            )
        theory = QuadrupolarRelaxation(self._nucleus.spin).compute(densities)
        half_integer = self._nucleus.spin.denominator == 2

        def rates(matrix: FloatArray) -> FloatArray:
            found = np.clip(self._densities(matrix, frequencies)[0], 0.0, None)
            resampled = QuadrupolarRelaxation(self._nucleus.spin).compute(found)
            decays = resampled.longitudinal(), resampled.transverse(), resampled.transverse("resolved")
            central = resampled.central_transverse() if half_integer else 0.0
            return np.array([*(decay.initial_rate for decay in decays), central])

        value, error = self.correlation.estimate(rates)
        t1, t2, t2_resolved, central = (_inverse(float(v), float(e)) for v, e in zip(value, error, strict=True))
        return RelaxationTimes(
            larmor_mhz=larmor_mhz,
            densities=densities,
            t1=t1,
            t2=t2,
            t2_resolved=t2_resolved,
            longitudinal=theory.longitudinal(),
            transverse=theory.transverse(),
            central_longitudinal=theory.longitudinal("central") if half_integer else None,
            central_t2=central if half_integer else None,
        )


def _inverse(rate: float, error: float) -> Value:
    """Time constant of a rate with the error carried over."""
    return Value(1 / rate, error / rate**2) if rate > 0 else Value(float("inf"), float("nan"))
