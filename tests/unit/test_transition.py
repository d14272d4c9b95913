"""Transition temperatures of series and campaigns whose transition is known."""

import json

import jsonschema
import numpy as np
import pytest
from landau_campaign import TC, TEMPERATURES, first_order, power_law, write_landau_campaign
from rich.console import Console
from scipy.optimize import minimize_scalar
from scipy.stats import ncx2

from efgmd.analysis.change_point import find_change
from efgmd.analysis.interchange import schema
from efgmd.analysis.landau import FIRST_ORDER, POWER_LAW, fit, fixed, landau_first_order
from efgmd.analysis.magnitude import Magnitude
from efgmd.analysis.order_parameters import OrderParameter, order_parameters
from efgmd.analysis.results import analyze_campaign
from efgmd.analysis.table import print_table
from efgmd.analysis.transition import TransitionAnalysis
from efgmd.analysis.transition_words import agreement
from efgmd.nuclei import nucleus
from efgmd.tensors import matrix_to_six

ANY = (POWER_LAW, *FIRST_ORDER)
KELVIN = np.arange(250.0, 400.0, 12.5)
LAWS = {
    "second order": power_law(0.5),
    "tricritical": power_law(0.25),
    "weakly first order": lambda kelvin: first_order(kelvin, width=3.0),
    "quadratic in a second-order parameter": power_law(1.0),
}
#: components and noise (against 60 at the lowest temperature) of a tensor, a difference, an asymmetry.
MEASURED = {"tensor": (5, 4.0), "difference": (1, 2.0), "asymmetry": (2, 8.0)}


def measure(rng, sizes, components, noise):
    """Lengths of vectors of true length ``sizes`` with noise in each component."""
    vectors = rng.normal(0, noise, (len(sizes), components))
    vectors[:, 0] += sizes
    return [Magnitude(float(size), noise, components) for size in np.linalg.norm(vectors, axis=1)]


def series(temperatures, points, **changes):
    found = {"kind": "coupling", "nucleus": "14N", "site": "", "name": "|Cq| of 14N", "unit": "MHz", "left_out": ()}
    return OrderParameter(**found | changes, temperatures=tuple(temperatures), points=tuple(points))


def holds(interval, value=TC):
    return interval[0] <= value <= (np.inf if interval[1] is None else interval[1])


# ---- lengths with noise


@pytest.mark.parametrize("components", [1, 2, 3.7, 5])
@pytest.mark.parametrize("size", [0.4, 2.5, 12.0, 29.9, 30.1, 200.0])
def test_likelihood_is_that_of_the_noncentral_chi_distribution(components, size):
    noise = 0.3
    point = Magnitude(size * noise, noise, components)
    true = size + np.linspace(-2.0, 2.0, 9)
    true = true[true > 0]
    exact = ncx2.logpdf(size**2, components, true**2)
    found = point.log(true * noise)
    np.testing.assert_allclose(found - found[-1], exact - exact[-1], atol=0.02 if size > 30 else 2e-3)
    best = minimize_scalar(lambda value: -ncx2.logpdf(size**2, components, value**2), bounds=(1e-6, size + 3)).x
    assert point.log(best * noise) == pytest.approx(0.0, abs=2e-3)


@pytest.mark.parametrize("true", [0.0, 1.0, 3.0, 40.0])
def test_interval_of_a_length_covers_it(true):
    rng = np.random.default_rng(1)
    points = measure(rng, np.full(200, true), 5, 1.0)
    assert 0.92 <= np.mean([holds(point.interval, true) for point in points]) <= 1.0
    if true == 0:
        assert np.mean([point.is_zero for point in points]) == pytest.approx(0.95, abs=0.04)
    squares = np.array([point.size**2 - point.components * point.noise**2 for point in points])
    assert squares.mean() == pytest.approx(true**2, abs=4 * squares.std() / np.sqrt(len(squares)))


