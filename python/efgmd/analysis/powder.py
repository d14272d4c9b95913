"""Static powder spectra: the Pake pattern in closed form, and any spin at any field by exact diagonalisation."""

from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.special import ellipk

from efgmd.errors import ConfigError, DataError
from efgmd.nuclei import quadrupole_hamiltonian

FloatArray = NDArray[np.float64]

_FWHM = 2 * np.sqrt(2 * np.log(2))
_CHUNK = 4096


class PakePattern:
    """First-order powder spectrum of a spin 1, for example 2H: two mirrored patterns with sharp horns.

    The frequency of one transition in a crystallite is ``3/8 Cq (3 cos^2 theta - 1 + eta sin^2 theta cos 2 phi)``; the
    other has the opposite sign. Each is distributed as under a chemical shift anisotropy with principal values
    ``3/4 Cq, -3/8 Cq (1 - eta), -3/8 Cq (1 + eta)``, a complete elliptic integral (N. Bloembergen and T. J. Rowland,
    Phys. Rev. 97, 1679 (1955)). So horns are ``3/4 Cq (1 - eta)`` apart, shoulders ``3/4 Cq (1 + eta)``, and edges
    ``3/2 Cq``.

    Parameters
    ----------
    cq, eta
        Coupling constant, in any frequency unit, with any sign, and asymmetry parameter.
    """

    def __init__(self, cq: float, eta: float) -> None:
        self.cq, self.eta = valid_coupling(cq, eta)
        half = 0.375 * abs(cq)
        self._principal = (-half * (1 + eta), -half * (1 - eta), 2 * half)

    def density(self, frequencies: ArrayLike) -> FloatArray:
        """Probability density of both transitions together, of the shape of ``frequencies`` (offsets from Larmor).

        Infinite at the horns, so average it over bins before drawing (`spectrum`).
        """
        offsets = np.asarray(frequencies, dtype=np.float64)
        return 0.5 * (_shift_density(offsets, *self._principal) + _shift_density(-offsets, *self._principal))

    def spectrum(self, frequencies: ArrayLike, fwhm: float = 0.0) -> FloatArray:
        """Spectrum of unit area on an even grid of frequencies, averaged over each step and broadened.

        Parameters
        ----------
        frequencies
            Offsets from the Larmor frequency, ascending and even, of shape ``(n,)``.
        fwhm
            Full width of a Gaussian broadening.
        """
        grid, step = even_grid(frequencies)
        # Each step of the grid is divided; the points avoid the singularities, and sqrt and log ones integrate well.
        parts = 256
        inner = (np.arange(parts) + 0.5) / parts - 0.5
        fine = self.density(grid[:, None] + step * inner)
        return broaden(np.where(np.isfinite(fine), fine, 0.0).mean(axis=1), step, fwhm)


class ExactPowder:
    """Static powder spectrum of any spin at any field, by diagonalising Zeeman plus quadrupole Hamiltonian.

    No perturbation theory is involved: the result holds from high field through comparable couplings to zero field,
    where it shows the NQR lines. Crystallites lie on a spiral that covers the sphere evenly. High-temperature
    intensities: ``|<a| Ix |b>|^2``, averaged over the directions of the coil perpendicular to the field, all
    transitions excited alike.

    Parameters
    ----------
    spin
        1 or more.
    cq, eta
        Coupling constant (MHz) with any sign, and asymmetry parameter.
    larmor_mhz
        Larmor frequency; 0 for zero field.
    orientations
        Number of crystallites.
    """

    def __init__(
        self, spin: Fraction | float, cq: float, eta: float, larmor_mhz: float, orientations: int = 20000
    ) -> None:
        self._spin = float(spin)
        self._cq, self._eta = valid_coupling(cq, eta)
        if self._spin < 1 or not larmor_mhz >= 0 or orientations < 1:
            raise ConfigError(
                "a powder spectrum needs a spin of 1 or more, a field that is not negative, and orientations"
            )
        self._larmor, self._orientations = larmor_mhz, orientations
        self._found: tuple[FloatArray, FloatArray] | None = None

    def compute(self) -> "ExactPowder":
        """Diagonalise all crystallites."""
        i = self._spin
        m = i - np.arange(round(2 * i + 1))
        raising = np.diag(np.sqrt(i * (i + 1) - m[1:] * (m[1:] + 1)), k=1)
        x, y, z = (raising + raising.T) / 2, (raising - raising.T) / 2j, np.diag(m)
        coupling = quadrupole_hamiltonian(i, self._cq, self._eta)
        upper = np.triu_indices(len(m), 1)
        lines, strengths = [], []
        for start in range(0, self._orientations, _CHUNK):
            field, across, along = _spiral(start, min(start + _CHUNK, self._orientations), self._orientations)
            spins = np.stack([x, y, z])
            zeeman = -self._larmor * np.tensordot(field, spins, axes=1)
            levels, states = np.linalg.eigh(coupling + zeeman)
            bra = np.conj(np.swapaxes(states, 1, 2))
            strength = sum(np.abs(bra @ np.tensordot(axis, spins, axes=1) @ states) ** 2 for axis in (across, along))
            lines.append((levels[:, None, :] - levels[:, :, None])[:, *upper])
            strengths.append(strength[:, *upper])
        self._found = np.concatenate(lines), np.concatenate(strengths)
        return self

    @property
    def lines(self) -> tuple[FloatArray, FloatArray]:
        """Frequencies (MHz) and strengths of all transitions of all crystallites, each of shape ``(n, pairs)``.

        Raises
        ------
        DataError
            Before `compute`.
        """
        if self._found is None:
            raise DataError("call compute() before asking for its results")
        return self._found

    def strengths(self, frequencies_mhz: ArrayLike) -> FloatArray:
        """Strength of the lines in each step of an even grid of absolute frequencies, of shape ``(n,)``.

        That of a nucleus, whatever its coupling, so that those of several sites add up. Lines outside of the grid are
        left out.
        """
        grid, step = even_grid(frequencies_mhz)
        lines, strengths = self.lines
        edges = np.append(grid - step / 2, grid[-1] + step / 2)
        return np.asarray(np.histogram(lines, edges, weights=strengths)[0] / len(lines))

    def spectrum(self, frequencies_mhz: ArrayLike, fwhm_mhz: float = 0.0) -> FloatArray:
        """Spectrum of unit area on an even grid of absolute frequencies, of shape ``(n,)``.

        Parameters
        ----------
        frequencies_mhz
            Ascending and even. Lines outside of it are left out.
        fwhm_mhz
            Full width of a Gaussian broadening, at least about two steps for a smooth line.
        """
        return unit_area(self.strengths(frequencies_mhz), frequencies_mhz, fwhm_mhz)


