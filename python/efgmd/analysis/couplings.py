"""From a mean tensor and its covariance to Cq and eta with intervals."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution
from scipy.stats import norm

from efgmd.analysis.statistics import Estimate
from efgmd.nuclei import Nucleus, nqr_lines, quadrupole_hamiltonian
from efgmd.tensors import asymmetry, matrix_to_six, principal_axes, principal_values, six_to_matrix

FloatArray = NDArray[np.float64]

_DRAWS = 4000
_SIGNIFICANCE = 0.05
# A variance below this share of the largest is rounding: symmetry forbids the component.
_ROUNDING = 1e-10
_ETA_GRID = np.linspace(0.0, 1.0, 101)
# Orthonormal coordinates of the five independent components of a traceless six-vector xx yy zz xy xz yz.
_FIVE = np.array(
    [
        np.array([-1, -1, 2, 0, 0, 0]) / np.sqrt(6),
        np.array([1, -1, 0, 0, 0, 0]) / np.sqrt(2),
        *(np.sqrt(2) * np.eye(6)[3:]),
    ]
)


@dataclass(frozen=True)
class Coupling:
    """Cq and eta of one site.

    Attributes
    ----------
    cq
        Coupling constant of the mean tensor with its sign, MHz.
    cq_error
        Sampling error (half the central 68 % interval), MHz; None when the run is too short for one.
    cq_interval
        95 % interval, MHz, bias corrected; of ``|Cq|`` when ``sign_known`` is False.
    cq_debiased
        Cq with the noise's share of the tensor's norm removed, MHz; 0 when noise explains all of it.
    eta, eta_error, eta_interval
        Asymmetry parameter, likewise.
    vzz
        Principal value of the mean tensor, a.u.
    sign_known
        Whether 97.5 % of the resampled tensors share the sign of Vzz.
    is_zero
        Whether the mean tensor is compatible with zero (5 % level).
    pq_squared, pq_squared_error
        Unbiased estimate of ``Cq^2 (1 + eta^2 / 3)`` and its standard error, MHz^2; negative where noise outweighs the
        tensor.
    nqr
        Zero-field lines, MHz.
    nqr_error
        Sampling error of each line, MHz; None when the run is too short for one.
    notes
        Warnings for the reader, one line each.
    """

    cq: float
    cq_error: float | None
    cq_interval: tuple[float, float] | None
    cq_debiased: float | None
    eta: float
    eta_error: float | None
    eta_interval: tuple[float, float] | None
    vzz: float
    sign_known: bool
    is_zero: bool
    pq_squared: float | None
    pq_squared_error: float | None
    nqr: tuple[float, ...]
    nqr_error: tuple[float, ...] | None
    notes: tuple[str, ...]


def coupling(nucleus: Nucleus, estimate: Estimate, seed: int = 0) -> Coupling:
    """Diagonalise a mean tensor and propagate its sampling error by a parametric bootstrap.

    Tensors are drawn from the multivariate t distribution of the mean (t, because the covariance comes from few
    blocks), diagonalised, and summarised; intervals are bias-corrected percentiles (B. Efron, 1987, without
    acceleration), because ``|Vzz|`` and eta of a noisy mean are biased upwards.

    Parameters
    ----------
    nucleus
        Gives the quadrupole moment and spin.
    estimate
        Mean six-vector (xx yy zz xy xz yz, a.u.) with its covariance.
    seed
        Of the resampling.
    """
    values = principal_values(six_to_matrix(estimate.mean))
    vzz, eta = float(values[2]), float(np.nan_to_num(asymmetry(values)))
    cq = float(nucleus.coupling_mhz(vzz))
    if estimate.has_error and not np.any(estimate.mean) and not np.any(estimate.covariance):
        note = "zero by the symmetry of the site"
        return Coupling(0.0, 0.0, (0.0, 0.0), 0.0, 0.0, None, None, 0.0, False, True, 0.0, 0.0, (), (), (note,))
    if not estimate.has_error:
        lines = _lines(nucleus, cq, eta)
        note = "too few samples for an error"
        return Coupling(cq, None, None, None, eta, None, None, vzz, False, False, None, None, lines, None, (note,))

    drawn = principal_values(six_to_matrix(_draw(estimate, seed)))
    drawn_cq = np.abs(nucleus.coupling_mhz(drawn[:, 2]))
    drawn_eta = asymmetry(drawn)
    same_sign = float(np.mean(np.sign(drawn[:, 2]) == np.sign(vzz)))
    sign_known = same_sign >= 0.975
    size = _corrected_interval(drawn_cq, abs(cq))
    is_zero = compatible_with_zero(estimate)
    axial = axial_part(estimate.mean, estimate.covariance)
    notes = []
    if not estimate.reliable:
        notes.append(f"only {estimate.n_independent:.0f} independent samples: the error is a rough one")
    if is_zero:
        size = (0.0, float(np.percentile(drawn_cq, 97.5)))  # uncorrected: the safe side for a bound
        notes.append(f"compatible with zero; |Cq| < {size[1]:.3g} MHz (95 %)")
    elif not sign_known:
        notes.append("sign of Vzz not determined (eta near 1); interval of |Cq|")
    eta_interval = _corrected_interval(drawn_eta, eta)
    if axial is None:
        eta, drawn_eta, eta_interval = 0.0, np.zeros(_DRAWS), (0.0, 0.0)
        notes.append("eta is zero by the symmetry of the site")
    elif is_zero:
        eta_interval = (0.0, 1.0)
    elif _is_noise(*axial, estimate.degrees):
        eta_interval = (0.0, float(np.percentile(drawn_eta, 97.5)))  # uncorrected, like the bound on |Cq|
        notes.append("eta compatible with zero")
    pq_squared, pq_squared_error = _squared_product(nucleus, estimate)
    interval = size
    if sign_known and not is_zero:
        interval = size if cq > 0 else (-size[1], -size[0])
    lines = _lines(nucleus, cq, eta)
    return Coupling(
        cq=cq,
        cq_error=_half_width(drawn_cq),
        cq_interval=interval,
        cq_debiased=cq * _signal_share(estimate),
        eta=eta,
        eta_error=_half_width(drawn_eta),
        eta_interval=eta_interval,
        vzz=vzz,
        sign_known=sign_known,
        is_zero=is_zero,
        pq_squared=pq_squared,
        pq_squared_error=pq_squared_error,
        nqr=lines,
        nqr_error=tuple(_line_errors(nucleus.spin, lines, (abs(cq), eta), drawn_cq, drawn_eta)),
        notes=tuple(notes),
    )


def _lines(nucleus: Nucleus, cq: float, eta: float) -> tuple[float, ...]:
    return tuple(float(line) for line in nqr_lines(nucleus.spin, cq, eta)) if cq else ()


def _draw(estimate: Estimate, seed: int) -> FloatArray:
    """Six-vectors of shape ``(draws, 6)`` from the multivariate t distribution of the mean."""
    rng = np.random.default_rng(seed)
    variances, axes = np.linalg.eigh(estimate.covariance)
    normal = rng.standard_normal((_DRAWS, 6)) * np.sqrt(np.clip(variances, 0.0, None)) @ axes.T
    stretch = np.sqrt(estimate.degrees / rng.chisquare(estimate.degrees, size=_DRAWS))
    return estimate.mean + normal * stretch[:, None]


def _half_width(values: FloatArray) -> float:
    low, high = np.percentile(values, [15.865, 84.135])
    return float(high - low) / 2


def _corrected_interval(values: FloatArray, found: float) -> tuple[float, float]:
    below = np.clip(np.mean(values < found), 1 / len(values), 1 - 1 / len(values))
    shift = 2 * norm.ppf(below)
    low, high = np.percentile(values, 100 * norm.cdf(shift + norm.ppf([0.025, 0.975])))
    return float(low), float(high)


def _five(estimate: Estimate) -> tuple[FloatArray, FloatArray]:
    """Mean and covariance in five orthonormal coordinates (the Frobenius metric)."""
    return _FIVE @ estimate.mean, _FIVE @ estimate.covariance @ _FIVE.T


def _signal_share(estimate: Estimate) -> float:
    """Factor by which to shrink the tensor so that its squared norm is unbiased; 0 when noise explains it."""
    mean, covariance = _five(estimate)
    norm2 = float(mean @ mean)
    return float(np.sqrt(max(0.0, norm2 - np.trace(covariance)) / norm2)) if norm2 > 0 else 0.0


def _squared_product(nucleus: Nucleus, estimate: Estimate) -> tuple[float, float]:
    """Cq^2 (1 + eta^2/3), which is 2/3 of the squared norm in units of Cq, without the noise's share; and its error.

    For a Gaussian mean m with covariance C, ``|m|^2 - tr C`` is unbiased, with variance ``4 m C m - 2 tr C^2`` in terms
    of the noisy m, and ``2 tr C^2`` where the tensor itself is zero.
    """
    mean, covariance = _five(estimate)
    unit = 2 / 3 * float(nucleus.coupling_mhz(1.0)) ** 2
    squares = np.trace(covariance @ covariance)
    variance = max(4 * float(mean @ covariance @ mean) - 2 * squares, 2 * squares)
    return unit * float(mean @ mean - np.trace(covariance)), unit * float(np.sqrt(variance))


@lru_cache
def _levels(spin: Fraction | float) -> FloatArray:
    """Levels in units of |Cq| for the asymmetries of a grid, ascending, of shape ``(grid, 2I + 1)``."""
    return np.array([np.linalg.eigvalsh(quadrupole_hamiltonian(spin, 1.0, eta)) for eta in _ETA_GRID])


def _line_errors(
    spin: Fraction | float,
    lines: tuple[float, ...],
    found: tuple[float, float],
    drawn_cq: FloatArray,
    drawn_eta: FloatArray,
) -> list[float]:
    """Half the central 68 % interval of each line, from draws of |Cq| and eta around those that were ``found``."""
    first, second = np.triu_indices(_levels(spin).shape[1], 1)

    def differences(cq: FloatArray, eta: FloatArray) -> FloatArray:
        levels = np.stack([np.interp(eta, _ETA_GRID, column) for column in _levels(spin).T], axis=-1)
        return cq[..., None] * (levels[..., second] - levels[..., first])

    here, drawn = differences(np.array(found[0]), np.array(found[1])), differences(drawn_cq, drawn_eta)
    return [_half_width(drawn[:, int(np.argmin(np.abs(here - line)))]) for line in lines]


def axial_part(mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """What of a tensor vanishes if it is axial: (Vxx - Vyy)/2 and Vxy in the mean's principal axes.

    Parameters
    ----------
    mean, covariance
        Six-vector and its covariance ``(6, 6)``.

    Returns
    -------
    tuple of ndarray or None
        The two components and their covariance ``(2, 2)``; None where symmetry leaves nothing but rounding of them.
    """
    _, axes = principal_axes(six_to_matrix(mean))
    x, y = axes[:, 0], axes[:, 1]
    forms = np.array([(np.outer(x, x) - np.outer(y, y)) / 2, (np.outer(x, y) + np.outer(y, x)) / 2])
    linear = matrix_to_six(forms) * np.array([1, 1, 1, 2, 2, 2])  # acts on six-vectors as the trace of a product
    part, spread = linear @ mean, linear @ covariance @ linear.T
    rounding = np.linalg.norm(part) <= _ROUNDING * np.linalg.norm(mean)
    return None if rounding and np.trace(spread) <= _ROUNDING * np.trace(covariance) else (part, spread)


def compatible_with_zero(estimate: Estimate) -> bool:
    """Test whether a mean tensor is noise, at the 5 % level."""
    return _is_noise(*_five(estimate), estimate.degrees)


def _is_noise(mean: FloatArray, covariance: FloatArray, degrees: int) -> bool:
    """Test whether a mean vector exceeds what noise gives, at the 5 % level.

    With more blocks than components that vary, Hotelling's T^2 in these components (symmetry can leave fewer than the
    vector has); with fewer, the covariance cannot be inverted, and the squared norm is compared with its noise
    expectation through Satterthwaite's effective degrees of freedom.
    """
    total = float(np.trace(covariance))
    if not total > 0:
        return not np.any(mean)
    variances, axes = np.linalg.eigh(covariance)
    varies = variances > _ROUNDING * variances[-1]
    width, count = int(varies.sum()), degrees + 1
    if count > 3 * width:
        along = mean @ axes
        forbidden = np.linalg.norm(along[~varies])
        t2 = float(np.sum(along[varies] ** 2 / variances[varies]))
        limit = width * (count - 1) / (count - width) * f_distribution.ppf(1 - _SIGNIFICANCE, width, count - width)
        return bool(t2 < limit and forbidden <= np.sqrt(_ROUNDING) * np.hypot(np.sqrt(total), np.linalg.norm(mean)))
    effective = total**2 / np.trace(covariance @ covariance)
    ratio = float(mean @ mean / total)
    return bool(ratio < f_distribution.ppf(1 - _SIGNIFICANCE, effective, effective * degrees))
