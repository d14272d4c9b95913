"""Quadrupolar nuclei: spins, quadrupole moments, coupling constants and NQR lines.

Quadrupole moments are in millibarn (1 mb = 1e-31 m^2), couplings in MHz, EFGs in atomic units. The built-in moments
follow P. Pyykkö, Mol. Phys. 106, 1965 (2008); later tables differ by up to a few per cent, so every moment can be set.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efgmd.errors import ConfigError

#: Cq in MHz for Q = 1 barn and Vzz = 1 a.u.: e * barn * Hartree/(e bohr^2) / h (CODATA 2022).
MHZ_PER_BARN_AU = 234.9647784716

_PYYKKO = "Pyykkö 2008"
_HALF_INTEGER = {
    "7Li": ("3/2", -40.1),
    "11B": ("3/2", 40.59),
    "17O": ("5/2", -25.58),
    "23Na": ("3/2", 104.0),
    "25Mg": ("5/2", 199.4),
    "27Al": ("5/2", 146.6),
    "35Cl": ("3/2", -81.65),
    "37Cl": ("3/2", -64.35),
    "39K": ("3/2", 58.5),
    "43Ca": ("7/2", -40.8),
    "79Br": ("3/2", 313.0),
    "81Br": ("3/2", 262.0),
    "87Rb": ("3/2", 133.5),
    "127I": ("5/2", -696.0),
    "133Cs": ("7/2", -3.43),
}
_MOMENTS = {"2H": ("1", 2.86), "14N": ("1", 20.44), **_HALF_INTEGER}

_SPIN_HALF = frozenset(
    {
        "1H",
        "3H",
        "3He",
        "13C",
        "15N",
        "19F",
        "29Si",
        "31P",
        "57Fe",
        "77Se",
        "89Y",
        "103Rh",
        "107Ag",
        "109Ag",
        "111Cd",
        "113Cd",
        "115Sn",
        "117Sn",
        "119Sn",
        "123Te",
        "125Te",
        "129Xe",
        "169Tm",
        "171Yb",
        "183W",
        "187Os",
        "195Pt",
        "199Hg",
        "203Tl",
        "205Tl",
        "207Pb",
    }
)

#: Mass of deuterium in unified atomic mass units: the one isotope whose mass changes the dynamics a campaign sees.
DEUTERIUM_MASS = 2.014101778


@dataclass(frozen=True)
class Nucleus:
    """A quadrupolar nucleus.

    Attributes
    ----------
    name
        Mass number and element, for example ``127I``.
    spin
        Nuclear spin I.
    moment_mb
        Electric quadrupole moment Q in millibarn, with its sign.
    source
        Where Q comes from.
    """

    name: str
    spin: Fraction
    moment_mb: float
    source: str

    @property
    def element(self) -> str:
        """Chemical symbol."""
        return self.name.lstrip("0123456789")

    def coupling_mhz(self, vzz: ArrayLike) -> NDArray[np.float64]:
        """Cq = e Q Vzz / h in MHz, with its sign, for Vzz in atomic units of any shape."""
        return MHZ_PER_BARN_AU * self.moment_mb * 1e-3 * np.asarray(vzz, dtype=np.float64)


def nucleus(name: str, moment_mb: float | None = None, spin: str | float | None = None) -> Nucleus:
    """Look up a quadrupolar nucleus.

    Parameters
    ----------
    name
        Mass number and element, for example ``127I``.
    moment_mb
        Quadrupole moment in millibarn, replacing the built-in one; needed for nuclei that are not built in.
    spin
        Nuclear spin such as ``7/2``, needed only for nuclei that are not built in.

    Raises
    ------
    ConfigError
        for spin-0 and spin-1/2 nuclei, unknown nuclei, spins that the nucleus does not have, and moments that are
        zero or not finite.
    """
    from ase.data import atomic_numbers

    match = re.fullmatch(r"(\d+)([A-Z][a-z]?)", name)
    if not match or match[2] not in atomic_numbers:
        raise ConfigError(f"{name!r} is not a nucleus; write mass number and element, for example 127I, 14N or 2H")
    mass_number, number = int(match[1]), atomic_numbers[match[2]]
    if not number <= mass_number <= max(3 * number, 3):
        raise ConfigError(f"{name!r} is not a nucleus: element {match[2]} has no isotope of mass number {mass_number}")
    if name in _SPIN_HALF:
        raise ConfigError(f"{name} has spin 1/2 and no quadrupole moment; choose one of {_known(match[2])}")
    if number % 2 == 0 and mass_number % 2 == 0:
        raise ConfigError(f"{name} has spin 0 and no quadrupole moment; choose one of {_known(match[2])}")
    if moment_mb is not None and (not np.isfinite(moment_mb) or moment_mb == 0):
        raise ConfigError(f"quadrupole moment of {name} must be a non-zero number of millibarn, got {moment_mb}")
    if name in _MOMENTS:
        tabulated, moment = _MOMENTS[name]
        if spin is not None and _spin(name, spin) != Fraction(tabulated):
            raise ConfigError(f"{name} has spin {tabulated}, not {spin}; leave the spin out")
        found = Nucleus(name, Fraction(tabulated), moment, _PYYKKO)
        return found if moment_mb is None else replace(found, moment_mb=float(moment_mb), source="user")
    if moment_mb is None or spin is None:
        raise ConfigError(
            f"{name} is not built in; give its spin and quadrupole moment, in a campaign file as "
            f"{{name: {name}, moment_mb: ..., spin: ...}}, or choose one of {_known()}"
        )
    value = _spin(name, spin)
    if value < 1 or value.denominator > 2 or (value.denominator == 2) != (mass_number % 2 == 1):
        raise ConfigError(f"spin of {name} must be 1 or more, half-integer for odd mass numbers, got {spin}")
    return Nucleus(name, value, float(moment_mb), "user")


def _spin(name: str, text: str | float) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ConfigError(f"spin of {name} must be a number such as 3 or 7/2, got {text}") from None


def parse_nuclei(text: str) -> list[Nucleus]:
    """Nuclei from a list like ``127I,14N`` or ``127I=-688``, the latter with a quadrupole moment in mb.

    Raises
    ------
    ConfigError
        As `nucleus` does, and for a moment that is not a number.
    """
    found = []
    for item in text.split(","):
        name, equals, moment = item.strip().partition("=")
        try:
            found.append(nucleus(name, float(moment) if equals else None))
        except ValueError:
            raise ConfigError(f"quadrupole moment of {name}: '{moment}' is not a number of millibarn") from None
    return found


def known_nuclei(element: str) -> list[Nucleus]:
    """Built-in quadrupolar nuclei of an element, given by its symbol."""
    return [nucleus(name) for name in _MOMENTS if name.lstrip("0123456789") == element]


def _known(element: str | None = None) -> str:
    names = [found.name for found in known_nuclei(element)] if element else []
    return ", ".join(names or _MOMENTS)


def quadrupole_hamiltonian(spin: Fraction | float, cq: float, eta: float) -> NDArray[np.float64]:
    """Quadrupole Hamiltonian over h, in the unit of ``cq``, in the basis m = I, I-1, ..., -I.

    ``H = Cq / (4 I (2I - 1)) [3 Iz^2 - I(I + 1) + eta/2 (I+^2 + I-^2)]`` (Abragam 1961, ch. VII).

    Returns
    -------
    ndarray
        Real symmetric matrix of shape ``(2I+1, 2I+1)``.
    """
    i = float(spin)
    m = i - np.arange(round(2 * i + 1))
    raising = np.diag(np.sqrt(i * (i + 1) - m[1:] * (m[1:] + 1)), k=1)
    squares = raising @ raising
    bracket = np.diag(3 * m**2 - i * (i + 1)) + 0.5 * eta * (squares + squares.T)
    return cq / (4 * i * (2 * i - 1)) * bracket


def nqr_lines(spin: Fraction | float, cq: float, eta: float) -> NDArray[np.float64]:
    """Zero-field (NQR) frequencies, by exact diagonalisation.

    Half-integer spins: the I - 1/2 lines between neighbouring doublets (the others are forbidden at eta = 0 and weak
    otherwise), lowest doublet pair first. Integer spins: all differences that a magnetic dipole drives by more than
    1 % of the strongest, in ascending order, zero frequencies left out.

    Parameters
    ----------
    spin
        1 or more.
    cq
        Coupling constant, any frequency unit; its sign does not matter.
    eta
        Asymmetry parameter.

    Returns
    -------
    ndarray
        Frequencies in the unit of ``cq``, of shape ``(n_lines,)``.
    """
    i = float(spin)
    levels, states = np.linalg.eigh(quadrupole_hamiltonian(spin, abs(cq), eta))
    if round(2 * i) % 2 == 1:
        return np.diff(levels[::2])
    frequencies, strengths = _transitions(i, levels, states)
    return frequencies[strengths > 0.01 * strengths.max()]


def nqr_transitions(spin: Fraction | float, cq: float, eta: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All zero-field lines of a powder with their strengths, by exact diagonalisation.

    The strength is ``sum_k |<a| I_k |b>|^2`` over x, y, z and over the pairs of levels of one frequency: proportional
    to the absorption of a powder at high temperature, apart from the frequency of the line itself.

    Parameters
    ----------
    spin, cq, eta
        As in `nqr_lines`.

    Returns
    -------
    tuple of ndarray
        Frequencies in the unit of ``cq``, ascending, and strengths relative to the strongest, both of shape ``(n,)``;
        lines weaker than 1e-6 are left out.
    """
    levels, states = np.linalg.eigh(quadrupole_hamiltonian(spin, abs(cq), eta))
    frequencies, strengths = _transitions(float(spin), levels, states)
    seen = strengths > 1e-6 * strengths.max()
    return frequencies[seen], strengths[seen] / strengths.max()


def _transitions(
    i: float, levels: NDArray[np.float64], states: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distinct positive differences of levels, ascending, and their magnetic-dipole strengths."""
    m = i - np.arange(len(levels))
    raising = np.diag(np.sqrt(i * (i + 1) - m[1:] * (m[1:] + 1)), k=1)
    operators = (np.diag(m), (raising + raising.T) / 2, (raising - raising.T) / 2)
    strength = np.sum([(states.T @ operator @ states) ** 2 for operator in operators], axis=0)
    upper = np.triu_indices(len(levels), 1)
    frequencies, weights = (levels[None, :] - levels[:, None])[upper], strength[upper]
    scale = 1e-9 * np.abs(levels).max()
    order = np.argsort(frequencies)
    order = order[frequencies[order] > scale]
    starts = np.flatnonzero(np.diff(frequencies[order], prepend=-np.inf) > scale)
    return frequencies[order][starts], np.add.reduceat(weights[order], starts)
