"""Wigner 3j symbols of real spherical harmonics in e3nn's basis, without the seconds that importing e3nn takes."""

from functools import cache
from math import factorial, sqrt

import numpy as np
from numpy.typing import NDArray


def _clebsch_gordan(j1: int, m1: int, j2: int, m2: int, j3: int, m3: int) -> float:
    """<j1 m1 j2 m2 | j3 m3> for m1 + m2 = m3, by Racah's sum (Varshalovich et al., 1988, eq. 8.2.1(3))."""
    norm = (2 * j3 + 1) * factorial(j1 + j2 - j3) * factorial(j1 - j2 + j3) * factorial(j2 - j1 + j3)
    for j, m in ((j1, m1), (j2, m2), (j3, m3)):
        norm *= factorial(j + m) * factorial(j - m)
    total = 0.0
    for k in range(max(0, j2 - j3 - m1, j1 - j3 + m2), min(j1 + j2 - j3, j1 - m1, j2 + m2) + 1):
        terms = (k, j1 + j2 - j3 - k, j1 - m1 - k, j2 + m2 - k, j3 - j2 + m1 + k, j3 - j1 - m2 + k)
        divisor = 1
        for term in terms:
            divisor *= factorial(term)
        total += (-1) ** k / divisor
    return sqrt(norm / factorial(j1 + j2 + j3 + 1)) * total


def _real_to_complex(l: int) -> NDArray[np.complex128]:
    """Complex harmonics (rows) as sums of the real ones; the phase makes the coupling of real ones real."""
    change = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    change[l, l] = 1
    for m in range(1, l + 1):
        change[l - m, l + m], change[l - m, l - m] = sqrt(0.5), -1j * sqrt(0.5)
        change[l + m, l + m], change[l + m, l - m] = (-1) ** m * sqrt(0.5), 1j * (-1) ** m * sqrt(0.5)
    return (-1j) ** l * change


@cache
def wigner_3j(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    """Invariant tensor of three irreps of SO(3), as ``e3nn.o3.wigner_3j``.

    Returns
    -------
    ndarray
        Read-only, of shape ``(2 l1 + 1, 2 l2 + 1, 2 l3 + 1)`` and unit Frobenius norm.

    Raises
    ------
    ValueError
        If the degrees do not couple.
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"degrees {l1}, {l2} and {l3} do not couple: expected |{l1} - {l2}| <= {l3} <= {l1} + {l2}")
    coupling = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            coupling[l1 + m1, l2 + m2, l3 + m1 + m2] = _clebsch_gordan(l1, m1, l2, m2, l3, m1 + m2)
    changes = _real_to_complex(l1), _real_to_complex(l2), _real_to_complex(l3).conj()
    symbols = np.einsum("ai,bj,ck,abc->ijk", *changes, coupling).real
    symbols /= np.linalg.norm(symbols)
    symbols.flags.writeable = False
    return symbols
