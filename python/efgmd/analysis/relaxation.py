"""Quadrupolar spin relaxation in high field, for any spin: the Redfield matrix, T1, T2 and recovery curves.

The fluctuating coupling is the tensor ``w_ij = e Q V_ij / hbar`` (rad/s; its largest principal value is ``2 pi Cq``),
the Hamiltonian ``H/hbar = 1/(2I(2I-1)) sum_m (-1)^m w_2m T_2-m``, with ``T_2m`` the operators of `spin_operators` and
``w_2m`` the components of `efgmd.tensors.cartesian_to_spherical` along the field. Then, for motion fast against the
relaxation,

    d rho/dt = - 1/2 (2I(2I-1))^-2 sum_m J_m [T_2m^+, [T_2m, rho - rho_eq]],
    J_m = integral over all times of <conj(w_2m(0)) w_2m(t)> cos(m w0 t),

A. Abragam, *The Principles of Nuclear Magnetism* (Oxford 1961), ch. VIII. Coherences of different order do not mix, as
the Larmor frequency is large against the relaxation. Dynamic frequency shifts (the sine transforms) are left out. Zero
field (NQR relaxation) is not treated: there the levels are those of the coupling itself.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efgmd.errors import ConfigError, DataError

FloatArray = NDArray[np.float64]

_SAME_RATE = 1e-6
_NO_WEIGHT = 1e-9


def spin_operators(spin: Fraction | float) -> FloatArray:
    """Operators T_2m, m = -2..2, in the basis ``I, I-1, ..., -I``, of shape ``(5, 2I+1, 2I+1)``.

    ``T_0 = (3 Iz^2 - I(I+1))/sqrt(6)``, ``T_+-1 = -+(Iz I+- + I+- Iz)/2``, ``T_+-2 = I+-^2/2``.
    """
    i = float(spin)
    m = i - np.arange(round(2 * i + 1))
    z, raising = np.diag(m), np.diag(np.sqrt(i * (i + 1) - m[1:] * (m[1:] + 1)), k=1)
    lowering = raising.T
    zero = (3 * z @ z - i * (i + 1) * np.eye(len(m))) / np.sqrt(6)
    one = -(z @ raising + raising @ z) / 2
    minus_one = (z @ lowering + lowering @ z) / 2
    return np.stack([lowering @ lowering / 2, minus_one, zero, one, raising @ raising / 2])


def extreme_narrowing_rate(spin: Fraction | float, cq_hz: float, eta: float, tau_s: float) -> float:
    """``1/T1 = 1/T2`` (1/s) under isotropic motion that is fast against the Larmor period.

    ``3/40 (2I+3)/(I^2 (2I-1)) (1 + eta^2/3) (2 pi Cq)^2 tau`` (A. Abragam, 1961, ch. VIII, eq. 137), with tau the
    correlation time of the tensor.

    Parameters
    ----------
    spin
        1 or more.
    cq_hz, eta
        Coupling constant (Hz) and asymmetry of the tensor that moves.
    tau_s
        Seconds.
    """
    i = _valid_spin(spin)
    factor = 3 / 40 * (2 * i + 3) / (i**2 * (2 * i - 1))
    return float(factor * (1 + eta**2 / 3) * (2 * np.pi * cq_hz) ** 2 * tau_s)


@dataclass(frozen=True)
class Decay:
    """A sum of exponentials, ``sum_k weights[k] exp(-rates[k] t)``, 1 at t = 0.

    Attributes
    ----------
    rates
        1/s, ascending, of shape ``(k,)``.
    weights
        Their sum is 1.
    """

    rates: FloatArray
    weights: FloatArray

    @property
    def initial_rate(self) -> float:
        """Slope at the start, the weighted mean of the rates, 1/s."""
        return float(self.rates @ self.weights)

    @property
    def time_s(self) -> float:
        """Inverse of `initial_rate`; the time constant itself where there is one exponential."""
        return 1 / self.initial_rate if self.initial_rate > 0 else float("inf")

    def at(self, times_s: ArrayLike) -> FloatArray:
        """Values at ``times_s`` (seconds), of the same shape."""
        times = np.asarray(times_s, dtype=np.float64)
        return np.asarray(np.exp(-times[..., None] * self.rates) @ self.weights)


class QuadrupolarRelaxation:
    """Relaxation matrix of a spin under a fluctuating quadrupole coupling in high field.

    Parameters
    ----------
    spin
        Nuclear spin, 1 or more.

    Raises
    ------
    ConfigError
        for spins below 1 or neither integer nor half-integer.
    """

    def __init__(self, spin: Fraction | float) -> None:
        self._spin = _valid_spin(spin)
        self._populations: FloatArray | None = None

    def compute(self, densities: ArrayLike) -> "QuadrupolarRelaxation":
        """Build the matrix.

        Parameters
        ----------
        densities
            ``J_0(0)``, ``J_1(w0)``, ``J_2(2 w0)`` of the coupling in angular frequency, rad^2/s, of shape ``(3,)``.

        Raises
        ------
        DataError
            When a density is negative or not finite.
        """
        values = np.asarray(densities, dtype=np.float64)
        if values.shape != (3,) or not np.isfinite(values).all() or (values < 0).any():
            raise DataError(f"relaxation needs three spectral densities, finite and not negative, got {values}")
        operators = spin_operators(self._spin)
        size = operators.shape[1]
        basis = np.eye(size * size).reshape(size, size, size, size)  # [a, b] is the operator |a><b|
        relaxed = np.zeros_like(basis)
        for order, operator in zip(range(-2, 3), operators, strict=True):
            inner = operator @ basis - basis @ operator
            relaxed += values[abs(order)] * (operator.T @ inner - inner @ operator.T)
        relaxed *= 0.5 / (2 * self._spin * (2 * self._spin - 1)) ** 2
        levels, upper = np.arange(size), np.arange(size - 1)
        self._populations = relaxed[levels[:, None], levels[:, None], levels, levels]
        self._coherences = relaxed[upper[:, None], upper[:, None] + 1, upper, upper + 1]
        return self

    @property
    def populations(self) -> FloatArray:
        """Matrix R with ``d p/dt = -R (p - p_eq)`` for the populations of ``m = I..-I``, 1/s, ``(2I+1, 2I+1)``."""
        if self._populations is None:
            raise DataError("call compute(densities) before asking for its results")
        return self._populations

    @property
    def coherences(self) -> FloatArray:
        """Matrix of the 2I coherences between ``m`` and ``m-1``, highest first, 1/s, of shape ``(2I, 2I)``."""
        _ = self.populations
        return self._coherences

    def longitudinal(self, excited: Literal["all", "central"] = "all") -> Decay:
        """Recovery of the magnetisation towards equilibrium, as the share that is still missing.

        Parameters
        ----------
        excited
            ``all``: every transition is inverted or saturated, and the total magnetisation observed. ``central``: only
            the transition 1/2, -1/2 of a half-integer spin is excited and observed, as in a solid whose satellites are
            far away.
        """
        m = self._spin - np.arange(round(2 * self._spin + 1))
        if excited == "central":
            if round(2 * self._spin) % 2 == 0:
                raise ConfigError(f"spin {self._spin:g} has no central transition; use excited='all'")
            m = m * (np.abs(m) == 0.5)
        return _decay(self.populations, np.asarray(m))

    def transverse(self, satellites: Literal["overlapping", "resolved"] = "overlapping") -> Decay:
        """Decay of the transverse magnetisation after a pulse on all transitions.

        Parameters
        ----------
        satellites
            ``overlapping``: the 2I transitions have one frequency (no mean coupling, as in liquids and on cubic sites),
            and relaxation exchanges their coherences. ``resolved``: their frequencies differ by far more than the
            relaxation rates, and each decays on its own.
        """
        i = self._spin
        m = i - np.arange(round(2 * i))
        elements = np.sqrt(i * (i + 1) - m * (m - 1))
        matrix = self.coherences
        return _decay(matrix if satellites == "overlapping" else np.diag(np.diag(matrix)), elements)

    def central_transverse(self) -> float:
        """Decay rate (1/s) of the central coherence of a half-integer spin with resolved satellites."""
        if round(2 * self._spin) % 2 == 0:
            raise ConfigError(f"spin {self._spin:g} has no central transition")
        middle = (len(self.coherences) - 1) // 2
        return float(self.coherences[middle, middle])


def _decay(matrix: FloatArray, start: FloatArray) -> Decay:
    """Overlap of ``exp(-matrix t) start`` with ``start``, from the eigenvalues; equal rates are merged."""
    found, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    weights = (vectors.T @ start) ** 2 / (start @ start)
    scale = max(abs(found[-1]), np.finfo(float).tiny)
    rates: list[float] = []
    shares: list[float] = []
    for rate, weight in zip(np.clip(found, 0.0, None), weights, strict=True):
        if weight < _NO_WEIGHT:
            continue
        if rates and rate - rates[-1] < _SAME_RATE * scale:
            shares[-1] += weight
        else:
            rates.append(float(rate))
            shares.append(float(weight))
    return Decay(np.array(rates), np.array(shares) / sum(shares))


def _valid_spin(spin: Fraction | float) -> float:
    value = float(spin)
    if value < 1 or round(2 * value) != 2 * value:
        raise ConfigError(f"quadrupolar relaxation needs a spin of 1, 3/2, 2, ..., got {spin}")
    return value
