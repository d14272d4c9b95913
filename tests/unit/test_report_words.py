"""What the table and the report say of sites, notes and laws that need more than a number."""

import json
import re
import xml.etree.ElementTree as ElementTree

import html5lib
import numpy as np
import pytest
from report_results import results

from efgmd.analysis.couplings import coupling
from efgmd.analysis.statistics import Estimate
from efgmd.analysis.table import coupling_text, legend, table_rows
from efgmd.analysis.transition import TransitionAnalysis
from efgmd.nuclei import nucleus
from efgmd.report.page import _summary, write_report
from efgmd.report.tables import transition_table
from efgmd.tensors import matrix_to_six

FORM = np.diag([1, 1, 1, 0.5, 0.5, 0.5]) - np.pad(np.full((3, 3), 1 / 3), (0, 3))
SVG = "{http://www.w3.org/2000/svg}"


def with_transition(content, **settings):
    content["transition"] = TransitionAnalysis(**settings).compute(content).entry
    return content


def page_of(folder, content):
    """The page, and its text without the plots."""
    (folder / "results.json").write_text(json.dumps(content))
    page = write_report(folder).read_text(encoding="utf-8")
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)
    for parent in list(tree.iter()):
        for child in list(parent):
            if child.tag in ("svg", SVG + "svg", "style", "script"):
                parent.remove(child)
    return page, re.sub(r"\s+", " ", " ".join(tree.itertext()))


def site_of(entry, name):
    return next(site for site in entry["sites"] if site["nucleus"] == name)


def give(site, name, mean, noise):
    """Put the coupling of a mean tensor, with the noise of each component, into a site."""
    found = coupling(nucleus(name), Estimate(mean, noise**2 * FORM, 40, 1.0, 40.0))
    site.update(
        cq_MHz=found.cq,
        cq_error_sampling_MHz=found.cq_error,
        cq_interval95_MHz=found.cq_interval,
        sign_known=found.sign_known,
        eta=found.eta,
        eta_error_sampling=found.eta_error,
        eta_interval95=found.eta_interval,
        compatible_with_zero=found.is_zero,
        nqr_MHz=list(found.nqr),
        nqr_error_sampling_MHz=list(found.nqr_error),
    )
    return site


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sign_that_is_not_determined_is_not_shown(tmp_path, sign):
    content = results(temperatures=(300.0, 400.0))
    site = site_of(content["temperatures"][0], "127I")
    give(site, "127I", sign * matrix_to_six(np.diag([1.0, -0.03, -0.97])), 0.05)
    assert not site["sign_known"] and not site["compatible_with_zero"]
    text = coupling_text(site)
    assert re.fullmatch(r"\|Cq\| \d+\.\d+ ± \d+\.\d+ MHz", text)
    assert table_rows(content["temperatures"][0])[0][2] == text
    explained = "the sign of Cq is not determined"
    assert sum(explained in line for line in legend(content)) == 1
    _, words = page_of(tmp_path, content)
    assert text in words and explained in words


def test_signs_that_are_determined_need_no_words(tmp_path):
    content = results(temperatures=(300.0,))
    assert not any("sign of Cq" in line for line in legend(content))
    _, words = page_of(tmp_path, content)
    assert "sign of Cq" not in words
    site = site_of(content["temperatures"][0], "127I")
    assert site["cq_MHz"] < 0 and coupling_text(site).startswith("-")


def test_notes_of_a_temperature_reach_the_report_and_the_table(tmp_path):
    content = results(temperatures=(300.0, 350.0, 400.0))
    for entry in content["temperatures"][::2]:
        entry["notes"] = ["step 0 left out: all its tensors are zero"]
    line = "300, 400 K: step 0 left out: all its tensors are zero"
    assert line in legend(content)
    _, words = page_of(tmp_path, content)
    assert line in words


def many_sites(content, name, count, mean, noise, seed=0):
    """Replace a nucleus' site by many with their own noise, at every temperature."""
    rng = np.random.default_rng(seed)
    for entry in content["temperatures"]:
        pattern = site_of(entry, name)
        others = [site for site in entry["sites"] if site["nucleus"] != name]
        drawn = rng.multivariate_normal(np.zeros(6), noise**2 * FORM, count)
        entry["sites"] = others + [
            give(pattern | {"site": f"#{k + 1}", "count": 1}, name, mean(k) + row, noise) for k, row in enumerate(drawn)
        ]
        entry["merged_sites"] = []
    return with_transition(content)


def summary_of(entry, name):
    return next(row for row in table_rows(entry) if row[0].startswith(name))


def test_of_many_sites_without_coupling_only_a_bound_is_shown():
    content = many_sites(results(temperatures=(350.0,)), "14N", 12, lambda k: np.zeros(6), 1e-3)
    (entry,) = content["temperatures"]
    for site in entry["sites"]:
        site["compatible_with_zero"] |= site["nucleus"] == "14N"  # one in twenty is not, by chance
    bound = 1000 * max(site["cq_interval95_MHz"][1] for site in entry["sites"] if site["nucleus"] == "14N")
    assert summary_of(entry, "14N")[:3] == ["14N (12 sites)", "12", f"|Cq| < {bound:.4g} kHz"]


