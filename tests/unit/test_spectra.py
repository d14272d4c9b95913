"""Powder spectra: closed formulas, exact diagonalisation and mrsimulator against each other."""

import builtins
import json

import numpy as np
import pytest

from efgmd.analysis.powder import ExactPowder, PakePattern
from efgmd.analysis.spectra import PowderSpectrum, SpectrumSite, quadrupole_frequency, spectrum_reach
from efgmd.analysis.spectrum_output import SpectrumRequest
from efgmd.errors import ConfigError, DataError
from efgmd.larmor import larmor_mhz
from efgmd.nuclei import nqr_lines, nqr_transitions

GRID = np.linspace(-0.15, 0.15, 3001)
STEP = GRID[1] - GRID[0]
CQ = 0.17


@pytest.mark.parametrize("eta", [0.0, 0.1, 0.4])
def test_pake_pattern_has_its_horns_shoulders_and_edges(eta):
    """Horns 3/4 Cq (1 - eta) apart, shoulders 3/4 Cq (1 + eta), edges 3/2 Cq; each half of it from the centre."""
    found = PakePattern(CQ, eta).spectrum(GRID)
    assert found.sum() * STEP == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(found, found[::-1], rtol=1e-6)
    horn = abs(GRID[np.argmax(found)])
    assert 2 * horn == pytest.approx(0.75 * CQ * (1 - eta), abs=2 * STEP)
    assert GRID[found > 0].max() == pytest.approx(0.75 * CQ, abs=2 * STEP)
    if eta:
        shoulder = 0.375 * CQ * (1 + eta)
        near = np.abs(GRID - shoulder) < 5 * STEP
        assert found[near].max() > 1.5 * found[near].min()  # the density falls by a step there


def test_pake_pattern_has_the_second_moment_of_its_hamiltonian():
    """<nu^2> = 9/80 Cq^2 (1 + eta^2/3): the average of (3/8 Cq (3 cos^2 - 1 + ...))^2 over directions."""
    for eta in (0.0, 0.3, 1.0):
        found = PakePattern(-CQ, eta).spectrum(GRID)
        assert (GRID**2 * found).sum() * STEP == pytest.approx(9 / 80 * CQ**2 * (1 + eta**2 / 3), rel=2e-3)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_exact_powder_of_a_spin_one_is_the_pake_pattern_at_high_field(eta):
    found = ExactPowder(1, CQ, eta, 92.0, 60000).compute().spectrum(92.0 + GRID, 0.004)
    expected = PakePattern(CQ, eta).spectrum(GRID, 0.004)
    assert np.abs(found - expected).max() < 0.02 * expected.max()


@pytest.mark.parametrize(("spin", "eta"), [(1, 0.2), (1.5, 0.6), (2.5, 0.1), (3.5, 0.0)])
def test_exact_powder_without_a_field_shows_the_nqr_lines(spin, eta):
    powder = ExactPowder(spin, 10.0, eta, 0.0, 3).compute()
    lines, strengths = powder.lines
    visible = lines[(strengths > 1e-2) & (lines > 1e-6)]
    for line in nqr_lines(spin, 10.0, eta):
        assert np.abs(visible - line).min() < 1e-9
    frequencies, weights = nqr_transitions(spin, 10.0, eta)
    assert np.abs(visible[:, None] - frequencies[weights > 1e-3]).min(axis=1).max() < 1e-9


def test_nqr_strengths():
    """Axial I = 5/2: lines 3/20 and 3/10 Cq with |<m|I-|m+1>|^2 of 8 and 5; I = 1: three equal lines for eta > 0."""
    frequencies, strengths = nqr_transitions(2.5, -1.0, 0.0)
    np.testing.assert_allclose(frequencies, [0.15, 0.3])
    np.testing.assert_allclose(strengths, [1.0, 5 / 8])
    frequencies, strengths = nqr_transitions(1, 1.0, 0.3)
    np.testing.assert_allclose(frequencies, [0.15, 0.675, 0.825])
    np.testing.assert_allclose(strengths, 1.0)