def test_unequal_noise_keeps_mean_and_variance_of_the_squared_length():
    covariance = np.diag([1.0, 0.2, 0.0, 0.5])
    point = Magnitude.of_vector(np.zeros(4), covariance)
    assert point.components * point.noise**2 == pytest.approx(np.trace(covariance))
    assert 2 * point.components * point.noise**4 == pytest.approx(2 * np.sum(covariance**2))


def test_bound_of_95_percent():
    point = Magnitude.below(3.0)
    values = np.linspace(0, 20, 20001)
    density = np.exp(point.log(values))
    assert density[values <= 3.0].sum() / density.sum() == pytest.approx(0.95, abs=1e-3)


def test_few_blocks_widen_the_likelihood():
    sharp, wide = Magnitude(10.0, 1.0), Magnitude(10.0, 1.0, degrees=4)
    assert wide.log(6.0) > sharp.log(6.0) and wide.log(10.0) == pytest.approx(sharp.log(10.0), abs=1e-6)
    # One component: Student's t.
    assert wide.log(6.0) == pytest.approx(-2.5 * np.log1p(16 / 4), rel=1e-3)


# ---- laws


@pytest.mark.parametrize("width", [0.5, 4.0])
def test_first_order_law_minimises_landaus_free_energy(width):
    """With a = b = 1 and c from the width: Tc - T0 = 3 b^2/(16 a c); at Tc both phases have the free energy 0."""
    c = 3 / (16 * width)

    def energy(order, above):
        return above * order**2 / 2 - order**4 / 4 + c * order**6 / 6

    jump = np.sqrt(3 / (4 * c))
    for below in (0.0, 0.3, 2.0, 50.0):
        order = jump * float(landau_first_order(np.array(below), width))
        above = width - below  # T - T0
        found = minimize_scalar(energy, args=(above,), bounds=(0.6 * order, 1.6 * order), options={"xatol": 1e-10}).x
        assert order == pytest.approx(found, rel=1e-5)
        assert energy(order, above) <= 1e-12
    assert energy(jump, width) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", LAWS)
def test_exact_data_give_the_exact_transition(name):
    points = [Magnitude(value, 0.06) for value in 60 * LAWS[name](KELVIN)]
    found = fit(KELVIN, points, ANY)
    assert holds(found.interval) and found.interval[1] - found.interval[0] < 13
    assert found.p_value > 0.05 and found.scale == 1.0
    if name != "weakly first order":
        exponent = {"second order": 0.5, "tricritical": 0.25}.get(name, 1.0)
        alone = fit(KELVIN, points, (fixed(exponent),))
        assert alone.tc == pytest.approx(TC, abs=1.0) and alone.interval[1] - alone.interval[0] < 2
        low, high = found.exponent_interval
        assert low - 0.02 <= exponent <= high + 0.02
        np.testing.assert_allclose(alone.curve(KELVIN, KELVIN[0]), 60 * LAWS[name](KELVIN), atol=2.0)


def coverage(name, measured, repetitions, seed):
    """Shares of repetitions in which the fit's and the change point's interval hold the transition."""
    rng = np.random.default_rng(seed)
    by_fit, by_change = 0, 0
    for _ in range(repetitions):
        points = measure(rng, 60 * LAWS[name](KELVIN), *MEASURED[measured])
        change = find_change(KELVIN, points)
        assert change.any_order and not change.ordered_throughout
        by_change += holds(change.interval)
        by_fit += holds(fit(KELVIN, points, ANY).interval)
    return by_fit / repetitions, by_change / repetitions


@pytest.mark.parametrize(("name", "measured"), [(name, "tensor") for name in LAWS])
def test_intervals_hold_the_transition(name, measured):
    fitted, changed = coverage(name, measured, 10, seed=3)
    assert fitted >= 0.7 and changed >= 0.7  # at 95 %, fewer than 7 of 10 have a probability of 0.1 %