def even_grid(frequencies: ArrayLike) -> tuple[FloatArray, float]:
    """The grid and its step.

    Raises
    ------
    DataError
        When it is not ascending and even.
    """
    grid = np.asarray(frequencies, dtype=np.float64)
    steps = np.diff(grid)
    if grid.ndim != 1 or len(grid) < 2 or not steps[0] > 0 or not np.allclose(steps, steps[0], rtol=1e-6):
        raise DataError("a spectrum needs frequencies in ascending order and even steps")
    return grid, float(steps[0])


def unit_area(strengths: FloatArray, frequencies_mhz: ArrayLike, fwhm_mhz: float) -> FloatArray:
    """Spectrum of unit area from the strength in each step of a grid.

    Raises
    ------
    ConfigError
        When there is no line.
    """
    grid, step = even_grid(frequencies_mhz)
    if not strengths.any():
        raise ConfigError(
            f"no transition lies between {grid[0]:.6g} and {grid[-1]:.6g} MHz; shift or widen the spectrum"
        )
    return broaden(strengths / (strengths.sum() * step), step, fwhm_mhz)


def broaden(spectrum: FloatArray, step: float, fwhm: float) -> FloatArray:
    """Convolve a spectrum with a Gaussian; nothing is folded back at its ends."""
    if fwhm <= 0:
        return spectrum
    return np.asarray(gaussian_filter1d(spectrum, fwhm / _FWHM / step, mode="constant", truncate=6.0))


def valid_coupling(cq: float, eta: float) -> tuple[float, float]:
    """Cq and eta, or a ConfigError when they make no spectrum."""
    if not np.isfinite(cq) or cq == 0:
        raise ConfigError(f"a spectrum needs a Cq that is finite and not zero, got {cq}")
    if not 0 <= eta <= 1:
        raise ConfigError(f"eta lies between 0 and 1, got {eta}")
    return float(cq), float(eta)


def _shift_density(offsets: FloatArray, low: float, middle: float, high: float) -> FloatArray:
    """Density of ``sum_k principal_k n_k^2`` for isotropic directions n."""
    result = np.zeros(offsets.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = (offsets > middle) & (offsets <= high)
        x = offsets[above]
        modulus = (middle - low) * (high - x) / ((high - middle) * (x - low))
        result[above] = ellipk(modulus) / (np.pi * np.sqrt((x - low) * (high - middle)))
        below = (offsets < middle) & (offsets >= low)
        x = offsets[below]
        modulus = (x - low) * (high - middle) / ((high - x) * (middle - low))
        result[below] = ellipk(modulus) / (np.pi * np.sqrt((high - x) * (middle - low)))
    return result


def _spiral(first: int, last: int, count: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Directions of an even spiral over the sphere and two directions across each, all of shape ``(n, 3)``."""
    number = np.arange(first, last) + 0.5
    height = 1 - 2 * number / count
    radius, angle = np.sqrt(1 - height**2), np.pi * (3 - np.sqrt(5)) * number
    cosine, sine = np.cos(angle), np.sin(angle)
    field = np.stack([radius * cosine, radius * sine, height], axis=1)
    across = np.stack([height * cosine, height * sine, -radius], axis=1)
    along = np.stack([-sine, cosine, np.zeros(len(number))], axis=1)
    return field, across, along
