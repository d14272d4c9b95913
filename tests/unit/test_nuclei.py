"""Nuclei and NQR lines against literature numbers and closed formulas."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import constants
from soprano.data.nmr import _get_isotope_data

from efgmd.errors import ConfigError
from efgmd.larmor import GYROMAGNETIC_1E7
from efgmd.nuclei import _MOMENTS, MHZ_PER_BARN_AU, nqr_lines, nucleus, quadrupole_hamiltonian
from efgmd.tensors import VOLT_PER_ANGSTROM2


def test_conversion_follows_from_the_fundamental_constants():
    gradient = constants.physical_constants["atomic unit of electric field gradient"][0]
    assert gradient / 1e20 == pytest.approx(VOLT_PER_ANGSTROM2, rel=1e-7)
    assert constants.e * 1e-28 * gradient / constants.h / 1e6 == pytest.approx(MHZ_PER_BARN_AU, rel=1e-7)


def test_coupling_of_iodine_and_nitrogen_at_known_gradients():
    assert nucleus("127I").coupling_mhz(3.36) == pytest.approx(-550, rel=2e-3)
    assert 1000 * nucleus("14N").coupling_mhz(0.0104) == pytest.approx(50, rel=2e-3)


def test_moments_can_be_replaced_and_say_so():
    newer = nucleus("127I", moment_mb=-688)
    assert (newer.moment_mb, newer.source, newer.spin) == (-688, "user", Fraction(5, 2))
    assert nucleus("10B", moment_mb=84.5, spin=3).spin == 3


@pytest.mark.parametrize("name", ["207Pb", "119Sn", "1H", "13C"])
def test_spin_half_nuclei_are_refused(name):
    with pytest.raises(ConfigError, match="spin 1/2"):
        nucleus(name)


@pytest.mark.parametrize("name", ["12C", "16O", "208Pb"])
def test_spin_zero_nuclei_are_refused(name):
    with pytest.raises(ConfigError, match="spin 0"):
        nucleus(name)


@pytest.mark.parametrize("name", ["iodine", "127Xx", "I127", "500I", ""])
def test_names_that_are_no_nucleus_are_refused(name):
    with pytest.raises(ConfigError, match="not a nucleus"):
        nucleus(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"moment_mb": 1.0, "spin": 0.5}, "spin of 69Ga must be 1 or more"),
        ({"moment_mb": 1.0, "spin": "x"}, "must be a number such as 3 or 7/2"),
        ({"moment_mb": 1.0}, "69Ga is not built in"),
        ({}, "69Ga is not built in"),
    ],
)
def test_unknown_nuclei_need_a_spin_and_a_moment(arguments, message):
    with pytest.raises(ConfigError, match=message):
        nucleus("69Ga", **arguments)


@pytest.mark.parametrize("moment", [0.0, float("nan"), float("inf")])
def test_moments_that_make_no_coupling_are_refused(moment):
    with pytest.raises(ConfigError, match="must be a non-zero number of millibarn"):
        nucleus("127I", moment_mb=moment)


@pytest.mark.parametrize("name", _MOMENTS)
def test_the_tables_agree_with_those_of_soprano(name):
    """Moments of P. Pyykkö (2008), spins, and gyromagnetic ratios of the IUPAC table, as another program has them."""
    found = nucleus(name)

    def theirs(what):
        return _get_isotope_data(
            [found.element], what, isotopes={found.element: int(name.removesuffix(found.element))}
        )[0]

    assert found.moment_mb == pytest.approx(theirs("Q"), rel=2e-3)
    assert float(found.spin) == theirs("I")
    assert 1e7 * GYROMAGNETIC_1E7[name] == pytest.approx(theirs("gamma"), rel=1e-3)


@pytest.mark.parametrize("eta", [0.0, 0.2, 0.7, 1.0])
def test_spin_one_lines(eta):
    expected = sorted({0.5 * eta, 0.75 * (1 - eta / 3), 0.75 * (1 + eta / 3)} - {0.0})
    np.testing.assert_allclose(np.unique(nqr_lines(1, -1.0, eta).round(12)), np.unique(np.round(expected, 12)))


@pytest.mark.parametrize("eta", [0.0, 0.2, 0.7, 1.0])
def test_spin_three_halves_line(eta):
    np.testing.assert_allclose(nqr_lines(1.5, 1.0, eta), [0.5 * np.sqrt(1 + eta**2 / 3)])


def test_spin_five_halves_lines():
    np.testing.assert_allclose(nqr_lines(2.5, 1.0, 0.1), [0.151629, 0.299394], atol=1e-6)
    eta = 0.02
    series = [0.15 * (1 + 59 * eta**2 / 54), 0.30 * (1 - 11 * eta**2 / 54)]
    np.testing.assert_allclose(nqr_lines(2.5, 550.0, eta), 550 * np.array(series), rtol=1e-5)


@pytest.mark.parametrize("spin", [1, 1.5, 2.5, 3, 3.5, 4.5])
def test_hamiltonian_is_symmetric_and_traceless(spin):
    matrix = quadrupole_hamiltonian(spin, 3.0, 0.4)
    np.testing.assert_allclose(matrix, matrix.T)
    assert np.trace(matrix) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("spin", [2.5, 3.5, 4.5])
def test_axial_half_integer_lines_are_multiples_of_one_frequency(spin):
    unit = 3 / (2 * spin * (2 * spin - 1))
    np.testing.assert_allclose(nqr_lines(spin, 1.0, 0.0), unit * np.arange(1, spin + 0.5))