def compared(spin, cq, eta, larmor, transitions, orientations=60000):
    """Offsets, mrsimulator's spectrum and the exact one."""
    width = 2.4 * spectrum_reach(spin, cq, larmor, transitions)
    fwhm = width / 100
    simulated = PowderSpectrum(spin, larmor, width, 1024, transitions=transitions, fwhm_khz=1000 * fwhm)
    simulated.compute([SpectrumSite(cq, eta)])
    offsets = simulated.frequencies_mhz
    exact = ExactPowder(spin, cq, eta, larmor, orientations).compute().spectrum(larmor + offsets, fwhm)
    return offsets, simulated.spectrum, exact


def test_mrsimulator_gives_the_pake_pattern_of_deuterium():
    larmor = larmor_mhz("2H", 9.4)
    simulated = PowderSpectrum(1, larmor, 0.3, 1024, fwhm_khz=2.0).compute([SpectrumSite(CQ, 0.1)])
    expected = PakePattern(CQ, 0.1).spectrum(simulated.frequencies_mhz, 0.002)
    assert simulated.spectrum.sum() * 0.3 / 1024 == pytest.approx(1.0, abs=1e-3)
    assert np.abs(simulated.spectrum - expected).max() < 0.01 * expected.max()


@pytest.mark.parametrize(
    ("spin", "cq", "eta", "larmor", "transitions"),
    [(1, 1.2, 0.3, 43.3, "all"), (2.5, 6.0, 0.3, 156.0, "central"), (1.5, 2.0, 1.0, 100.0, "central")],
)
def test_mrsimulator_agrees_with_exact_diagonalisation(spin, cq, eta, larmor, transitions):
    offsets, simulated, exact = compared(spin, cq, eta, larmor, transitions)
    baseline = exact[0] if transitions == "central" else 0.0  # the satellites lie under the central line
    exact = (exact - baseline) / (exact - baseline).sum() * simulated.sum()
    assert np.abs(simulated - exact).max() < 0.03 * exact.max()
    mean = (offsets * simulated).sum() / simulated.sum()
    if transitions == "central":
        nu_q = quadrupole_frequency(spin, cq)
        shift = -(spin * (spin + 1) - 0.75) * nu_q**2 * (1 + eta**2 / 3) / (30 * larmor)  # A. Samoson (1985)
        assert mean == pytest.approx(shift, rel=0.03)


def test_magic_angle_spinning_leaves_sidebands_and_the_second_order_shift():
    spinning, cq, larmor = 20.0, 1.2, 43.3
    found = PowderSpectrum(1, larmor, 2.4, 8192, spinning_khz=spinning).compute([SpectrumSite(cq, 0.2)])
    offsets = 1000 * found.frequencies_mhz[found.spectrum > 0.02 * found.spectrum.max()]
    step = 2400 / 8192
    shift = 1e3 * 3 / 40 * cq**2 / larmor * (1 + 0.2**2 / 3)  # 14N, second order, kHz
    distance = np.abs((offsets - shift + spinning / 2) % spinning - spinning / 2)
    assert distance.max() < 0.5 * shift + 2 * step
    mean = 1000 * (found.frequencies_mhz * found.spectrum).sum() / found.spectrum.sum()
    assert mean == pytest.approx(shift, rel=0.03)
    central = PowderSpectrum(2.5, 156.0, 0.04, 1024, 60.0, "central").compute([SpectrumSite(4.0, 0.2)])
    mean = (central.frequencies_mhz * central.spectrum).sum() / central.spectrum.sum()
    nu_q = quadrupole_frequency(2.5, 4.0)
    assert mean == pytest.approx(-8 * nu_q**2 * (1 + 0.2**2 / 3) / (30 * 156.0), rel=0.03)


