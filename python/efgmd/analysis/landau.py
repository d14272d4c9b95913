"""Transition temperatures from the way an order parameter vanishes: power laws and Landau's first-order law."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from efgmd.analysis.magnitude import Magnitude

FloatArray = NDArray[np.float64]

#: Range of the free exponent: from nearly a step to beyond what is quadratic in a mean-field order parameter.
EXPONENTS = (0.1, 1.25)
#: Exponents of a tricritical order parameter, and of what is quadratic in it (strain, tensors).
TRICRITICAL = (0.25, 0.5)
_LIMIT = float(chi2.ppf(0.95, 1))
_PER_GAP, _BEYOND, _SHAPES, _REFINE = 16, 16, 10, 5
_POOR = 0.05
_IN_PEAK, _FINEST = 8, 1e-4
_PASSES, _CONVERGED = 10, 0.2


@dataclass(frozen=True)
class Family:
    """Laws of one shape with Tc, an amplitude, and at most one free parameter.

    Attributes
    ----------
    name
        For people.
    exponents
        Range of the exponent of a power law; equal ends fix it. None for Landau's first-order law.
    power
        What is observed is this power of Landau's order parameter.
    """

    name: str
    exponents: tuple[float, float] | None = None
    power: float = 1.0

    @property
    def is_free(self) -> bool:
        """Whether there is a parameter besides Tc and the amplitude."""
        return self.exponents is None or self.exponents[0] < self.exponents[1]

    def parameter(self, share: FloatArray, span: float) -> FloatArray:
        """Exponent, or Tc - T0 in kelvin, at shares 0 to 1 of its range; ``span`` is the range of temperatures."""
        low, high = self.exponents or (0.005 * span, 5.0 * span)
        return np.asarray(low * (high / low) ** share)

    def law(self, below: FloatArray, parameter: FloatArray | float) -> FloatArray:
        """Order parameter at ``below = Tc - T`` kelvin (0 or more), in a unit of its own; zero at and above Tc."""
        if self.exponents is None:
            values = landau_first_order(below, parameter) ** self.power
        else:
            values = below ** np.asarray(parameter)
        return np.asarray(values * (below > 0))


def landau_first_order(below: FloatArray, width: FloatArray | float) -> FloatArray:
    """Order parameter of Landau's 2-4-6 expansion with a negative quartic term, relative to its jump at Tc.

    ``G = a (T - T0) Q^2/2 - b Q^4/4 + c Q^6/6`` has its minimum at
    ``Q^2 = Qc^2 (2/3) (1 + sqrt(1/4 + 3/4 (Tc - T)/(Tc - T0)))`` below Tc, where ``Qc`` is the jump. It tends to the
    tricritical law for ``Tc - T0 -> 0``. (Both follow from ``dG/dQ = 0`` and ``G = 0`` at Tc.)

    Parameters
    ----------
    below
        Tc - T, kelvin, not negative.
    width
        Tc - T0, kelvin.
    """
    return np.asarray(np.sqrt((2 / 3) * (1 + np.sqrt(0.25 + 0.75 * below / width))))


POWER_LAW = Family("power law, free exponent", EXPONENTS)
FIRST_ORDER = (
    Family("first order (Landau), linear in the order parameter"),
    Family("first order (Landau), quadratic in the order parameter", power=2.0),
)


def fixed(exponent: float) -> Family:
    """Power law of one exponent."""
    return Family(f"power law, exponent {exponent:g}", (exponent, exponent))


@dataclass(frozen=True)
class LandauFit:
    """Maximum-likelihood law of one or several families, and the profile of its Tc.

    Attributes
    ----------
    family
        The family that fits best.
    tc
        Transition temperature, K.
    interval
        95 % interval by the profile likelihood over all families; None as upper end where it is open.
    parameter
        Of the best fit: exponent of the power law, or Tc - T0 of Landau's law in kelvin (T0: where the disordered phase
        becomes unstable).
    exponent_interval
        95 % interval of the exponent, over power laws only; None where none has a free exponent.
    amplitude
        Order parameter at the lowest temperature.
    deviance
        Twice the log likelihood that is missing to a perfect fit.
    p_value
        Probability of a larger deviance if the law holds; None with too few points to tell.
    scale
        Factor on the errors; above 1 where the fit is poor (p < 0.05).
    grid, profile
        Values of Tc (K) and deviance above the best fit, of shape ``(n,)``.
    """

    family: Family
    tc: float
    interval: tuple[float, float | None]
    parameter: float
    exponent_interval: tuple[float, float] | None
    amplitude: float
    deviance: float
    p_value: float | None
    scale: float
    grid: FloatArray
    profile: FloatArray

    def curve(self, temperatures: FloatArray, lowest: float) -> FloatArray:
        """Order parameter of the best fit, of shape ``(n,)``; ``lowest`` is the lowest fitted temperature."""
        at, first = (np.maximum(self.tc - np.asarray(value), 0.0) for value in (temperatures, lowest))
        return np.asarray(self.amplitude * self.family.law(at, self.parameter) / self.family.law(first, self.parameter))


def fit(
    temperatures: Sequence[float], points: Sequence[Magnitude], families: Sequence[Family], inside: bool = False
) -> LandauFit:
    """Fit laws to an order parameter and profile the transition temperature.

    At each Tc of a fine grid the likelihood is maximised over amplitude, exponent or width, and family (discrete
    profiling: P. D. Dauncey et al., JINST 10, P04015 (2015)); families have the same number of parameters. Tc up to
    half the range above the highest temperature is tried, so that a series that has not vanished shows an open end.

    Parameters
    ----------
    temperatures
        In ascending order, kelvin.
    points
        What was measured at each; two at least.
    families
        One or more.
    inside
        Whether the transition is known to lie within the range of temperatures; higher values are not tried then.
    """
    kelvin = np.asarray(temperatures, dtype=np.float64)
    grid = _tc_grid(kelvin, inside)
    profiles = [_profile(family, kelvin, grid, points) for family in families]
    while len(more := _finer(grid, np.max([profile.value for profile in profiles], axis=0))):
        order = np.argsort(np.concatenate([grid, more]), kind="stable")
        grid = np.concatenate([grid, more])[order]
        profiles = [
            profile.join(_profile(family, kelvin, more, points), order)
            for family, profile in zip(families, profiles, strict=True)
        ]
    values = np.array([profile.value for profile in profiles])
    best = values.max(axis=0)
    profile = 2.0 * (best.max() - best)
    flat = np.flatnonzero(profile < 1e-3)  # no data tell these apart: quote the middle
    top = int(flat[len(flat) // 2])
    chosen = int(values[:, top].argmax())
    deviance = max(0.0, -2.0 * float(best.max()))
    free = len(kelvin) - 2 - any(family.is_free for family in families)
    p_value = float(chi2.sf(deviance, free)) if free > 0 else None
    scale = float(np.sqrt(deviance / free)) if p_value is not None and p_value < _POOR else 1.0
    limit = _LIMIT * scale**2
    return LandauFit(
        family=families[chosen],
        tc=float(grid[top]),
        interval=_interval(grid, profile, limit, float(kelvin[0]), float(kelvin[-1])),
        parameter=float(profiles[chosen].parameter[top]),
        exponent_interval=_exponent_interval(families, profiles, limit),
        amplitude=float(profiles[chosen].amplitude[top]),
        deviance=deviance,
        p_value=p_value,
        scale=scale,
        grid=grid,
        profile=np.asarray(profile),
    )


@dataclass(frozen=True)
class _Profile:
    """Best fit of one family at each Tc, arrays of shape ``(n_tc,)``, and all exponents tried with their likelihood."""

    value: FloatArray
    parameter: FloatArray
    amplitude: FloatArray
    tried: FloatArray
    tried_value: FloatArray

    def join(self, other: "_Profile", order: NDArray[np.int64]) -> "_Profile":
        """Both, the values of Tc rearranged to ``order``."""
        pairs = [np.concatenate([getattr(self, field.name), getattr(other, field.name)]) for field in fields(self)]
        return _Profile(*(part[order] for part in pairs[:3]), *pairs[3:])


def _profile(family: Family, kelvin: FloatArray, grid: FloatArray, points: Sequence[Magnitude]) -> _Profile:
    """Maximise over the free parameter and the amplitude at each Tc, the parameter on a grid that is refined."""
    below = np.maximum(grid[:, None] - kelvin, 0.0)[:, None, :]
    span = float(np.ptp(kelvin))
    share = np.tile(np.linspace(0, 1, _SHAPES if family.is_free else 1), (len(grid), 1))
    step = 1 / (_SHAPES - 1)
    rows = np.arange(len(grid))
    tried, tried_value = [], []
    for _ in range(_PASSES if family.is_free else 1):
        parameter = family.parameter(share, span)
        shapes = family.law(below, parameter[..., None])
        amplitude, value = _best_amplitudes(shapes / shapes[..., :1], points)
        column = value.argmax(axis=1)
        tried.append(parameter.ravel())
        tried_value.append(value.ravel())
        found = (value[rows, column], parameter[rows, column], amplitude[rows, column])
        near = found[0] > found[0].max() - _LIMIT
        if np.max(np.ptp(value[near], axis=1)) < _CONVERGED:
            break
        share = np.clip(share[rows, column][:, None] + step * np.linspace(-1, 1, _REFINE), 0, 1)
        step *= 2 / (_REFINE - 1)
    return _Profile(*found, np.concatenate(tried), np.concatenate(tried_value))


def _tc_grid(kelvin: FloatArray, inside: bool) -> FloatArray:
    """Values of Tc: finely between measured temperatures, more coarsely above the last."""
    between = [low + (high - low) * np.arange(1, _PER_GAP + 1) / _PER_GAP for low, high in pairwise(kelvin)]
    span = float(kelvin[-1] - kelvin[0])
    beyond = kelvin[-1] + 0.5 * span * (np.arange(1, _BEYOND + 1) / _BEYOND) ** 2
    return np.concatenate(between if inside else [*between, beyond])


def _finer(grid: FloatArray, values: FloatArray) -> FloatArray:
    """More values of Tc where the grid is too coarse for the peak of the likelihood; none where it is not."""
    near = np.flatnonzero(2 * (values.max() - values) < 2 * _LIMIT)
    left, right = grid[max(near[0] - 1, 0)], grid[min(near[-1] + 1, len(grid) - 1)]
    if len(near) >= _IN_PEAK or right - left < _FINEST * np.ptp(grid):
        return np.empty(0)
    return np.setdiff1d(np.linspace(left, right, 2 * _IN_PEAK + 1), grid)


def _best_amplitudes(shapes: FloatArray, points: Sequence[Magnitude]) -> tuple[FloatArray, FloatArray]:
    """Amplitude of the highest likelihood and that log likelihood, each of shape ``(n_tc, n_parameters)``.

    ``shapes`` has shape ``(n_tc, n_parameters, n_temperatures)``. The search starts from the least-squares amplitude.
    """
    centre = np.array([point.debiased for point in points])
    weight = np.array([1 / point.noise**2 for point in points])
    curvature = np.sum(weight * shapes**2, axis=-1)
    amplitude = np.sum(weight * centre * shapes, axis=-1) / curvature
    spread = 1 / np.sqrt(curvature)
    value = np.full(amplitude.shape, -np.inf)
    for steps in (np.linspace(-4, 4, 9), np.linspace(-0.75, 0.75, 4), np.linspace(-0.2, 0.2, 4)):
        tried = np.maximum(amplitude[..., None] + spread[..., None] * steps, 0.0)
        logs = np.zeros(tried.shape)
        for index, point in enumerate(points):
            logs += point.log(tried * shapes[..., index, None])
        column = logs.argmax(axis=-1)[..., None]
        found = np.take_along_axis(logs, column, axis=-1)[..., 0]
        amplitude = np.where(found > value, np.take_along_axis(tried, column, axis=-1)[..., 0], amplitude)
        value = np.maximum(found, value)
    return amplitude, value


def _interval(
    grid: FloatArray, profile: FloatArray, limit: float, lowest: float, highest: float
) -> tuple[float, float | None]:
    """Ends of the region where the profile is below the limit, between grid points by linear interpolation."""
    inside = np.flatnonzero(profile <= limit)
    first, last = int(inside[0]), int(inside[-1])
    low = lowest if first == 0 else _crossing(grid, profile, first - 1, first, limit)
    if grid[last] > highest:
        return low, None
    if last + 1 == len(grid):
        return low, highest
    return low, _crossing(grid, profile, last, last + 1, limit)


def _crossing(grid: FloatArray, profile: FloatArray, left: int, right: int, limit: float) -> float:
    share = (limit - profile[left]) / (profile[right] - profile[left])
    return float(grid[left] + share * (grid[right] - grid[left]))


def _exponent_interval(
    families: Sequence[Family], profiles: Sequence[_Profile], limit: float
) -> tuple[float, float] | None:
    """Exponents whose best likelihood is within the limit of the best power law."""
    for family, found in zip(families, profiles, strict=True):
        if family.exponents is not None and family.is_free:
            inside = found.tried[2 * (found.tried_value.max() - found.tried_value) <= limit]
            return float(inside.min()), float(inside.max())
    return None
