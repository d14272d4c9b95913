"""Quadrupolar relaxation against closed formulas, and against spins that are propagated under a tumbling tensor."""

import numpy as np
import pytest
from moving_tensors import hopping, tetrahedral, tumbling
from scipy.spatial.transform import Rotation

from efgmd.analysis.dynamics import SiteDynamics
from efgmd.analysis.relaxation import QuadrupolarRelaxation, extreme_narrowing_rate, spin_operators
from efgmd.errors import ConfigError, DataError
from efgmd.larmor import GYROMAGNETIC_1E7, larmor_mhz
from efgmd.nuclei import nucleus, quadrupole_hamiltonian
from efgmd.tensors import asymmetry, cartesian_to_spherical, principal_values, rotate

SPINS = [1, 1.5, 2, 2.5, 3, 3.5, 4.5]
CQ, ETA, TAU = 2e6, 0.4, 1e-12


def tumbling_densities(cq_hz, eta, tau, larmor_hz):
    """J_0(0), J_1(w), J_2(2w) of isotropic tumbling: a fifth of the squared norm of the coupling, Lorentzian."""
    omega = 2 * np.pi * larmor_hz * np.arange(3)
    squared = 1.5 * (2 * np.pi * cq_hz) ** 2 * (1 + eta**2 / 3)
    return squared / 5 * 2 * tau / (1 + (omega * tau) ** 2)


def test_operators_and_components_make_the_quadrupole_hamiltonian():
    spin, cq, eta = 2.5, 3.0, 0.3
    tensor = cq * np.diag([-(1 - eta) / 2, -(1 + eta) / 2, 1.0])
    signs = (-1.0) ** np.arange(-2, 3)
    components = cartesian_to_spherical(tensor)
    built = np.einsum("m,mab->ab", signs * components, spin_operators(spin)[::-1]) / (2 * spin * (2 * spin - 1))
    expected = quadrupole_hamiltonian(spin, cq, eta)
    np.testing.assert_allclose(built.real, expected, atol=1e-12)


@pytest.mark.parametrize("spin", SPINS)
def test_extreme_narrowing_is_one_exponential_with_the_rate_of_abragam(spin):
    found = QuadrupolarRelaxation(spin).compute(tumbling_densities(CQ, ETA, TAU, 0.0))
    rate = extreme_narrowing_rate(spin, CQ, ETA, TAU)
    for decay in (found.longitudinal(), found.transverse()):
        np.testing.assert_allclose(decay.rates, [rate], rtol=1e-10)


def test_rate_of_abragam_for_spin_one_and_three_halves():
    squared = (2 * np.pi * CQ) ** 2 * (1 + ETA**2 / 3) * TAU
    assert extreme_narrowing_rate(1, CQ, ETA, TAU) == pytest.approx(3 / 8 * squared)
    assert extreme_narrowing_rate(1.5, CQ, ETA, TAU) == pytest.approx(1 / 10 * squared)
    assert extreme_narrowing_rate(2.5, CQ, ETA, TAU) == pytest.approx(3 / 125 * squared)
    assert extreme_narrowing_rate(3.5, CQ, ETA, TAU) == pytest.approx(1 / 98 * squared)


@pytest.mark.parametrize("larmor_tau", [0.1, 1.0, 5.0])
def test_spin_one_beyond_narrowing(larmor_tau):
    """1/T1 = 3 pi^2/10 Cq^2 (j(w) + 4 j(2w)), 1/T2 = 3 pi^2/20 Cq^2 (3 j(0) + 5 j(w) + 2 j(2w)) for eta = 0."""
    larmor = larmor_tau / (2 * np.pi * TAU)
    found = QuadrupolarRelaxation(1).compute(tumbling_densities(CQ, 0.0, TAU, larmor))
    j = TAU / (1 + (larmor_tau * np.arange(3)) ** 2)
    np.testing.assert_allclose(found.longitudinal().rates, [0.3 * np.pi**2 * CQ**2 * (j[1] + 4 * j[2])])
    np.testing.assert_allclose(found.transverse().rates, [0.15 * np.pi**2 * CQ**2 * (3 * j[0] + 5 * j[1] + 2 * j[2])])


