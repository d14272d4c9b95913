"""Results in other programs' hands: schemas, pandas, Soprano, magres; and the commands that write them."""

import csv
import json

import jsonschema
import numpy as np
import pandas
import pytest
from ase.io import read
from moving_campaign import SIZE, TAU_PS, write_campaign
from moving_tensors import random_tensors
from soprano.properties.nmr import EFGAsymmetry, EFGQuadrupolarConstant, EFGVzz
from typer.testing import CliRunner

from efgmd.analysis.campaign_dynamics import CampaignDynamics
from efgmd.analysis.interchange import mean_structures, schema, to_pandas
from efgmd.analysis.relaxation import extreme_narrowing_rate
from efgmd.analysis.results import analyze_campaign
from efgmd.cli import app
from efgmd.errors import ConfigError, DataError
from efgmd.nuclei import nucleus
from efgmd.tensors import asymmetry, principal_values

ISOTOPES = {"Pb": 207, "I": 127}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moving")
    return folder, write_campaign(folder)


@pytest.fixture(scope="module")
def results(campaign):
    return analyze_campaign(*campaign)


def run(*arguments):
    """Run the command line; returns what it printed."""
    found = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "100"})
    if found.exception is not None:
        raise found.exception
    return found.output


def valid(kind, content):
    """Check a file's content against its schema, which must itself be one."""
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    jsonschema.validate(content, schema(kind), jsonschema.Draft202012Validator)


def test_results_follow_their_schema(campaign, results):
    valid("results", json.loads((campaign[0] / "results.json").read_text()))
    for broken in ({"schema": 2}, {"temperatures": []}, {"complete": "yes"}):
        with pytest.raises(jsonschema.ValidationError):
            valid("results", results | broken)


def test_the_schema_names_every_field(results):
    described = schema("results")
    assert set(results) <= set(described["properties"])
    entry = results["temperatures"][0]
    assert set(entry) <= set(described["$defs"]["temperature"]["properties"])
    assert set(entry["sites"][0]) <= set(described["$defs"]["site"]["properties"])
    assert set(entry["sites"][0]["symmetrised"]) <= set(
        described["$defs"]["site"]["properties"]["symmetrised"]["properties"]
    )


def test_results_become_a_table(campaign, results):
    table = to_pandas(results)
    assert len(table) == sum(len(entry["sites"]) for entry in results["temperatures"]) == 2
    assert table.columns[0] == "temperature_K" and set(table["nucleus"]) == {"127I"}
    written = pandas.read_csv(campaign[0] / "results.csv")
    for column in ("cq_MHz", "eta", "cq_low95_MHz", "eta_high95"):
        np.testing.assert_allclose(table[column].astype(float), written[column].astype(float))


@pytest.fixture(scope="module")
def dynamics(campaign):
    folder = campaign[0]
    printed = run("dynamics", folder, "--field", "9.4")
    return printed, json.loads((folder / "dynamics.json").read_text())


def test_dynamics_of_a_campaign_are_those_put_in(campaign, dynamics):
    printed, found = dynamics
    valid("dynamics", found)
    cq_hz = 1e6 * float(nucleus("127I").coupling_mhz(SIZE))
    exact = extreme_narrowing_rate(2.5, cq_hz, 0.0, 1e-12 * TAU_PS)
    for entry in found["temperatures"]:
        (site,) = entry["sites"]
        assert site["count"] == 24 and site["tau_resolved"] and site["fast_motion"]
        assert abs(site["tau_ps"] - TAU_PS) < 3.5 * site["tau_error_ps"] < 0.2 * TAU_PS
        times = site["relaxation"]
        assert abs(1 / times["T1_s"] - exact) < 3.5 * exact**2 * times["T1_error_s"]
        assert times["larmor_MHz"] == pytest.approx(80.63, rel=1e-3)
        assert site["fluctuating_cq_MHz"] == pytest.approx(abs(cq_hz) / 1e6, rel=0.02)
        assert site["correlation"]["invariant"][0] == pytest.approx(1.0)
        # The mean coupling is as strong as the field here, which the theory of high field does not cover.
        assert site["mean_cq_MHz"] > 80 and any("not small against the Larmor" in note for note in site["notes"])
    assert "9.4 T, powder average" in printed and "127I" in printed
    rows = list(csv.DictReader((campaign[0] / "dynamics.csv").open()))
    assert [float(row["tau_ps"]) for row in rows] == [e["sites"][0]["tau_ps"] for e in found["temperatures"]]
    assert (campaign[0] / "dynamics.png").stat().st_size > 10000
    assert len(to_pandas(found)) == 2


