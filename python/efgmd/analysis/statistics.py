"""Means of correlated time series and the sampling error of those means."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import f as f_distribution

from efgmd.errors import DataError

FloatArray = NDArray[np.float64]

#: Fewer independent samples than this, and an error bar is itself only an order of magnitude.
FEW_INDEPENDENT = 10.0
_MIN_BLOCKS = 4
_BLOCK_IN_INEFFICIENCIES = 4.0
_WINDOW = 2.5
_LEAST_SHARE = 0.5


def statistical_inefficiency(series: ArrayLike) -> float:
    """Number of successive samples that count as one independent sample.

    Integrates the autocorrelation of the summed components up to a self-consistent window W (A. D. Sokal's rule; W is
    2.5 times the running integral ``g``, five correlation times). The covariances are taken about the mean of the
    series, which makes them too small; ``g`` is raised by ``1 + (2 W + 1) / n`` for that (U. Wolff, Comput. Phys.
    Commun. 156, 143 (2004), eq. 49).

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
        if lag >= _WINDOW * max(inefficiency, 1.0):
            break
    return max(1.0, float(inefficiency * (1.0 + (2.0 * _WINDOW * max(inefficiency, 1.0) + 1.0) / n)))


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

    Blocks are four statistical inefficiencies g long, or a quarter of the series if that is shorter. The means of
    neighbouring blocks of L samples are still correlated a little, which makes their scatter too small by the factor
    ``1 - g / (2 L)`` for an exponential correlation; the covariance is divided by it. With so few blocks, use the
    degrees of freedom (Student's t) for intervals.

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
        # Single samples as blocks: their correlation is all in g, which is close to 1 then.
        share = 1.0 / inefficiency if length == 1 else max(_LEAST_SHARE, 1.0 - inefficiency / (2.0 * length))
        self._estimate = Estimate(mean, covariance / share, count - 1, inefficiency, n / inefficiency)
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


def combine(over_time: Estimate, over_nuclei: Estimate) -> tuple[Estimate, str]:
    """One error from that of time blocks and that of the spread over equivalent nuclei.

    Where the two sizes (traces of the covariances) agree by an F test at the 5 % level, each is an estimate of the same
    error and they are pooled, weighted by their degrees of freedom. Where they differ, the larger one is taken: time
    blocks miss motion slower than the run, the spread misses what all nuclei of a small cell do together.

    Returns
    -------
    tuple
        The mean of ``over_time`` with the chosen covariance, and ``"time blocks and nuclei"``, ``"time blocks"``,
        ``"spread over nuclei"`` or ``"none"``.
    """
    if not over_nuclei.has_error:
        return over_time, "time blocks" if over_time.has_error else "none"
    if not over_time.has_error:
        return replace(over_time, covariance=over_nuclei.covariance, degrees=over_nuclei.degrees), "spread over nuclei"
    sizes = np.trace(over_time.covariance), np.trace(over_nuclei.covariance)
    if not min(sizes) > 0.0:
        chosen = over_time if sizes[0] >= sizes[1] else over_nuclei
    else:
        tail = f_distribution.cdf(sizes[1] / sizes[0], component_degrees(over_nuclei), component_degrees(over_time))
        if min(tail, 1.0 - tail) > 0.025:
            total = over_time.degrees + over_nuclei.degrees
            pooled = over_time.degrees * over_time.covariance + over_nuclei.degrees * over_nuclei.covariance
            return replace(over_time, covariance=pooled / total, degrees=total), "time blocks and nuclei"
        chosen = over_time if sizes[0] > sizes[1] else over_nuclei
    name = "time blocks" if chosen is over_time else "spread over nuclei"
    return replace(over_time, covariance=chosen.covariance, degrees=chosen.degrees), name


def component_degrees(estimate: Estimate) -> float:
    """Degrees of freedom of the trace of a covariance (Satterthwaite)."""
    covariance = estimate.covariance
    return float(estimate.degrees * np.trace(covariance) ** 2 / np.sum(covariance**2))


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