def test_spin_three_halves_has_its_two_exponentials():
    """Rates J1/6 and J2/6 with weights 1/5, 4/5; (J0+J1)/12 and (J1+J2)/12 with weights 3/5, 2/5."""
    j0, j1, j2 = 7.0, 3.0, 2.0
    found = QuadrupolarRelaxation(1.5).compute([j0, j1, j2])
    longitudinal, transverse = found.longitudinal(), found.transverse()
    np.testing.assert_allclose(longitudinal.rates, [j2 / 6, j1 / 6])
    np.testing.assert_allclose(longitudinal.weights, [0.8, 0.2])
    np.testing.assert_allclose(transverse.rates, [(j1 + j2) / 12, (j0 + j1) / 12])
    np.testing.assert_allclose(transverse.weights, [0.4, 0.6])
    central = found.longitudinal("central")
    np.testing.assert_allclose(central.rates, [j2 / 6, j1 / 6])
    np.testing.assert_allclose(central.weights, [0.5, 0.5])
    assert found.central_transverse() == pytest.approx((j1 + j2) / 12)
    np.testing.assert_allclose(found.transverse("resolved").weights, [0.4, 0.6])


@pytest.mark.parametrize("spin", SPINS)
def test_initial_slope_is_j1_and_four_j2_and_populations_are_conserved(spin):
    densities = np.array([7.0, 3.0, 2.0])
    found = QuadrupolarRelaxation(spin).compute(densities)
    narrow = QuadrupolarRelaxation(spin).compute([1.0, 1.0, 1.0]).longitudinal().initial_rate
    assert found.longitudinal().initial_rate == pytest.approx(narrow * (densities[1] + 4 * densities[2]) / 5)
    matrix = found.populations
    np.testing.assert_allclose(matrix.sum(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    off = matrix - np.diag(np.diag(matrix))
    assert (off <= 1e-12).all() and np.linalg.eigvalsh(matrix).min() > -1e-12
    times = np.linspace(0.0, 2.0, 5)
    m = spin - np.arange(len(matrix))
    values, vectors = np.linalg.eigh(matrix)
    exact = [m @ vectors @ np.diag(np.exp(-values * t)) @ vectors.T @ m / (m @ m) for t in times]
    np.testing.assert_allclose(found.longitudinal().at(times), exact)


@pytest.mark.parametrize("spin", [1, 1.5])
def test_rates_are_those_of_spins_propagated_under_a_tumbling_coupling(spin):
    """No relaxation theory: density matrices under Zeeman plus coupling, a new random orientation at a rate 1/tau."""
    rng = np.random.default_rng(3)
    tau, cq, larmor, runs, jumps = 1.0, 0.02 if spin == 1 else 0.04, 0.8 / (2 * np.pi), 1500, 60
    size = round(2 * spin + 1)
    coupling = cq * np.diag([-0.5, -0.5, 1.0])
    z = np.diag(spin - np.arange(size))
    signs, operators = (-1.0) ** np.arange(-2, 3), spin_operators(spin)[::-1]
    state = np.tile(z.astype(complex), (runs, 1, 1))
    elapsed = np.zeros(runs)
    for _ in range(jumps):
        turned = rotate(coupling, Rotation.random(runs, rng=rng).as_matrix())
        energy = np.einsum("rm,mab->rab", signs * cartesian_to_spherical(turned), operators)
        levels, vectors = np.linalg.eigh(energy / (2 * spin * (2 * spin - 1)) + larmor * z)
        stay = rng.exponential(tau, runs)
        phases = np.exp(-2j * np.pi * levels * stay[:, None])
        step = (vectors * phases[:, None, :]) @ np.conj(np.swapaxes(vectors, 1, 2))
        state = step @ state @ np.conj(np.swapaxes(step, 1, 2))
        elapsed += stay
    left = np.real(np.einsum("ab,rba->r", z, state)) / np.trace(z @ z)
    theory = QuadrupolarRelaxation(spin).compute(tumbling_densities(cq, 0.0, tau, larmor)).longitudinal()
    expected, error = theory.at(elapsed), left.std() / np.sqrt(runs)
    assert error < 0.05 * (1 - expected.mean())
    assert abs(left.mean() - expected.mean()) < 3.5 * error


def test_relaxation_of_a_hopping_tensor_is_the_exact_one():
    """Jumps over a tetrahedron: isotropic in the powder, exp(-t/tau) with tau = 1/(4 rate)."""
    rate, interval = 0.25, 0.05
    rates = np.full((4, 4), rate)
    np.fill_diagonal(rates, 0.0)
    tensors = tetrahedral(0.1)
    series = hopping(tensors, rates, interval, 8000, 24, np.random.default_rng(6))
    nitrogen = nucleus("14N")
    dynamics = SiteDynamics(nitrogen, interval).compute(series)
    cq_hz = 1e6 * float(nitrogen.coupling_mhz(0.1))
    tau = 1e-12 / (4 * rate)
    for larmor in (0.0, 1e5):  # 100 GHz, where the Larmor period is of the order of tau
        found = dynamics.relaxation(larmor)
        exact = QuadrupolarRelaxation(1).compute(tumbling_densities(cq_hz, 0.0, tau, 1e6 * larmor))
        for value, decay in ((found.t1, exact.longitudinal()), (found.t2, exact.transverse())):
            assert abs(value.value - decay.time_s) < 3 * value.error and value.error < 0.03 * value.value
    assert dynamics.fluctuating_cq_mhz.value == pytest.approx(abs(cq_hz) / 1e6, rel=0.01)
    assert dynamics.narrowing == pytest.approx(2 * np.pi * abs(cq_hz) * tau, rel=0.05)
    assert dynamics.fast_motion is True
    along = SiteDynamics(nitrogen, interval, [1, 0, 0]).compute(series)
    # Along a fourfold axis of the cube of jumps <V_m> has no part with m = 0 and 2 alone: J_0 = J_2 cos 4 = 0.
    j0, j1, j2 = along.relaxation().densities
    assert j0 < 1e-6 * j1 and j1 + j2 == pytest.approx(j1 * 1.5, rel=0.05)


def test_half_integer_spins_and_asymmetric_tensors_in_extreme_narrowing():
    tensor = np.diag([-0.35, -0.65, 1.0]) * 0.1
    series = tumbling(tensor, 1.0, 0.1, 10000, 16, np.random.default_rng(1))
    iodine = nucleus("127I")
    found = SiteDynamics(iodine, 0.1).compute(series).relaxation()
    values = principal_values(tensor)
    exact = extreme_narrowing_rate(2.5, 1e6 * float(iodine.coupling_mhz(values[2])), float(asymmetry(values)), 1e-12)
    assert abs(1 / found.t1.value - exact) < 3 * exact**2 * found.t1.error
    assert found.t1.value == pytest.approx(found.t2.value) and found.t1.error < 0.04 * found.t1.value
    assert found.central_longitudinal is not None and found.central_t2 is not None
    assert found.central_t2.value < found.t2.value * 5


def test_motion_that_is_not_fast_is_told():
    series = tumbling(np.diag([-0.5, -0.5, 1.0]), 1000.0, 100.0, 4000, 16, np.random.default_rng(2))
    dynamics = SiteDynamics(nucleus("127I"), 100.0).compute(series)
    assert dynamics.narrowing > 0.5 and dynamics.fast_motion is False


def test_larmor_frequencies():
    """Against resonances of compounds at 9.39798 T (Bruker almanac 2012); their shielding is below 0.1 %."""
    for name, expected in (("2H", 61.422), ("7Li", 155.506), ("11B", 128.378), ("14N", 28.915), ("17O", 54.243)):
        assert larmor_mhz(name, 9.39798) == pytest.approx(expected, rel=1e-3)
    with pytest.raises(ConfigError, match="Larmor frequency"):
        larmor_mhz("69Ga", 9.4)
    with pytest.raises(ConfigError, match="tesla"):
        larmor_mhz("2H", -1.0)


def test_built_in_nuclei_have_gyromagnetic_ratios():
    from efgmd.nuclei import _MOMENTS

    assert set(GYROMAGNETIC_1E7) == set(_MOMENTS)


def test_mistakes_are_told():
    with pytest.raises(ConfigError, match="spin of 1"):
        QuadrupolarRelaxation(0.5)
    with pytest.raises(ConfigError, match="spin of 1"):
        extreme_narrowing_rate(1.3, 1.0, 0.0, 1.0)
    with pytest.raises(DataError, match="compute"):
        QuadrupolarRelaxation(1).populations  # noqa: B018
    with pytest.raises(DataError, match="densities"):
        QuadrupolarRelaxation(1).compute([1.0, -1.0, 1.0])
    integer = QuadrupolarRelaxation(1).compute([1.0, 1.0, 1.0])
    with pytest.raises(ConfigError, match="central"):
        integer.longitudinal("central")
    with pytest.raises(ConfigError, match="central"):
        integer.central_transverse()


def test_lines_that_a_mean_coupling_holds_apart_decay_by_themselves():
    """Spin 1: the term with J_1 that exchanges the two coherences drops out, 5 J_1 becomes 3 J_1."""
    j0, j1, j2 = densities = np.array([3.0, 2.0, 0.7])
    found = QuadrupolarRelaxation(1).compute(densities)
    assert found.transverse().initial_rate == pytest.approx((3 * j0 + 5 * j1 + 2 * j2) / 16)
    assert found.transverse("resolved").initial_rate == pytest.approx((3 * j0 + 3 * j1 + 2 * j2) / 16)