def test_dynamics_can_be_chosen(campaign):
    folder, record = campaign
    found = CampaignDynamics(["127I"], direction=(0, 0, 1), max_lag_ps=0.5).compute(folder, record).results
    (site,) = found["temperatures"][0]["sites"]
    assert site["correlation"]["lag_ps"][-1] == pytest.approx(0.5)
    assert site["relaxation"]["larmor_MHz"] == 0.0 and found["direction"] == [0, 0, 1]
    with pytest.raises(ConfigError, match="not among the nuclei"):
        CampaignDynamics(["14N"]).compute(folder, record)
    with pytest.raises(DataError, match="compute"):
        CampaignDynamics().results  # noqa: B018


def test_block_means_are_refused(tmp_path):
    record = write_campaign(tmp_path, samples_per_block=4)
    with pytest.raises(DataError, match="samples_per_block: 1"):
        CampaignDynamics().compute(tmp_path, record)


def test_spectra_of_a_campaign(campaign, results, tmp_path):
    folder, picture = campaign[0], tmp_path / "lines.png"
    printed = run("spectrum", folder, "-n", "127I", "--kind", "nqr", "--temperature", 400, "-o", picture)
    found = json.loads(picture.with_suffix(".json").read_text())
    valid("spectrum", found)
    site = results["temperatures"][1]["sites"][0]
    strong = [line["frequency_MHz"] for line in found["lines"] if line["strength"] > 0.1]
    np.testing.assert_allclose(strong, site["nqr_MHz"])
    assert f"{strong[0]:.4g} MHz" in printed and picture.stat().st_size > 5000
    run("spectrum", folder, "-n", "127I", "--kind", "exact", "--field", "9.4", "-o", tmp_path / "exact.svg")
    valid("spectrum", json.loads((tmp_path / "exact.json").read_text()))
    with pytest.raises(ConfigError, match="no results for 14N"):
        run("spectrum", folder, "-n", "14N", "--kind", "nqr", "-o", picture)
    with pytest.raises(ConfigError, match="no results at 500 K"):
        run("spectrum", folder, "-n", "127I", "--kind", "nqr", "--temperature", 500, "-o", picture)


