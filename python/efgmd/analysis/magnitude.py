"""What a measured size says about the true one: likelihoods of quantities that cannot be negative."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaln, ive
from scipy.stats import chi2, ncx2, norm, t

FloatArray = NDArray[np.float64]

# Beyond this ratio of size to noise the non-central chi distribution is a normal one within the table's accuracy.
_NORMAL_BEYOND = 30.0
_TABLE = 2048
_NODES = 64


@dataclass(frozen=True)
class Magnitude:
    """The length of a vector (or tensor) that was measured with noise in each of its components.

    A length of noise alone is not zero, so lengths are biased upwards. With ``k`` components of independent noise
    ``sigma`` the measured length follows the non-central chi distribution of the true one; its likelihood has the bias
    in it, and serves for lengths far above the noise, inside it, and for bounds alike.

    Attributes
    ----------
    size
        Measured length, in any unit.
    noise
        Standard error of each component, in the same unit.
    components
        Effective number of components; 1 for the absolute value of a number.
    degrees
        Degrees of freedom of the noise's own estimate, in each component. With few of them the likelihood gets the
        tails of Student's t, and intervals and the test against zero are those of Student's t and Fisher's F.
    """

    size: float
    noise: float
    components: float = 1.0
    degrees: float = np.inf

    @classmethod
    def of_vector(cls, mean: ArrayLike, covariance: ArrayLike, degrees: float = np.inf) -> "Magnitude":
        """Length of a vector of shape ``(d,)`` with a covariance of shape ``(d, d)``.

        Unequal noise is replaced by equal noise in fewer components with the same mean and variance of the squared
        length (F. E. Satterthwaite, Biometrics Bull. 2, 110 (1946)).
        """
        vector, matrix = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
        total, squares = float(np.trace(matrix)), float(np.sum(matrix**2))
        components = total**2 / squares if squares > 0 else 1.0
        return cls(float(np.linalg.norm(vector)), float(np.sqrt(total / components)), components, degrees)

    @classmethod
    def below(cls, bound: float) -> "Magnitude":
        """A 95 % upper bound of which nothing else is known."""
        return cls(0.0, bound / float(norm.ppf(0.975)))

    @property
    def debiased(self) -> float:
        """Length without the share of the noise; 0 when noise explains all of it."""
        return float(np.sqrt(max(0.0, self.size**2 - self.components * self.noise**2)))

    @property
    def is_zero(self) -> bool:
        """Whether noise alone exceeds this length in more than 5 % of cases."""
        return self.share_below(0.0) < 0.95

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the true length, see `bounds`."""
        return self.bounds(0.95)

    def bounds(self, level: float) -> tuple[float, float]:
        """Interval of the true length; its lower end is 0 when noise alone explains the measured one.

        At the level 95 %: true lengths that would give the measured one or more in less than 2.5 % of cases are below
        it. Above it are those that give the measured one or less in under 2.5 % of the cases in which noise alone does
        so: this ratio (A. L. Read, J. Phys. G 28, 2693 (2002)) keeps a length that happens to be small against its
        noise from excluding every true length; for lengths beyond the noise the intervals are equal-tailed. That of a
        bare bound ends there.
        """
        tail = (1 - level) / 2
        if self.size == 0:
            return 0.0, self.noise * float(t.ppf(1 - tail, self._all_degrees))
        by_noise = self.share_below(0.0)
        low = 0.0
        if by_noise > 1 - tail:
            low = float(brentq(lambda true: self.share_below(true) - (1 - tail), 0.0, self.size))
        top = self.size + self.noise
        while self.share_below(top) > tail * by_noise:
            top += 2 * (top - self.size)
        return low, float(brentq(lambda true: self.share_below(true) - tail * by_noise, 0.0, top))

    def share_below(self, true: float) -> float:
        """Probability of a length up to the measured one when the true one is ``true``.

        The components' deviations, in units of the estimated noise, have the multivariate t distribution: a normal one
        over an independent ``sqrt(chi^2/n)`` with all degrees of freedom ``n``, over which is integrated. With one
        component this is Student's t, and without a true length Fisher's F.
        """
        measured, offset = self.size / self.noise, true / self.noise
        if min(measured, offset) > _NORMAL_BEYOND:
            return float(t.cdf(np.sqrt(max(measured**2 - self.components + 1, 0.0)) - offset, self._all_degrees))
        scales, weights = self._scales
        shares = ncx2.cdf((scales * measured) ** 2, self.components, np.maximum((scales * offset) ** 2, 1e-12))
        return float(weights @ shares)

    @property
    def _all_degrees(self) -> float:
        """Of the noise as it is estimated from all components together."""
        return self.components * self.degrees

    @cached_property
    def _scales(self) -> tuple[FloatArray, FloatArray]:
        """Values that estimated over true noise can have, and their weights."""
        if not np.isfinite(self.degrees):
            return np.ones(1), np.ones(1)
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        return np.sqrt(chi2.ppf((nodes + 1) / 2, self._all_degrees) / self._all_degrees), weights / 2

    def log(self, true: ArrayLike) -> FloatArray:
        """Log likelihood of true lengths (0 or more) of any shape, relative to its maximum."""
        ratio = np.asarray(true, dtype=np.float64) / self.noise
        measured = self.size / self.noise
        if measured > _NORMAL_BEYOND:
            values = -0.5 * (ratio - np.sqrt(measured**2 - self.components + 1)) ** 2
        else:
            grid, table = self._table
            values = np.where(
                ratio <= grid[-1],
                np.interp(ratio, grid, table),
                table[-1] - 0.5 * ((ratio - measured) ** 2 - (grid[-1] - measured) ** 2),
            )
        if np.isfinite(self.degrees):
            values = -0.5 * (self.degrees + 1) * np.log1p(-2.0 * values / self.degrees)
        return np.asarray(values)

    @cached_property
    def _table(self) -> tuple[FloatArray, FloatArray]:
        measured = self.size / self.noise
        grid = np.linspace(0.0, measured + 12.0, _TABLE)
        values = _log_noncentral_chi(measured, grid, self.components)
        return grid, values - values.max()


def _log_noncentral_chi(measured: float, true: FloatArray, components: float) -> FloatArray:
    """Log density of the measured length in units of its noise, but for terms without ``true``.

    The density is ``x (x/a)^nu exp(-(x^2 + a^2)/2) I_nu(x a)`` with ``nu = k/2 - 1``.
    """
    order = components / 2 - 1
    product = measured * true
    small = product < 1e-6
    safe = np.where(small, 1.0, product)
    # ive is I_nu exp(-x a); near zero I_nu(z)/z^nu tends to 1/(2^nu Gamma(nu + 1)).
    bessel = np.where(small, -order * np.log(2) - gammaln(order + 1), np.log(ive(order, safe)) - order * np.log(safe))
    return np.asarray(bessel + np.where(small, 0.0, product) - 0.5 * true**2)
