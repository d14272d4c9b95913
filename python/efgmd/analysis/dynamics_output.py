"""Table and picture of a campaign's dynamics."""

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from efgmd.analysis.dynamics import FAST
from efgmd.analysis.table import frequency_text, site_name, with_error
from efgmd.report.svg import SETTINGS, STYLES

FIGURE_FILE = "dynamics.png"
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_MOST_LINES = 6
_LOGARITHMIC = 20.0


def time_text(value: float | None, error: float | None) -> str:
    """A time in s, ms, us or ns with its error; a dash where there is none."""
    if value is None:
        return "-"
    factor, unit = next((item for item in _UNITS if abs(value) >= item[0]), _UNITS[-1])
    return f"{with_error(value / factor, None if error is None else error / factor)} {unit}"


def print_dynamics(results: dict[str, Any], console: Console) -> None:
    """Print correlation times and relaxation of all sites and temperatures."""
    table = Table(box=SIMPLE, padding=(0, 1))
    table.add_column("T (K)", justify="right", no_wrap=True)
    table.add_column("nucleus", no_wrap=True)
    for name in ("tau (ps)", "Cq moving", "T1", "T2"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in results["temperatures"]:
        for index, site in enumerate(entry["sites"]):
            relaxation = site["relaxation"] or {}
            longer, shorter = ("", "") if site["tau_resolved"] else ("> ", "< ")
            table.add_row(
                f"{entry['temperature_K']:g}" if index == 0 else "",
                site_name(site, entry),
                longer + with_error(site["tau_ps"], site["tau_error_ps"]),
                frequency_text(site["fluctuating_cq_MHz"]),
                shorter + time_text(relaxation.get("T1_s"), relaxation.get("T1_error_s")),
                shorter + time_text(relaxation.get("T2_s"), None),
            )
        table.add_section()
    console.print(table)
    field = f"at {results['field_T']:g} T" if results["field_T"] else "in extreme narrowing"
    direction = results["direction"]
    where = "powder average" if direction is None else f"field along {' '.join(f'{x:g}' for x in direction)}"
    largest = max(site["narrowing"] for entry in results["temperatures"] for site in entry["sites"])
    lines = [
        f"T1 and T2 {field}, {where}, quadrupolar relaxation only; ± sampling error (68 %)",
        "T2 where all transitions have one frequency; T2_resolved_s in dynamics.json where a mean coupling parts them",
        f"2 pi Cq tau is at most {largest:.2g}; averaging the tensors over the motion needs it below {FAST:g}",
    ]
    found: dict[str, list[str]] = {}
    for entry in results["temperatures"]:
        for site in entry["sites"]:
            for note in site["notes"]:
                found.setdefault(note, []).append(f"{entry['temperature_K']:g} K {site_name(site, entry)}")
    lines += [f"{', '.join(where)}: {note}" for note, where in found.items()]
    for line in lines + results["missing"]:
        console.print(line, soft_wrap=True, highlight=False)


def write_dynamics_figure(results: dict[str, Any], path: Path) -> None:
    """Write one picture: for each nucleus the correlation functions, and T1 or tau against temperature."""
    nuclei = list(results["nuclei"])
    several = len(results["temperatures"]) > 1
    columns = 2 if several else 1
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(4.6 * columns, 3.1 * len(nuclei)), layout="constrained")
        grid = figure.subplots(len(nuclei), columns, squeeze=False)
        for row, nucleus in zip(grid, nuclei, strict=True):
            draw_correlation(row[0], results, nucleus)
            if several:
                draw_relaxation(row[1], results, nucleus)
        figure.savefig(path, dpi=150, facecolor="white")


def draw_correlation(axes: Axes, results: dict[str, Any], nucleus: str) -> None:
    """Correlation function of the fluctuating tensor of each temperature's largest site, with its error as a band."""
    for entry, (colour, _, dash) in zip(_spread(results["temperatures"]), STYLES, strict=False):
        sites = [site for site in entry["sites"] if site["nucleus"] == nucleus]
        site = max(sites, key=lambda candidate: candidate["count"])
        functions = site["correlation"]
        lag = np.array(functions["lag_ps"])[1:]
        value = np.array(functions["invariant"])[1:]
        error = np.array([math.nan if item is None else item for item in functions["invariant_error"]])[1:]
        axes.plot(lag, value, color=colour, linestyle=dash, label=f"{entry['temperature_K']:g} K")
        axes.fill_between(lag, value - error, value + error, color=colour, alpha=0.2, linewidth=0)
        axes.axvline(site["tau_window_ps"], color=colour, linestyle=dash, linewidth=0.8, ymax=0.08)
    axes.axhline(0.0, color="#555555", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_ylim(-0.25, 1.05)
    axes.set_xlabel("lag (ps)")
    axes.set_ylabel(f"EFG correlation of {nucleus}")
    axes.legend()


def draw_relaxation(axes: Axes, results: dict[str, Any], nucleus: str) -> None:
    """T1 (filled) and T2 (open) of all sites of a nucleus against temperature; side by side where they are equal."""
    temperatures = [entry["temperature_K"] for entry in results["temperatures"]]
    aside = 0.01 * (max(temperatures) - min(temperatures))
    everything: list[float] = []
    for (name, sign), (colour, marker, _) in zip((("T1", -1), ("T2", 1)), STYLES, strict=False):
        points = [
            (entry["temperature_K"] + sign * aside, relaxation[f"{name}_s"], relaxation[f"{name}_error_s"] or 0.0)
            for entry in results["temperatures"]
            for site in entry["sites"]
            if site["nucleus"] == nucleus and (relaxation := site["relaxation"]) and relaxation[f"{name}_s"]
        ]
        if not points:
            continue
        temperature, value, error = np.array(points).T
        everything += value.tolist()
        axes.errorbar(
            temperature,
            value,
            yerr=error,
            color=colour,
            marker=marker,
            markerfacecolor=colour if name == "T1" else "white",
            linestyle="none",
            capsize=3,
            label=name,
        )
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel(f"relaxation time of {nucleus} (s)")
    if everything:
        axes.legend()
        if max(everything) > _LOGARITHMIC * min(everything):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
            axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)


def _spread(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `_MOST_LINES` entries, evenly over the list."""
    count = min(len(entries), _MOST_LINES)
    return [entries[index] for index in np.unique(np.linspace(0, len(entries) - 1, count).round().astype(int))]
