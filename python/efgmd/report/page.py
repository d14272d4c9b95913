"""report.html: one self-contained page with a campaign's results."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase.formula import Formula
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes

from efgmd.analysis.results import FORMAT, read_results
from efgmd.analysis.table import MANY_SITES, ROUGH, all_warnings, sign_lines, told_once
from efgmd.errors import StoreError
from efgmd.files import write_whole
from efgmd.report import figures, tables, transition_figures
from efgmd.report.svg import panel
from efgmd.trajectories.analysing import IMPORTED

REPORT_FILE = "report.html"
FIGURE_FILE = "couplings.png"
_LAWS = {"any": "power laws and Landau's first-order laws", "power": "power laws", "first-order": "Landau's laws"}


def write_report(folder: Path) -> Path:
    """Write report.html and couplings.png from a folder's results.json.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    StoreError
        When there is no results.json, or one of an earlier version.
    """
    results = read_results(folder)
    if "transition" not in results:
        raise StoreError(f"results.json in {folder} is of an earlier version; run `efgmd analyze {folder}` first")
    if results["campaign"]["ensemble"]["kind"] == IMPORTED and "runs" not in results["campaign"]:
        raise StoreError(f"results.json in {folder} is of an earlier version; import its trajectories again")
    environment = Environment(
        loader=PackageLoader("efgmd.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content = page_content(results) | {"companions": companions(folder)}
    text = environment.get_template("page.html.j2").render(**content).lstrip()
    write_whole(folder / REPORT_FILE, text)
    figures.write_figure(results, folder / FIGURE_FILE)
    return folder / REPORT_FILE


def companions(folder: Path) -> list[str]:
    """Names of other results that efgmd wrote into a folder (spectra, dynamics), and of their pictures and tables."""
    names = []
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue  # somebody else's, or still being written
        kind = content.get("format") if isinstance(content, dict) else None
        if isinstance(kind, str) and kind.startswith("efgmd-") and kind != FORMAT:
            found = [path.with_suffix(suffix) for suffix in (".png", ".svg", ".pdf", ".csv", ".json")]
            names += [candidate.name for candidate in found if candidate.exists()]
    return names


def page_content(results: dict[str, Any]) -> dict[str, Any]:
    """Everything that the template shows."""
    sites = [site for entry in results["temperatures"] for site in entry["sites"]]
    rough = any(site["error_is_rough"] for site in sites)
    couplings = tables.couplings_table(results)
    spectra = _spectra_plots(results)
    sections = {
        "couplings": "Couplings",
        "temperature": "Against temperature",
        "transition": "Transition",
        **({"spectra": "NQR spectra"} if spectra else {}),
        "convergence": "Convergence",
        "crystal": "Crystal",
        "models": "Models",
        "provenance": "Provenance",
    }
    return {
        "css": _source("page.css"),
        "script": _source("zoom.js"),
        "title": f"Quadrupolar couplings of {Formula(results['formula']).reduce()[0]}",
        "summary": _summary(results),
        "incomplete": "" if results["complete"] else _incomplete(results),
        "sections": list(sections.items()),
        "transition": _transition(results),
        "couplings": couplings,
        "legend": ([] if couplings["with_model"] else ["The models' own error is not included."])
        + ([f"{ROUGH}: fewer than 10 independent samples, the error itself is rough."] if rough else [])
        + [f"{line}." for line in sign_lines(sites)],
        "warnings": all_warnings(results) + results["notes"],
        "main_plots": _main_plots(results),
        "transition_plots": _transition_plots(results),
        "spectra_plots": spectra,
        "convergence_plots": _convergence_plots(results),
        "crystal": tables.crystal_table(results),
        "models": tables.models_table(results),
        "provenance": tables.provenance(results),
    }


def _source(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _summary(results: dict[str, Any]) -> str:
    ensemble = results["campaign"]["ensemble"]
    temperatures = ", ".join(f"{entry['temperature_K']:g}" for entry in results["temperatures"])
    control = (
        f" ({ensemble['pressure_control']}, {ensemble['pressure_bar']:g} bar)" if ensemble["kind"] == "npt" else ""
    )
    origin = "trajectory of an own run" if ensemble["kind"] == IMPORTED else ensemble["kind"].upper() + control
    return f"{results['n_atoms']} atoms, {origin} at {temperatures} K; {_times(results)}."


def _times(results: dict[str, Any]) -> str:
    """Lengths and steps of the runs: those of the campaign, or of each imported run, those that agree told once."""
    campaign = results["campaign"]

    def text(entry: dict[str, Any]) -> str:
        if campaign["ensemble"]["kind"] == IMPORTED:
            times = campaign["runs"][entry["folder"]]
            before = f"{times['skipped_ps']:g} ps that were skipped"
        else:
            times = campaign
            before = f"{times['equilibration_ps']:g} ps of equilibration"
        return (
            f"{times['production_ps']:g} ps after {before}, time step {times['timestep_fs']:g} fs, "
            f"a tensor sample every {times['sampling_fs']:g} fs"
        )

    found = told_once(results, lambda entry: [text(entry)])
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"at {temperatures} K {times}" for times, temperatures in found.items())


def _incomplete(results: dict[str, Any]) -> str:
    done = [f"{entry['temperature_K']:g} K {entry['samples']}" for entry in results["temperatures"]]
    planned = results["temperatures"][0]["samples_planned"]
    return f"{', '.join(done)} of {planned} samples. " + " ".join(results["missing"])


def _transition(results: dict[str, Any]) -> dict[str, Any]:
    found = results["transition"]
    exponent = found["exponent"]
    return {
        "text": _sentence(found["text"]),
        "agreement": _sentence(found["agreement"]["text"]),
        "table": tables.transition_table(results),
        "laws": _LAWS[found["law"]] if exponent is None else f"power laws of exponent {exponent:g}",
    }


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _plot(name: str, caption: str, draw: Callable[..., None], *arguments: Any) -> dict[str, str]:
    def on_axes(axes: Axes) -> None:
        draw(axes, *arguments)

    return {"svg": panel(name, caption, on_axes), "caption": caption}


def _main_plots(results: dict[str, Any]) -> list[dict[str, str]]:
    """Plots, and sentences (without ``svg``) for the nuclei that have none."""
    nuclei = [nucleus for nucleus in figures.nuclei_of(results) if figures.has_series(results, nucleus)]
    band = " Grey: the transition with its 95 % interval." if results["transition"]["interval95_K"] else ""
    plots = [
        _plot(
            f"cq-{nucleus}",
            f"|Cq| of {nucleus}. Bars: sampling error; open markers: 95 % bounds where compatible with zero.{band}"
            + _left_out(results, nucleus),
            figures.draw_couplings,
            results,
            nucleus,
        )
        for nucleus in nuclei
    ]
    for nucleus in nuclei:
        if figures.has_asymmetry(results, nucleus):
            caption = f"Asymmetry parameter of {nucleus}, where its mean tensor differs from zero."
            plots.append(_plot(f"eta-{nucleus}", caption, figures.draw_asymmetry, results, nucleus))
    caption = "Lattice parameters of the simulated cell, per pseudo-cubic cell."
    absent = [nucleus for nucleus in figures.nuclei_of(results) if nucleus not in nuclei]
    sentences = [{"svg": "", "caption": figures.no_series(nucleus)} for nucleus in absent]
    return [*plots, _plot("lattice", caption, figures.draw_lattice, results), *sentences]


def _left_out(results: dict[str, Any], nucleus: str) -> str:
    """Which temperatures a plot of sites does not show, or nothing."""
    counts = {
        f"{entry['temperature_K']:g}": sum(site["nucleus"] == nucleus for site in entry["sites"])
        for entry in results["temperatures"]
    }
    many = [temperature for temperature, count in counts.items() if count > MANY_SITES]
    return f" Left out, with more than {MANY_SITES} sites: {', '.join(many)} K." if many else ""


def _transition_plots(results: dict[str, Any]) -> list[dict[str, str]]:
    plots = []
    for index, found in enumerate(results["transition"]["order_parameters"]):
        if not found["points"]:
            continue
        law = f" Line: {found['fits'][0]['law']}; grey: 95 % interval of its Tc." if found["fits"] else ""
        caption = _sentence(f"{found['name']}, without the share of the noise") + f" Bars and open markers: 95 %.{law}"
        plots.append(_plot(f"order-{index}", caption, transition_figures.draw_order_parameter, results, found))
    return plots


def _spectra_plots(results: dict[str, Any]) -> list[dict[str, str]]:
    caption = "NQR lines of {}: each stick stands on its temperature; bars: sampling error of the frequency."
    return [
        _plot(f"nqr-{nucleus}", caption.format(nucleus), transition_figures.draw_nqr_lines, results, nucleus)
        for nucleus in figures.nuclei_of(results)
        if transition_figures.has_nqr_lines(results, nucleus)
    ]


def _convergence_plots(results: dict[str, Any]) -> list[dict[str, str]]:
    shown, count = len(figures.some_temperatures(results)), len(results["temperatures"])
    part = "" if shown == count else f" {shown} of {count} temperatures."
    plots = [
        _plot(
            f"running-{nucleus}",
            f"|Cq| of {nucleus} (largest site) of the tensor averaged up to a time: flat when long enough.{part}",
            figures.draw_convergence,
            results,
            nucleus,
        )
        for nucleus in figures.nuclei_of(results)
    ]
    for quantity, label in (("temperature_K", "temperature (K)"), ("volume", "cell volume (Å³)")):
        caption = f"{label.split(' (')[0].capitalize()} during production.{part}"
        plots.append(_plot(f"trace-{quantity}", caption, figures.draw_trace, results, quantity, label))
    return plots
