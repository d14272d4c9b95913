"""report.html: one self-contained page with a campaign's results."""

import os
from pathlib import Path
from typing import Any

from ase.formula import Formula
from jinja2 import Environment, PackageLoader, StrictUndefined

from efgmd.analysis.results import read_results
from efgmd.analysis.table import (
    MANY_SITES,
    ROUGH,
    all_warnings,
    coupling_text,
    eta_text,
    frequency_text,
    instant_text,
    site_name,
    table_rows,
    with_error,
)
from efgmd.report import figures

REPORT_FILE = "report.html"
FIGURE_FILE = "couplings.png"


def write_report(folder: Path) -> Path:
    """Write report.html and couplings.png from a folder's results.json.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    StoreError
        When there is no results.json.
    """
    results = read_results(folder)
    environment = Environment(
        loader=PackageLoader("efgmd.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("page.html.j2").render(**page_content(results))
    unfinished = folder / (REPORT_FILE + ".new")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, folder / REPORT_FILE)
    figures.write_figure(results, folder / FIGURE_FILE)
    return folder / REPORT_FILE


def page_content(results: dict[str, Any]) -> dict[str, Any]:
    """Everything that the template shows."""
    campaign = results["campaign"]
    ensemble = campaign["ensemble"]
    temperatures = ", ".join(f"{entry['temperature_K']:g}" for entry in results["temperatures"])
    control = (
        f" ({ensemble['pressure_control']}, {ensemble['pressure_bar']:g} bar)" if ensemble["kind"] == "npt" else ""
    )
    ensemble_text = "trajectory of an own run" if ensemble["kind"] == "imported" else ensemble["kind"].upper() + control
    done = [f"{entry['temperature_K']:g} K {entry['samples']}" for entry in results["temperatures"]]
    planned = results["temperatures"][0]["samples_planned"]
    sites = [site for entry in results["temperatures"] for site in entry["sites"]]
    rough = any(site["error_is_rough"] for site in sites)
    with_model = any(site["cq_error_model_MHz"] is not None for site in sites)
    return {
        "results": results,
        "title": f"Quadrupolar couplings of {Formula(results['formula']).reduce()[0]}",
        "summary": (
            f"{results['n_atoms']} atoms, {ensemble_text} at {temperatures} K; "
            f"{campaign['production_ps']:g} ps after {campaign['equilibration_ps']:g} ps of equilibration, time step "
            f"{campaign['timestep_fs']:g} fs, a tensor sample every {campaign['sampling_fs']:g} fs."
        ),
        "incomplete": f"{', '.join(done)} of {planned} samples. " + " ".join(results["missing"]),
        "rows": _rows(results),
        "with_model_error": with_model,
        "legend": ([] if with_model else ["The models' own error is not included."])
        + ([f"{ROUGH}: fewer than 10 independent samples, the error itself is rough."] if rough else []),
        "warnings": all_warnings(results) + results["notes"],
        "main_plots": _main_plots(results),
        "convergence_plots": _convergence_plots(results),
        "crystal": [_crystal_row(entry) for entry in results["temperatures"]],
        "provenance": _provenance(results),
    }


def _rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for entry in results["temperatures"]:
        first = True
        for nucleus in dict.fromkeys(site["nucleus"] for site in entry["sites"]):
            sites = [site for site in entry["sites"] if site["nucleus"] == nucleus]
            if len(sites) > MANY_SITES:
                summary = next(row for row in table_rows(entry) if row[0].startswith(nucleus + " "))
                lines = [summary[:3]]
            else:
                lines = [_site_cells(site, entry) for site in sites]
            for cells in lines:
                rows.append(
                    {"first": first, "temperature": f"{entry['temperature_K']:g}" if first else "", "cells": cells}
                )
                first = False
    return rows


def _site_cells(site: dict[str, Any], entry: dict[str, Any]) -> list[str]:
    model = site["cq_error_model_MHz"]
    interval = site["cq_interval95_MHz"]
    eta_interval = site["eta_interval95"]
    zero = site["compatible_with_zero"]
    return [
        site_name(site, entry),
        str(site["count"]),
        coupling_text(site),
        "" if interval is None or zero else " to ".join(frequency_text(value) for value in interval),
        *([] if model is None else [frequency_text(model)]),
        eta_text(site),
        "" if eta_interval is None or zero else f"{eta_interval[0]:.2f} to {eta_interval[1]:.2f}",
        "" if zero else ", ".join(f"{line:.4g}" for line in site["nqr_MHz"]),
        instant_text(site),
    ]


def _main_plots(results: dict[str, Any]) -> list[dict[str, str]]:
    plots = []
    for nucleus in figures.nuclei_of(results):
        plots.append(
            {
                "svg": figures.panel(lambda axes, n=nucleus: figures.draw_couplings(axes, results, n)),  # type: ignore[misc]
                "caption": f"|Cq| of {nucleus}. Bars: sampling error; arrows: 95 % bounds where compatible with zero.",
            }
        )
    for nucleus in figures.nuclei_of(results):
        sites = [site for entry in results["temperatures"] for site in entry["sites"] if site["nucleus"] == nucleus]
        if all(site["compatible_with_zero"] for site in sites):
            continue
        plots.append(
            {
                "svg": figures.panel(lambda axes, n=nucleus: figures.draw_asymmetry(axes, results, n)),  # type: ignore[misc]
                "caption": f"Asymmetry parameter of {nucleus}, where its mean tensor differs from zero.",
            }
        )
    plots.append(
        {
            "svg": figures.panel(lambda axes: figures.draw_lattice(axes, results)),
            "caption": "Lattice parameters of the simulated cell, per pseudo-cubic cell.",
        }
    )
    return plots


def _convergence_plots(results: dict[str, Any]) -> list[dict[str, str]]:
    plots = [
        {
            "svg": figures.panel(lambda axes, n=nucleus: figures.draw_convergence(axes, results, n)),  # type: ignore[misc]
            "caption": f"|Cq| of {nucleus} (largest site) of the tensor averaged up to a time: flat when long enough.",
        }
        for nucleus in figures.nuclei_of(results)
    ]
    for quantity, label in (("temperature_K", "temperature (K)"), ("volume", "cell volume (angstrom³)")):
        plots.append(
            {
                "svg": figures.panel(
                    lambda axes, q=quantity, text=label: figures.draw_trace(axes, results, q, text)  # type: ignore[misc]
                ),
                "caption": f"{label.split(' (')[0].capitalize()} during production.",
            }
        )
    return plots


def _crystal_row(entry: dict[str, Any]) -> list[str]:
    lattice, measured, symmetry = entry["lattice"]["pseudocubic"], entry["measured"], entry["symmetry"]
    origin = "of the start" if symmetry["assumed_from_start"] else f"within {symmetry['tolerance_angstrom']:.2g} Å"
    return [
        f"{entry['temperature_K']:g}",
        f"{symmetry['space_group']}, {origin}",
        *(with_error(lattice[name]["mean"], lattice[name]["error"]) for name in "abc"),
        with_error(measured["temperature"]["mean"], measured["temperature"]["error"]),
        with_error(measured["pressure"]["mean"], measured["pressure"]["error"]),
        f"{entry['samples']} of {entry['samples_planned']}",
    ]


def _provenance(results: dict[str, Any]) -> list[tuple[str, str]]:
    models, nuclei, machine = results["models"], results["nuclei"], results["machine"]
    return [
        ("campaign file", f"{results['campaign_file']}, SHA-256 {results['campaign_sha256']}"),
        ("structure", f"{results['formula']}, SHA-256 {results['structure_sha256']}"),
        *((f"{name} model", f"{info['path']}, SHA-256 {info['sha256']}") for name, info in models.items()),
        ("quadrupole moments", "; ".join(f"{n} {i['moment_mb']:g} mb ({i['source']})" for n, i in nuclei.items())),
        ("masses (u)", ", ".join(f"{element} {mass:.4f}" for element, mass in results["masses"].items())),
        ("seeds", ", ".join(f"{e['temperature_K']:g} K {e['seed']}" for e in results["temperatures"])),
        ("versions", ", ".join(f"{name} {version}" for name, version in results["versions"].items())),
        ("machine", f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"),
    ]