@pytest.mark.slow
@pytest.mark.parametrize("measured", MEASURED)
def test_noise_alone_rarely_shows_order(measured):
    rng = np.random.default_rng(8)
    found = [find_change(KELVIN, measure(rng, np.zeros(len(KELVIN)), *MEASURED[measured])) for _ in range(1000)]
    share = np.mean([change.any_order for change in found])
    print(f"{measured}: order found in {share:.4f} of series of noise")
    assert share <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("measured", MEASURED)
def test_intervals_have_their_stated_coverage(name, measured):
    fitted, changed = coverage(name, measured, 200, seed=11)
    print(f"{name}, {measured}: fit {fitted:.3f}, change point {changed:.3f}")
    assert fitted >= 0.91 and changed >= 0.91


# ---- no transition, few temperatures, bounds


@pytest.mark.parametrize("measured", MEASURED)
def test_noise_alone_shows_no_order(measured):
    rng = np.random.default_rng(5)
    found = [find_change(KELVIN, measure(rng, np.zeros(len(KELVIN)), *MEASURED[measured])) for _ in range(60)]
    assert np.mean([change.any_order for change in found]) <= 0.05


@pytest.mark.parametrize("measured", MEASURED)
def test_constant_order_shows_no_transition(measured):
    rng = np.random.default_rng(6)
    analysis = TransitionAnalysis()
    for _ in range(5):
        points = measure(rng, np.full(len(KELVIN), 60.0), *MEASURED[measured])
        entry = analysis.analyze(series(KELVIN, points))
        assert entry["state"] == "ordered" and entry["interval95_K"] is None
        assert "no transition within the range" in entry["text"]


def test_two_temperatures_give_the_gap_between_them():
    entry = TransitionAnalysis().analyze(series([300, 340], [Magnitude(60, 1.0, 5), Magnitude(1.5, 1.0, 5)]))
    assert entry["interval95_K"] == [300, 340]
    assert "between 300 and 340 K" in entry["text"] and "cannot locate it better" in entry["text"]


def test_one_temperature_gives_nothing():
    entry = TransitionAnalysis().analyze(series([300], [Magnitude(60, 2.0)]))
    assert entry["state"] == "too few" and entry["interval95_K"] is None and entry["fits"] == []


def test_order_that_fades_at_the_end_leaves_the_interval_open():
    points = [Magnitude(60 * value, 4.0, 5) for value in power_law(0.5)(KELVIN[KELVIN < 326])]
    entry = TransitionAnalysis().analyze(series(KELVIN[KELVIN < 326], points))
    low, high = entry["interval95_K"]
    assert entry["state"] == "open" and high is None and "or beyond" in entry["text"]
    assert 312.5 < low <= TC  # the last two temperatures are 312.5 and 325
    assert entry["change_interval95_K"] == [312.5, None]


def test_bounds_count_as_what_they_are():
    ordered = [Magnitude(60 * value, 2.0) for value in power_law(0.5)(KELVIN)]
    points = [point if kelvin < TC else Magnitude.below(6.0) for kelvin, point in zip(KELVIN, ordered, strict=True)]
    entry = TransitionAnalysis().analyze(series(KELVIN, points))
    assert entry["state"] == "transition" and holds(entry["interval95_K"])
    only_bounds = TransitionAnalysis().analyze(series(KELVIN, [Magnitude.below(6.0)] * len(KELVIN)))
    assert only_bounds["state"] == "zero" and "no order found" in only_bounds["text"]
    # Loose bounds say nothing: only the law of the ordered points is left.
    loose = [point if kelvin < TC else Magnitude.below(200.0) for kelvin, point in zip(KELVIN, ordered, strict=True)]
    low, high = TransitionAnalysis().analyze(series(KELVIN, loose))["interval95_K"]
    assert low <= TC and (high is None or high > entry["interval95_K"][1])


def alternating(scatter, noise):
    """What is found in a power law whose points lie above and below it by turns."""
    order = 60 * power_law(0.5)(KELVIN)
    sizes = np.where(order > 0, order + scatter * (-1) ** np.arange(len(KELVIN)), 0)
    return TransitionAnalysis().analyze(series(KELVIN, [Magnitude(size, noise) for size in sizes]))