def test_mrsimulators_own_moments_do_not_matter():
    """Its table has 127I -790 mb and 14N 19.3 mb; lines depend on Cq alone, also with its own isotopes."""
    from mrsimulator import Simulator, Site, SpinSystem
    from mrsimulator.method import SpectralDimension
    from mrsimulator.method.lib import BlochDecaySpectrum
    from mrsimulator.spin_system.isotope import Isotope

    assert 1000 * Isotope(symbol="14N").quadrupole_moment != pytest.approx(20.44, rel=0.03)
    field = 14.1
    larmor = abs(Isotope(symbol="14N").gyromagnetic_ratio) * field
    site = Site(isotope="14N", quadrupolar={"Cq": 1.2e6, "eta": 0.3})
    dimension = SpectralDimension(count=1024, spectral_width=2.4e6)
    method = BlochDecaySpectrum(
        channels=["14N"], magnetic_flux_density=field, rotor_frequency=0, spectral_dimensions=[dimension]
    )
    simulator = Simulator(spin_systems=[SpinSystem(sites=[site])], methods=[method])
    simulator.config.integration_density = 120
    simulator.run()
    theirs = np.real(simulator.methods[0].simulation.y[0].components[0])
    ours = PowderSpectrum(1, larmor, 2.4, 1024).compute([SpectrumSite(1.2, 0.3)]).spectrum
    np.testing.assert_allclose(ours / ours.sum(), theirs / theirs.sum(), atol=1e-3 * (ours / ours.sum()).max())


def test_sites_add_up_by_weight_and_errors_make_a_band():
    sites = [SpectrumSite(0.17, 0.0, 3.0, 0.01, 0.02), SpectrumSite(0.05, 0.5, 1.0)]
    both = PowderSpectrum(1, 61.4, 0.35, 1024, fwhm_khz=2.0).compute(sites, band=True)
    single = [PowderSpectrum(1, 61.4, 0.35, 1024, fwhm_khz=2.0).compute([site]).spectrum for site in sites]
    np.testing.assert_allclose(both.spectrum, 0.75 * single[0] + 0.25 * single[1], atol=2e-3 * both.spectrum.max())
    low, high = both.band
    assert (low <= high + 1e-12).all() and np.ptp(high - low) > 0.05 * both.spectrum.max()
    inside = (both.spectrum >= low - 1e-9) & (both.spectrum <= high + 1e-9)
    assert inside.mean() > 0.6


def test_couplings_too_large_for_second_order_are_refused():
    with pytest.raises(ConfigError, match="exact"):
        PowderSpectrum(2.5, 120.9, 500.0).compute([SpectrumSite(550.0, 0.0)])
    with pytest.raises(ConfigError, match="widen"):
        PowderSpectrum(1, 92.0, 0.1).compute([SpectrumSite(0.17, 0.0)])