def test_many_sites_of_which_some_have_a_coupling():
    tensor = matrix_to_six(np.diag([-0.5, -0.5, 1.0]))
    content = many_sites(results(temperatures=(350.0,)), "14N", 12, lambda k: (k % 2) * 0.3 * tensor, 1e-3)
    (entry,) = content["temperatures"]
    known = [abs(s["cq_MHz"]) for s in entry["sites"] if s["nucleus"] == "14N" and not s["compatible_with_zero"]]
    bounds = [s["cq_interval95_MHz"][1] for s in entry["sites"] if s["nucleus"] == "14N" and s["compatible_with_zero"]]
    assert len(known) == len(bounds) == 6
    assert " ".join(summary_of(entry, "14N")[2].split()) == (
        f"|Cq| < {1000 * max(bounds):.4g} kHz (6 sites), |Cq| {min(known):.4g} to {max(known):.4g} MHz (6 sites)"
    )


def test_a_fixed_exponent_is_not_shown_as_fitted():
    content = results()
    fitted = transition_table(content)["rows"]
    assert any(re.fullmatch(r"0\.\d\d \(.* to .*\)", row["cells"][3]) for row in fitted)
    fixed = transition_table(with_transition(content, law="first-order"))["rows"]
    assert len(fixed) == len(fitted) and not any(row["cells"][3] for row in fixed)


def plots_of(page):
    """Plots by what screen readers say of them."""
    return {
        root.get("aria-label"): root for root in map(ElementTree.fromstring, re.findall(r"(?s)<svg.*?</svg>", page))
    }


def test_many_sites_at_every_temperature_give_a_sentence_for_a_plot(tmp_path):
    tensor = matrix_to_six(np.diag([-1.6, -1.6, 3.2]))
    content = many_sites(results(temperatures=(300.0, 350.0)), "127I", 24, lambda k: tensor, 0.02)
    page, words = page_of(tmp_path, content)
    assert "127I has more than 8 sites at every temperature" in words
    names = list(plots_of(page))
    assert not any(name.startswith(("|Cq| of 127I. Bars", "Asymmetry parameter of 127I")) for name in names)
    assert any(name.startswith("|Cq| of 14N. Bars") for name in names)
    assert (tmp_path / "couplings.png").exists()


def test_temperatures_that_a_plot_leaves_out_are_named(tmp_path):
    content = results(temperatures=(300.0, 350.0, 400.0))
    entry = content["temperatures"][1]
    pattern = site_of(entry, "127I")
    others = [site for site in entry["sites"] if site["nucleus"] != "127I"]
    entry["sites"] = others + [pattern | {"site": str(k + 1), "count": 1} for k in range(24)]
    entry["merged_sites"] = []
    _, words = page_of(tmp_path, with_transition(content))
    assert "Left out, with more than 8 sites: 350 K." in words


def test_names_of_sites_are_no_mathematics(tmp_path):
    content = results(temperatures=(300.0, 350.0))
    names = {"4a": "bridge $x", "8h": "a$b$c$\\foo$"}  # the first is broken mathematics
    for entry in content["temperatures"]:
        for site in entry["sites"] + entry["merged_sites"]:
            site["site"] = names.get(site["site"], site["site"])
    page, words = page_of(tmp_path, with_transition(content))
    shown = {text.text for plot in plots_of(page).values() for text in plot.iter(SVG + "text") if text.text}
    for name in names.values():
        assert name in words and f"127I on {name}" in shown


def test_times_of_imported_runs_are_told_for_each(tmp_path):
    content = results(temperatures=(300.0, 350.0, 400.0))
    times = {"timestep_fs": 1.0, "sampling_fs": 20.0, "production_ps": 8.0, "skipped_ps": 0.0}
    other = {"timestep_fs": 0.5, "sampling_fs": 100.0, "production_ps": 4.0, "skipped_ps": 2.0}
    runs = {"T0300K": times, "T0350K": other, "T0400K": times}
    for entry, folder in zip(content["temperatures"], runs, strict=True):
        entry["folder"] = folder
    content["campaign"] = {"ensemble": {"kind": "imported"}, "runs": runs}
    _, words = page_of(tmp_path, content)
    first = "8 ps after 0 ps that were skipped, time step 1 fs, a tensor sample every 20 fs"
    second = "4 ps after 2 ps that were skipped, time step 0.5 fs, a tensor sample every 100 fs"
    assert f"at 300, 400 K {first}; at 350 K {second}." in words
    content["campaign"]["runs"] = dict.fromkeys(runs, other)
    assert _summary(content).endswith(f"at 300, 350, 400 K; {second}.")