def test_poor_fits_say_so_and_have_the_interval_of_larger_errors():
    """As large as the scatter asks for: with those from the start the fit is good and gives the same interval."""
    good, poor = alternating(1.5, 1.0), alternating(5.0, 1.0)
    assert good["fits"][0]["error_scale"] == 1 and "Tc" in good["text"] and "poor" not in good["text"]
    assert "; the fit is poor and its errors were enlarged" in poor["text"]
    scale = poor["fits"][0]["error_scale"]
    # Twelve points, three parameters.
    assert scale > 2 and scale == pytest.approx(np.sqrt(poor["fits"][0]["deviance"] / (12 - 3)))
    wide = alternating(5.0, scale)
    assert wide["fits"][0]["error_scale"] == 1
    assert poor["interval95_K"] == pytest.approx(wide["interval95_K"], abs=0.1)
    assert np.ptp(poor["interval95_K"]) > 2 * np.ptp(good["interval95_K"])


def test_poor_fits_that_fill_a_gap_name_it():
    sizes = np.where(KELVIN < TC, 60 + 15 * (-1) ** np.arange(len(KELVIN)), 0)
    entry = TransitionAnalysis().analyze(series(KELVIN, [Magnitude(size, 1.0) for size in sizes]))
    assert entry["fits"][0]["error_scale"] > 2
    assert "between 325 and 337.5 K" in entry["text"] and "cannot locate it better" in entry["text"]


def test_disagreement_is_stated():
    def located(name, low, high):
        return {"name": name, "interval95_K": [low, high], "state": "transition"}

    assert agreement([located("a", 300, 320), located("b", 310, None)])["common_K"] == [310, 320]
    apart = agreement([located("a", 300, 310), located("b", 325, 340), located("c", 290, 400)])
    assert apart["agree"] is False and "a vanishes below 310 K, b above 325 K" in apart["text"]
    assert agreement([located("a", 300, 310)])["agree"] is None


# ---- campaigns