def test_spectra_of_couplings(tmp_path):
    picture = tmp_path / "pake.png"
    run("spectrum", "-n", "2H", "--cq", 0.17, "--eta", 0.1, "--field", 9.4, "-o", picture)
    found = json.loads(picture.with_suffix(".json").read_text())
    valid("spectrum", found)
    offset, intensity = np.array(found["offset_kHz"]), np.array(found["intensity_per_kHz"])
    assert intensity.sum() * (offset[1] - offset[0]) == pytest.approx(1.0, abs=1e-3)
    assert 2 * abs(offset[np.argmax(intensity)]) == pytest.approx(0.75 * 170 * 0.9, rel=0.02)
    table = pandas.read_csv(picture.with_suffix(".csv"))
    np.testing.assert_allclose(table["intensity_per_kHz"], intensity)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name the nucleus"),
        (["-n", "2H", "--cq", 0.1], "--larmor"),
        (["-n", "2H", "--field", 9.4], "--cq"),
        (["-n", "2H", "--cq", 0.1, "--field", 9.4, "-o", "spectrum.txt"], r"\.png"),
        (["-n", "2H", "--cq", 0.1, "--kind", "nqr", "--band"], "static and mas"),
        (["-n", "1H", "--cq", 0.1, "--kind", "nqr"], "spin 1/2"),
        (["-n", "14N", "--cq", 0, "--kind", "nqr"], "finite and not zero"),
        (["-n", "14N", "--cq", "nan", "--kind", "nqr"], "finite and not zero"),
        (["-n", "14N", "--cq", 0.5, "--eta", 1.5, "--kind", "nqr"], "between 0 and 1"),
        (["-n", "14N", "--cq", 0.5, "--spin", "3/2", "--kind", "nqr"], "14N has spin 1, not 3/2"),
        (["-n", "45Sc", "--cq", 0.5, "--spin", "abc", "--kind", "nqr"], "a number such as 3 or 7/2, got abc"),
        (["-n", "127I", "--cq", 500, "--kind", "exact", "--field", 9.4, "--transitions", "central"], "central"),
    ],
)
def test_spectra_that_cannot_be_made_say_why(options, message):
    with pytest.raises(ConfigError, match=message):
        run("spectrum", *options)


def test_soprano_agrees_on_single_tensors():
    from ase import Atoms

    tensors = random_tensors(6, np.random.default_rng(0))
    atoms = Atoms("NHINHI", positions=np.eye(6)[:, :3], cell=np.eye(3) * 5, pbc=True)
    atoms.set_array("efg", tensors)
    values = principal_values(tensors)
    np.testing.assert_allclose(EFGVzz()(atoms), values[:, 2], rtol=1e-10)
    np.testing.assert_allclose(EFGAsymmetry()(atoms), asymmetry(values), rtol=1e-10, atol=1e-12)
    names = ["14N", "2H", "127I"] * 2
    ours = [float(nucleus(name).coupling_mhz(vzz)) for name, vzz in zip(names, values[:, 2], strict=True)]
    theirs = EFGQuadrupolarConstant(isotopes={"N": 14, "H": 2, "I": 127})(atoms) / 1e6
    np.testing.assert_allclose(theirs, ours, rtol=1e-10)


@pytest.mark.parametrize("form", ["magres", "extxyz"])
def test_soprano_reads_mean_structures(campaign, results, tmp_path, form):
    folder = campaign[0]
    printed = run("structures", folder, "--format", form, "-o", tmp_path)
    assert f"mean-0300K.{form}" in printed
    for entry in results["temperatures"]:
        atoms = read(tmp_path / f"mean-{entry['temperature_K']:04.0f}K.{form}")
        tensors = atoms.arrays["efg"].reshape(-1, 3, 3)
        atoms.arrays["efg"] = tensors
        ours = principal_values(tensors)[atoms.symbols == "I"]
        theirs = EFGQuadrupolarConstant(isotopes=ISOTOPES)(atoms)[atoms.symbols == "I"] / 1e6
        np.testing.assert_allclose(theirs, nucleus("127I").coupling_mhz(ours[:, 2]), rtol=1e-10)
        np.testing.assert_allclose(EFGAsymmetry()(atoms)[atoms.symbols == "I"], asymmetry(ours), atol=1e-10)
        (site,) = entry["sites"]
        digits = 1e-9 if form == "magres" else 1e-7  # ten and eight decimals are written
        np.testing.assert_allclose(theirs, site["cq_MHz"], rtol=digits)


def test_mean_structures_hold_equivalent_tensors(campaign, results):
    atoms = mean_structures(*campaign)[0]
    values = principal_values(atoms.arrays["efg"])[atoms.symbols == "I"]
    assert np.ptp(values, axis=0).max() < 1e-12
    assert atoms.info["space_group"] == results["temperatures"][0]["symmetry"]["space_group"]