def test_mistakes_are_told(monkeypatch):
    with pytest.raises(ConfigError, match="central"):
        PowderSpectrum(1, 92.0, 0.3, transitions="central")
    with pytest.raises(ConfigError, match="positive field"):
        PowderSpectrum(1, 0.0, 0.3)
    with pytest.raises(DataError, match="compute"):
        PowderSpectrum(1, 92.0, 0.3).spectrum  # noqa: B018
    with pytest.raises(DataError, match="compute"):
        ExactPowder(1, 1.0, 0.0, 92.0).lines  # noqa: B018
    with pytest.raises(ConfigError, match="eta"):
        PakePattern(1.0, 1.2)
    with pytest.raises(ConfigError, match="Cq"):
        ExactPowder(1, 0.0, 0.0, 92.0)
    with pytest.raises(ConfigError, match="no transition"):
        ExactPowder(1, 0.1, 0.0, 92.0, 10).compute().spectrum(np.linspace(10, 11, 100))
    with pytest.raises(DataError, match="even"):
        PakePattern(1.0, 0.0).spectrum([0.0, 1.0, 3.0])
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name.startswith("mrsimulator"):
            raise ImportError("No module named 'mrsimulator'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"efgmd\[spectra\]"):
        PowderSpectrum(1, 92.0, 0.3)


def test_sites_of_an_exact_spectrum_add_up_by_what_the_window_holds():
    """27Al with a tiny and a large coupling, window on the centre: of the latter not all is in it."""
    request = SpectrumRequest("27Al", "exact", larmor_mhz=156.0, width_khz=600.0, points=512)
    for cq in (0.05, 6.0):
        request.add_coupling(cq, 0.0)
    found = request.compute().results
    offset, intensity = np.array(found["offset_kHz"]), np.array(found["intensity_per_kHz"])
    # Strengths of the five transitions are 5, 8, 9, 8, 5; satellites of 6 MHz spread over 0.9 and 1.8 MHz either side.
    inside = 9 / 35 + 2 / 35 * sum(strength * share_below(300.0, 900.0 * order) for strength, order in ((8, 1), (5, 2)))
    narrow = intensity[np.abs(offset) < 16].sum() * (offset[1] - offset[0])
    assert narrow == pytest.approx((1 + 9 / 35) / (1 + inside), abs=0.02)


def share_below(reach, splitting):
    """Share of a powder with |splitting (3 cos^2 - 1)/2| below ``reach``."""
    cosine = np.linspace(0, 1, 100001)
    return np.mean(np.abs(splitting * (3 * cosine**2 - 1) / 2) < reach)


@pytest.mark.parametrize("larmor", [0.0, 0.01])
def test_default_width_holds_the_lines_of_a_weak_field(larmor):
    request = SpectrumRequest("14N", "exact", larmor_mhz=larmor, points=512)
    request.add_coupling(1.0, 0.9)
    found = request.compute().results
    highest = nqr_lines(1, 1.0, 0.9).max()
    frequencies, intensity = np.array(found["offset_kHz"]) / 1000 + larmor, np.array(found["intensity_per_kHz"])
    assert 1.01 * highest < frequencies.max() < 2 * highest
    near = np.abs(frequencies - highest) < 0.05
    assert intensity[near].sum() > 0.1 * intensity.sum()


@pytest.fixture
def campaign(tmp_path):
    """A campaign's results at two temperatures, the higher one first, for deuterium on three sites and for nitrogen."""

    def site(name, cq, eta, count, compatible_with_zero=False):
        errors = {"cq_error_sampling_MHz": 0.001, "eta_error_sampling": 0.01}
        row = {"nucleus": name, "cq_MHz": cq, "eta": eta, "count": count}
        return row | errors | {"compatible_with_zero": compatible_with_zero}

    warm = [site("2H", 0.1, 0.0, 32)]
    cold = [site("14N", 0.9, 0.3, 4), site("2H", 0.2, 0.0, 8), site("2H", 0.02, 0.0, 24), site("2H", 0.0, 0.0, 5, True)]
    results = {
        "campaign_file": "toy.yaml",
        "nuclei": {"2H": {"spin": "1"}, "14N": {"spin": "1"}},
        "temperatures": [{"temperature_K": 300.0, "sites": warm}, {"temperature_K": 250.0, "sites": cold}],
    }
    (tmp_path / "results.json").write_text(json.dumps(results))
    return tmp_path


@pytest.mark.parametrize(("kelvin", "expected"), [(None, [(0.2, 8), (0.02, 24)]), (300.0, [(0.1, 32)])])
def test_sites_of_a_campaign_have_the_weight_of_their_nuclei(campaign, kelvin, expected):
    """At the lowest temperature unless another one is given; a site without a coupling has no lines."""
    request = SpectrumRequest("2H", "nqr")
    request.add_campaign(campaign, kelvin, None)
    found = request.compute().results
    assert [(site["cq_MHz"], site["weight"]) for site in found["sites"]] == expected
    assert found["origin"] == {"campaign": "toy.yaml", "temperature_K": kelvin or 250.0}
    assert {(site["cq_error_MHz"], site["eta_error"]) for site in found["sites"]} == {(0.001, 0.01)}


@pytest.mark.parametrize("kind", ["static", "exact"])
def test_areas_of_sites_are_as_their_numbers_of_nuclei(campaign, kind):
    """8 nuclei with 200 kHz and 24 with 20 kHz: what lies within the narrow pattern's 15 kHz either side."""
    request = SpectrumRequest("2H", kind, larmor_mhz=61.4, width_khz=400.0, points=1024, broadening_khz=1.0)
    request.add_campaign(campaign, None, None)
    found = request.compute().results
    offset, intensity = np.array(found["offset_kHz"]), np.array(found["intensity_per_kHz"])
    narrow = intensity[np.abs(offset) < 17].sum() * (offset[1] - offset[0])
    assert narrow == pytest.approx((24 + 8 * share_below(17.0, 0.75 * 200)) / 32, abs=0.01)