@pytest.fixture(scope="module", params=["tricritical", "weakly first order"])
def results(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("landau")
    return analyze_campaign(folder, write_landau_campaign(folder, LAWS[request.param], seed=2))


def test_all_order_parameters_find_the_transition(results):
    found = {entry["kind"]: entry for entry in results["transition"]["order_parameters"]}
    assert found.keys() == {"coupling", "splitting", "asymmetry", "strain"}
    for entry in found.values():
        assert entry["state"] == "transition", entry["text"]
        assert len(entry["points"]) == len(TEMPERATURES) and not entry["left_out"]
        low, high = entry["interval95_K"]
        assert low - (high - low) / 2 < TC < high + (high - low) / 2, entry["text"]
    assert sum(holds(entry["interval95_K"]) for entry in found.values()) >= 3  # each at 95 %
    assert results["transition"]["state"] == "transition" and holds(results["transition"]["interval95_K"])
    assert results["transition"]["agreement"]["agree"] is True
    jsonschema.validate(json.loads(json.dumps(results, allow_nan=False)), schema("results"))


def test_merged_sites_keep_their_splitting_with_an_error(results):
    for entry in results["temperatures"]:
        merged = [row for row in entry["merged_sites"] if row["nucleus"] == "127I"]
        assert [row["nucleus"] for row in entry["sites"]].count("127I") == (2 if entry["temperature_K"] < TC else 1)
        assert sorted(row["count"] for row in merged) == ([] if entry["temperature_K"] < TC else [8, 16])
        if merged:
            difference = merged[0]["cq_MHz"] - merged[1]["cq_MHz"]
            error = np.hypot(*(row["cq_error_sampling_MHz"] for row in merged))
            assert abs(difference) < 4 * error


def test_table_says_what_was_found(results):
    console = Console(width=100, record=True, force_terminal=False, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        print_table(results, console)
        text = console.export_text()
    assert f"transition: {results['transition']['text']}" in text
    assert results["transition"]["agreement"]["text"] in text


@pytest.mark.parametrize(("order", "state"), [(0.0, "zero"), (1.0, "ordered")])
def test_campaigns_without_transition_show_none(tmp_path, order, state):
    record = write_landau_campaign(tmp_path, lambda kelvin: order, temperatures=(260.0, 300.0, 340.0, 380.0), seed=4)
    transition = analyze_campaign(tmp_path, record)["transition"]
    assert transition["state"] == state and transition["interval95_K"] is None
    jsonschema.validate(
        transition, schema("results")["properties"]["transition"] | {"$defs": schema("results")["$defs"]}
    )
    assert "no transition within 260 to 380 K" in transition["text"]


def test_chosen_order_parameters_law_and_exponent(tmp_path):
    record = write_landau_campaign(tmp_path, LAWS["tricritical"], temperatures=TEMPERATURES[::2], seed=4)
    choices = [{"kind": "strain", "nucleus": None, "site": None}]
    record["campaign"]["transition"] = {"order_parameters": choices, "law": "power", "exponent": 0.5}
    transition = analyze_campaign(tmp_path, record)["transition"]
    (entry,) = transition["order_parameters"]
    assert entry["kind"] == "strain" and [found["law"] for found in entry["fits"]] == ["power law, exponent 0.5"]
    assert holds(entry["interval95_K"])


@pytest.mark.parametrize("components", [1.0, 2.0, 5.0])
def test_an_upper_bound_is_never_zero(components):
    """However small a length happens to come out, lengths of two standard errors are not excluded by it."""
    ends = [Magnitude(size, 1.0, components).interval for size in (1e-3, 0.1, 0.5, 1.0, 2.0)]
    assert all(low == 0 and high > 2.5 for low, high in ends) and ends == sorted(ends)
    assert Magnitude(40.0, 1.0, components).interval == pytest.approx((38.04, 41.96), abs=0.1)
    assert Magnitude.below(3.0).interval == pytest.approx((0.0, 3.0))


def test_sizes_of_order_parameters_are_in_their_units():
    """|Cq|, its splitting, eta and |c/a - 1| of sites and a cell that are given exactly."""

    def site(name, vzz, eta):
        tensor = vzz * np.diag([-(1 - eta) / 2, -(1 + eta) / 2, 1.0])
        row = {"nucleus": "127I", "site": name, "count": 8, "eta": eta, "cq_MHz": vzz, "compatible_with_zero": False}
        covariance = (1e-12 * np.eye(6)).tolist()
        return row | {
            "tensor_au": matrix_to_six(tensor).tolist(),
            "covariance_au": covariance,
            "degrees_of_freedom": 40,
        }

    lengths = {name: {"mean": mean, "error": 1e-6} for name, mean in zip("abc", (6.3, 6.3, 6.363), strict=True)}
    entry = {
        "temperature_K": 300.0,
        "sites": [site("4a", 3.0, 0.0), site("8h", 3.3, 0.2)],
        "merged_sites": [],
        "lattice": {
            "pseudocubic": lengths,
            "pseudocubic_covariance": (1e-12 * np.eye(3)).tolist(),
            "pseudocubic_degrees": 40,
        },
        "symmetry": {"assumed_from_start": False},
    }
    iodine = nucleus("127I")
    results = {"temperatures": [entry], "nuclei": {"127I": {"moment_mb": iodine.moment_mb}}}
    choices = [{"kind": kind, "nucleus": "127I"} for kind in ("coupling", "splitting", "asymmetry")]
    found = order_parameters(results, [*choices, {"kind": "strain"}])
    sizes = {(series.kind, series.site): series.points[0].size for series in found}
    mhz = abs(float(iodine.coupling_mhz(1.0)))
    assert sizes["coupling", "4a"] == pytest.approx(3.0 * mhz)
    assert sizes["splitting", None] == pytest.approx(0.3 * mhz)
    assert sizes["asymmetry", "8h"] == pytest.approx(0.2)
    assert sizes["strain", None] == pytest.approx(1.0, rel=0.01)
