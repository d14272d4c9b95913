"""Static and spinning powder spectra with mrsimulator, first and second order in the quadrupole coupling."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from efgmd.analysis.powder import broaden, valid_coupling
from efgmd.errors import ConfigError, DataError

FloatArray = NDArray[np.float64]

#: Quadrupole frequency over Larmor frequency up to which second order is trusted.
MAX_RATIO = 0.2
_SYMBOL = "1efgmd"
_DRAWS = 150


@dataclass(frozen=True)
class SpectrumSite:
    """What one site adds to a spectrum.

    Attributes
    ----------
    cq, cq_error
        Coupling constant and its standard error, MHz; 0 or None for no error.
    eta, eta_error
        Asymmetry parameter and its standard error.
    weight
        Share of the nuclei, in any unit.
    """

    cq: float
    eta: float
    weight: float = 1.0
    cq_error: float | None = None
    eta_error: float | None = None


def quadrupole_frequency(spin: Fraction | float, cq: float) -> float:
    """``nu_Q = 3 |Cq| / (2I(2I-1))``, the largest distance of neighbouring lines in first order."""
    i = float(spin)
    return 3 * abs(cq) / (2 * i * (2 * i - 1))


def spectrum_reach(spin: Fraction | float, cq: float, larmor: float, transitions: Literal["all", "central"]) -> float:
    """Largest distance of a line from the Larmor frequency, a bound in first and second order, in the unit of Cq."""
    i, nu_q = float(spin), quadrupole_frequency(spin, cq)
    second = (i * (i + 1) - 0.75) * nu_q**2 / larmor if larmor > 0 else 0.0
    return (nu_q * (i - 0.5) if transitions == "all" else 0.0) + 0.3 * second


class PowderSpectrum:
    """One-pulse spectrum of a powder, static or under magic-angle spinning, simulated by mrsimulator.

    mrsimulator (D. Srivastava et al., J. Chem. Phys. 161, 212501 (2024)) has a table of spins, moments and gyromagnetic
    ratios of its own. None of it is used: the nucleus is registered under a name of its own with the spin and Larmor
    frequency given here, and the coupling is passed as Cq, so its quadrupole moments cannot enter.

    Parameters
    ----------
    spin
        1 or more.
    larmor_mhz
        Larmor frequency.
    width_mhz
        Width of the spectrum, around the Larmor frequency.
    points
        Number of frequencies.
    spinning_khz
        Rotation about the magic angle; 0 for a static sample.
    transitions
        ``all`` single-quantum transitions excited alike, or the ``central`` one of half-integer spins.
    fwhm_khz
        Full width of a Gaussian broadening.
    density
        mrsimulator's integration density: points along an edge of its octahedron.

    Raises
    ------
    ConfigError
        When mrsimulator is not installed, or the settings do not make a spectrum.
    """

    def __init__(
        self,
        spin: Fraction | float,
        larmor_mhz: float,
        width_mhz: float,
        points: int = 2048,
        spinning_khz: float = 0.0,
        transitions: Literal["all", "central"] = "all",
        fwhm_khz: float = 0.0,
        density: int = 120,
    ) -> None:
        if not larmor_mhz > 0 or not width_mhz > 0 or points < 16 or spinning_khz < 0 or fwhm_khz < 0:
            raise ConfigError(
                "a powder spectrum needs a positive field and width, at least 16 points, and a spinning rate and "
                "broadening that are not negative"
            )
        if transitions == "central" and Fraction(spin).limit_denominator(2).denominator != 2:
            raise ConfigError(f"spin {float(spin):g} has no central transition; simulate all transitions")
        self._mrsimulator = _load()
        self._spin, self._larmor, self._width, self._points = float(spin), larmor_mhz, width_mhz, points
        self._spinning, self._transitions, self._fwhm, self._density = spinning_khz, transitions, fwhm_khz, density
        self._spectrum: FloatArray | None = None
        self._band: tuple[FloatArray, FloatArray] | None = None

    def compute(self, sites: Sequence[SpectrumSite], band: bool = False, seed: int = 0) -> "PowderSpectrum":
        """Simulate the sum over sites.

        Parameters
        ----------
        sites
            At least one.
        band
            Also simulate 150 spectra with Cq and eta drawn from normal distributions of their errors (eta reflected at
            0 and 1), for `band`.
        seed
            Of these draws.

        Raises
        ------
        ConfigError
            When a coupling is too large for perturbation theory at this field, or lines of a static spectrum of all
            transitions fall outside of the width. Other spectra are cut off there.
        """
        for site in sites:
            self._check(site)
        self._spectrum = self._simulate([(site.cq, site.eta, site.weight) for site in sites])
        self._band = None
        if band:
            rng = np.random.default_rng(seed)
            drawn = [self._simulate([_drawn(site, rng) for site in sites]) for _ in range(_DRAWS)]
            low, high = np.percentile(drawn, [15.865, 84.135], axis=0)
            self._band = low, high
        return self

    def _check(self, site: SpectrumSite) -> None:
        cq, _ = valid_coupling(site.cq, site.eta)
        ratio = quadrupole_frequency(self._spin, cq) / self._larmor
        if ratio > MAX_RATIO:
            raise ConfigError(
                f"Cq = {cq:.4g} MHz is too large for second-order perturbation theory at a Larmor frequency of "
                f"{self._larmor:.4g} MHz (nu_Q/nu_0 = {ratio:.2g}, at most {MAX_RATIO}); use the exact static spectrum"
            )
        reach = spectrum_reach(self._spin, cq, self._larmor, self._transitions)
        if self._spinning == 0 and 2 * reach > self._width and self._transitions == "all":
            raise ConfigError(
                f"lines reach {1000 * reach:.4g} kHz from the Larmor frequency, beyond a width of "
                f"{1000 * self._width:.4g} kHz; widen the spectrum"
            )

    def _simulate(self, sites: Sequence[tuple[float, float, float]]) -> FloatArray:
        modules = self._mrsimulator
        modules.Isotope.register(
            _SYMBOL,
            spin_multiplicity=round(2 * self._spin + 1),
            gyromagnetic_ratio=self._larmor,  # MHz/T, in a field of 1 T
            quadrupole_moment=0.0,
            natural_abundance=100.0,
            atomic_number=1,
        )
        method = modules.all if self._transitions == "all" else modules.central
        dimension = modules.SpectralDimension(count=self._points, spectral_width=1e6 * self._width)
        systems = [
            modules.SpinSystem(
                sites=[modules.Site(isotope=_SYMBOL, quadrupolar={"Cq": 1e6 * cq, "eta": eta})], abundance=weight
            )
            for cq, eta, weight in sites
        ]
        simulator = modules.Simulator(
            spin_systems=systems,
            methods=[
                method(
                    channels=[_SYMBOL],
                    magnetic_flux_density=1.0,
                    rotor_frequency=1000 * self._spinning,
                    spectral_dimensions=[dimension],
                )
            ],
        )
        simulator.config.integration_density = self._density
        simulator.config.integration_volume = "octant"  # a quadrupole coupling alone is symmetric in all octants
        if self._spinning:
            reach = max(spectrum_reach(self._spin, cq, self._larmor, self._transitions) for cq, _, _ in sites)
            simulator.config.number_of_sidebands = max(64, 2 * int(np.ceil(1500 * reach / self._spinning)))
        simulator.run()
        amplitude = np.real(simulator.methods[0].simulation.y[0].components[0])
        step = self._width / self._points
        total = amplitude.sum() * step
        if not total > 0:
            raise ConfigError("no line falls into the spectrum; widen it")
        return broaden(np.asarray(amplitude / total, dtype=np.float64), step, self._fwhm / 1000)

    @property
    def frequencies_mhz(self) -> FloatArray:
        """Offsets from the Larmor frequency, MHz, ascending, of shape ``(points,)``."""
        return np.asarray((np.arange(self._points) - self._points // 2) * (self._width / self._points))

    @property
    def spectrum(self) -> FloatArray:
        """Spectrum of unit area, 1/MHz, of shape ``(points,)``.

        Raises
        ------
        DataError
            Before `compute`.
        """
        if self._spectrum is None:
            raise DataError("call compute(sites) before asking for its results")
        return self._spectrum

    @property
    def band(self) -> tuple[FloatArray, FloatArray] | None:
        """Central 68 % of the spectra within the errors of Cq and eta, point by point; None unless asked for."""
        _ = self.spectrum
        return self._band


def _drawn(site: SpectrumSite, rng: np.random.Generator) -> tuple[float, float, float]:
    cq = site.cq + (site.cq_error or 0.0) * rng.standard_normal()
    eta = abs(site.eta + (site.eta_error or 0.0) * rng.standard_normal()) % 2
    return cq, float(min(eta, 2 - eta)), site.weight


@dataclass(frozen=True)
class _Mrsimulator:
    Isotope: Any
    Simulator: Any
    SpinSystem: Any
    Site: Any
    SpectralDimension: Any
    all: Any
    central: Any


def _load() -> _Mrsimulator:
    try:
        import mrsimulator
        from mrsimulator.method import SpectralDimension
        from mrsimulator.method.lib import BlochDecayCTSpectrum, BlochDecaySpectrum
        from mrsimulator.spin_system.isotope import Isotope
    except ImportError as error:
        raise ConfigError(
            f"powder spectra need mrsimulator ({error}); install it with: pip install 'efgmd[spectra]'"
        ) from error
    return _Mrsimulator(
        Isotope,
        mrsimulator.Simulator,
        mrsimulator.SpinSystem,
        mrsimulator.Site,
        SpectralDimension,
        BlochDecaySpectrum,
        BlochDecayCTSpectrum,
    )
