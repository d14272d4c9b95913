"""Means of correlated time series and the sampling error of those means."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efgmd.errors import DataError

FloatArray = NDArray[np.float64]

#: Fewer independent samples than this, and an error bar is itself only an order of magnitude.
FEW_INDEPENDENT = 10.0
_MIN_BLOCKS = 4
_BLOCK_IN_INEFFICIENCIES = 4.0


def statistical_inefficiency(series: ArrayLike) -> float:
    """Number of successive samples that count as one independent sample.

    Integrates the autocorrelation of the summed components up to a self-consistent window (A. D. Sokal's rule; the
    window is 2.5 times the running integral ``g``, five correlation times).

    Parameters
    ----------
    series
        Of shape ``(n,)`` or ``(n, d)``; components share a unit and are weighted by their variance.

    Returns
    -------
    float
        ``g >= 1``; 1 for constant series.
    """
    values = np.asarray(series, dtype=np.float64)
    values = values.reshape(len(values), -1)
    n = len(values)
    deviation = values - values.mean(axis=0)
    spectrum = np.fft.rfft(deviation, 2 * n, axis=0)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[:n].sum(axis=1) / np.arange(n, 0, -1)
    if not covariance[0] > 0.0:
        return 1.0
    inefficiency = 1.0
    for lag in range(1, n // 2):
        inefficiency += 2.0 * covariance[lag] / covariance[0] * (1.0 - lag / n)
        if lag >= 2.5 * max(inefficiency, 1.0):
            break
    return max(1.0, float(inefficiency))


@dataclass(frozen=True)
class Estimate:
    """A mean and its sampling error.

    Attributes
    ----------
    mean
        Of shape ``(d,)``.
    covariance
        Covariance of the mean, of shape ``(d, d)``; NaN when no error can be given.
    degrees
        Degrees of freedom of the covariance (blocks - 1); 0 when no error can be given.
    inefficiency
        Statistical inefficiency, in samples of the series.
    n_independent
        Number of independent samples, n / inefficiency.
    """

    mean: FloatArray
    covariance: FloatArray
    degrees: int
    inefficiency: float
    n_independent: float

    @property
    def error(self) -> FloatArray:
        """Standard error of each component, of shape ``(d,)``; NaN when none can be given."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def has_error(self) -> bool:
        """Whether there were enough blocks for an error."""
        return self.degrees > 0

    @property
    def reliable(self) -> bool:
        """Whether there are enough independent samples for the error to be trusted."""
        return self.has_error and self.n_independent >= FEW_INDEPENDENT


class BlockAverage:
    """Mean of a correlated series with the error of block averaging.

    Blocks are four statistical inefficiencies long, or a quarter of the series if that is shorter; their means are
    treated as independent. With so few blocks, use the degrees of freedom (Student's t) for intervals.

    References
    ----------
    H. Flyvbjerg and H. G. Petersen, J. Chem. Phys. 91, 461 (1989).
    """

    def __init__(self) -> None:
        self._estimate: Estimate | None = None

    def compute(self, series: ArrayLike) -> "BlockAverage":
        """Average a series.

        Parameters
        ----------
        series
            Evenly spaced samples, of shape ``(n,)`` or ``(n, d)``.

        Raises
        ------
        DataError
            When the series is empty or not finite.
        """
        values = np.asarray(series, dtype=np.float64)
        if values.size == 0 or not np.isfinite(values).all():
            raise DataError("cannot average a series that is empty or has values that are not finite")
        values = values.reshape(len(values), -1)
        n, width = values.shape
        inefficiency = statistical_inefficiency(values)
        mean = values.mean(axis=0)
        nothing = np.full((width, width), np.nan)
        if n < _MIN_BLOCKS:
            self._estimate = Estimate(mean, nothing, 0, inefficiency, n / inefficiency)
            return self
        length = 1 if inefficiency < 1.2 else int(np.ceil(_BLOCK_IN_INEFFICIENCIES * inefficiency))
        length = min(length, n // _MIN_BLOCKS)
        count = n // length
        blocks = values[n - count * length :].reshape(count, length, width).mean(axis=1)
        covariance = np.cov(blocks, rowvar=False, ddof=1).reshape(width, width) / count
        self._estimate = Estimate(mean, covariance, count - 1, inefficiency, n / inefficiency)
        return self

    @property
    def estimate(self) -> Estimate:
        """Mean, covariance of the mean and number of independent samples.

        Raises
        ------
        DataError
            Before `compute`.
        """
        if self._estimate is None:
            raise DataError("call compute(series) before asking for its results")
        return self._estimate


def mean_over_members(values: ArrayLike) -> Estimate:
    """Mean over equivalent members (nuclei), each one value, treated as independent.

    Parameters
    ----------
    values
        Of shape ``(members, d)``.

    Returns
    -------
    Estimate
        Without error for fewer than four members.
    """
    members = np.asarray(values, dtype=np.float64)
    count, width = members.shape
    mean = members.mean(axis=0)
    if count < _MIN_BLOCKS:
        return Estimate(mean, np.full((width, width), np.nan), 0, 1.0, float(count))
    covariance = np.cov(members, rowvar=False, ddof=1).reshape(width, width) / count
    return Estimate(mean, covariance, count - 1, 1.0, float(count))
