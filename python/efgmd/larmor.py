"""Gyromagnetic ratios and Larmor frequencies of the quadrupolar nuclei that are built in.

Values: R. K. Harris, E. D. Becker, S. M. Cabral de Menezes, R. Goodfellow and P. Granger, Pure Appl. Chem. 73, 1795
(2001), from magnetic moments of bare nuclei. In compounds the shielding lowers the resonance, by 0.03 % for 14N and
some 0.5 % for 127I.
"""

import math

from efgmd.errors import ConfigError

#: Gyromagnetic ratio in 1e7 rad/(s T), with its sign.
GYROMAGNETIC_1E7 = {
    "2H": 4.10662791,
    "7Li": 10.3977013,
    "11B": 8.5847044,
    "14N": 1.9337792,
    "17O": -3.62808,
    "23Na": 7.0808493,
    "25Mg": -1.63887,
    "27Al": 6.9762715,
    "35Cl": 2.624198,
    "37Cl": 2.184368,
    "39K": 1.2500608,
    "43Ca": -1.803069,
    "79Br": 6.725616,
    "81Br": 7.249776,
    "87Rb": 8.786400,
    "127I": 5.389573,
    "133Cs": 3.5332539,
}


def larmor_mhz(name: str, field_tesla: float) -> float:
    """Larmor frequency ``|gamma| B0 / 2 pi`` in MHz; its sign does not matter to relaxation and line shapes.

    Parameters
    ----------
    name
        Mass number and element, for example ``14N``.
    field_tesla
        Magnetic flux density B0.

    Raises
    ------
    ConfigError
        for a nucleus without a built-in gyromagnetic ratio, and for fields that are negative or not finite.
    """
    if not (math.isfinite(field_tesla) and field_tesla >= 0):
        raise ConfigError(f"magnetic field must be a number of tesla, not negative, got {field_tesla}")
    if name not in GYROMAGNETIC_1E7:
        raise ConfigError(
            f"the gyromagnetic ratio of {name} is not built in (known: {', '.join(GYROMAGNETIC_1E7)}); "
            "give the Larmor frequency (efgmd spectrum --larmor) or no field"
        )
    return abs(GYROMAGNETIC_1E7[name]) * 10.0 * field_tesla / (2 * math.pi)
