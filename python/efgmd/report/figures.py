"""Plots of a campaign's results, drawn to be read in black and white and on a phone."""

from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from efgmd.analysis.series import site_series
from efgmd.analysis.table import MANY_SITES, unit_for
from efgmd.report.svg import PANEL, SETTINGS, STYLES, literal


def nuclei_of(results: dict[str, Any]) -> list[str]:
    """Nuclei in the campaign's order."""
    return list(results["nuclei"])


def has_series(results: dict[str, Any], nucleus: str) -> bool:
    """Whether a nucleus has sites that can be followed through the temperatures."""
    return bool(site_series(results, nucleus))


def no_series(nucleus: str) -> str:
    """What to say in the place of the plots of a nucleus without such sites."""
    return f"{nucleus} has more than {MANY_SITES} sites at every temperature: too many to draw."


def draw_couplings(axes: Axes, results: dict[str, Any], nucleus: str) -> None:
    """|Cq| against temperature with sampling errors; open markers are 95 % bounds of sites compatible with zero."""
    series = site_series(results, nucleus)
    points = [site for found in series.values() for _, site in found]
    factor, unit = unit_for([_height(site) for site in points])
    span = temperature_range(results)
    for index, ((name, found), (colour, marker, dash)) in enumerate(zip(series.items(), cycle(STYLES), strict=False)):
        # Sites are drawn a little side by side, so that bars and arrows do not hide each other.
        aside = min(0.012, 0.06 / len(series)) * (span[1] - span[0]) * (index - (len(series) - 1) / 2)
        shifted = [(temperature + aside, site) for temperature, site in found]
        known = [(temperature, site) for temperature, site in shifted if not site["compatible_with_zero"]]
        if known:
            axes.errorbar(
                [temperature for temperature, _ in known],
                [factor * abs(site["cq_MHz"]) for _, site in known],
                yerr=[factor * (site["cq_error_sampling_MHz"] or 0.0) for _, site in known],
                color=colour,
                marker=marker,
                linestyle=dash,
                capsize=3,
                label=literal(name),
            )
        bounds = [(temperature, site) for temperature, site in shifted if site["compatible_with_zero"]]
        upper_limits(
            axes,
            [temperature for temperature, _ in bounds],
            [factor * _height(site) for _, site in bounds],
            colour,
            marker,
            name=None if known else literal(name),
        )
    mark_transition(axes, results)
    _set_size_limits(axes, factor, points)
    axes.set_xlim(*span)
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel(f"|Cq| of {nucleus} ({unit})")
    name_series(axes, len(series), above=len(series) > 3)


def name_series(axes: Axes, count: int, above: bool) -> None:
    """Legend inside the axes or above them; series so many that their looks repeat are only counted."""
    if count > len(STYLES):
        axes.set_title(f"{count} series of sites", fontsize=9)
    elif above:
        axes.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=1.0)
    elif count > 1:
        axes.legend()


def upper_limits(
    axes: Axes, x: list[float], tops: list[float], colour: str, marker: str, name: str | None = None
) -> None:
    """Draw 95 % bounds: an open marker at each bound, and a bar from there to zero."""
    if not x:
        return
    bars = [tops, [0.0] * len(tops)]
    axes.errorbar(
        x, tops, yerr=bars, color=colour, marker=marker, markerfacecolor="white", linestyle="none", lw=1.0, label=name
    )


def mark_transition(axes: Axes, results: dict[str, Any]) -> None:
    """Shade the 95 % interval of the transition temperature."""
    if results["transition"]["interval95_K"]:
        low, high = results["transition"]["interval95_K"]
        axes.axvspan(low, high, facecolor="#e4e4e4", edgecolor="none", zorder=0)
        axes.axvline(results["transition"]["tc_K"], color="#444444", linestyle=(0, (6, 3)), linewidth=0.9, zorder=0)


def _set_size_limits(axes: Axes, factor: float, points: list[dict[str, Any]]) -> None:
    """From zero, unless all couplings are large against their differences."""
    top = factor * max((_height(site) for site in points), default=1.0)
    known = [site for site in points if not site["compatible_with_zero"]]
    least = factor * min((abs(site["cq_MHz"]) - (site["cq_error_sampling_MHz"] or 0.0) for site in known), default=0.0)
    if len(known) == len(points) and least > 0.7 * top:
        margin = 0.15 * (top - least) or 0.1 * top
        axes.set_ylim(least - margin, top + margin)
    else:
        axes.set_ylim(0, 1.1 * top)


def _height(site: dict[str, Any]) -> float:
    if site["compatible_with_zero"] and site["cq_interval95_MHz"]:
        return float(site["cq_interval95_MHz"][1])
    return abs(site["cq_MHz"]) + (site["cq_error_sampling_MHz"] or 0.0)


def draw_asymmetry(axes: Axes, results: dict[str, Any], nucleus: str) -> None:
    """Eta against temperature with sampling errors, where the tensor differs from zero."""
    series = site_series(results, nucleus)
    for (name, found), (colour, marker, dash) in zip(series.items(), cycle(STYLES), strict=False):
        known = [(temperature, site) for temperature, site in found if not site["compatible_with_zero"]]
        axes.errorbar(
            [temperature for temperature, _ in known],
            [site["eta"] for _, site in known],
            yerr=[site["eta_error_sampling"] or 0.0 for _, site in known],
            color=colour,
            marker=marker,
            linestyle=dash,
            capsize=3,
            label=literal(name),
        )
    mark_transition(axes, results)
    tops = [
        site["eta"] + (site["eta_error_sampling"] or 0.0)
        for found in series.values()
        for _, site in found
        if not site["compatible_with_zero"]
    ]
    axes.set_ylim(0, min(1.02, 1.25 * max([*tops, 0.04])))
    axes.set_xlim(*temperature_range(results))
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel(f"eta of {nucleus}")
    name_series(axes, len(series), above=len(series) > 3)


def has_asymmetry(results: dict[str, Any], nucleus: str) -> bool:
    """Whether any of the sites that `draw_asymmetry` draws has a tensor that differs from zero."""
    series = site_series(results, nucleus)
    return any(not site["compatible_with_zero"] for found in series.values() for _, site in found)


def temperature_range(results: dict[str, Any]) -> tuple[float, float]:
    values = [entry["temperature_K"] for entry in results["temperatures"]]
    margin = 0.1 * (max(values) - min(values)) or 10.0
    return min(values) - margin, max(values) + margin


def draw_lattice(axes: Axes, results: dict[str, Any]) -> None:
    """Lattice parameters per pseudo-cubic cell against temperature."""
    temperatures = [entry["temperature_K"] for entry in results["temperatures"]]
    for name, (colour, marker, dash) in zip("abc", STYLES, strict=False):
        values = [entry["lattice"]["pseudocubic"][name] for entry in results["temperatures"]]
        axes.errorbar(
            temperatures,
            [value["mean"] for value in values],
            yerr=[value["error"] or 0.0 for value in values],
            color=colour,
            marker=marker,
            linestyle=dash,
            capsize=3,
            label=name,
        )
    mark_transition(axes, results)
    axes.set_xlim(*temperature_range(results))
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel("length per cell (angstrom)")
    axes.legend(ncols=3)


def some_temperatures(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Results of as many temperatures as can be told apart in one plot, evenly chosen, the first and last included."""
    entries = results["temperatures"]
    count = min(len(entries), len(STYLES))
    return [entries[index] for index in np.linspace(0, len(entries) - 1, count).round().astype(int)]


def draw_convergence(axes: Axes, results: dict[str, Any], nucleus: str) -> None:
    """|Cq| of the tensor averaged up to a time, against that time; one line per temperature, largest site group."""
    lines = []
    for entry in some_temperatures(results):
        sites = [site for site in entry["sites"] if site["nucleus"] == nucleus]
        lines.append((entry, max(sites, key=lambda site: site["count"])))
    heights = [float(np.median(site["running"]["abs_cq_MHz"])) for _, site in lines]
    factor, unit = unit_for(heights)
    for (entry, site), (colour, marker, dash) in zip(lines, STYLES, strict=False):
        values = factor * np.asarray(site["running"]["abs_cq_MHz"])
        time = site["running"]["time_ps"]
        axes.plot(
            time,
            values,
            color=colour,
            linestyle=dash,
            marker=marker,
            markevery=max(1, len(time) // 6),
            label=f"{entry['temperature_K']:g} K",
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("averaging time (ps)")
    axes.set_ylabel(f"|Cq| of {nucleus} ({unit})")
    axes.legend(ncols=2)


def draw_trace(axes: Axes, results: dict[str, Any], quantity: str, label: str) -> None:
    """A thermodynamic quantity against time, one line per temperature."""
    for entry, (colour, marker, dash) in zip(some_temperatures(results), STYLES, strict=False):
        trace = entry["traces"]
        axes.plot(
            trace["time_ps"],
            trace[quantity],
            color=colour,
            linestyle=dash,
            linewidth=1.0,
            marker=marker,
            markevery=max(1, len(trace["time_ps"]) // 5),
            label=f"{entry['temperature_K']:g} K",
        )
    axes.set_xlabel("time (ps)")
    axes.set_ylabel(label)
    axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=1.0, handletextpad=0.4)


def write_figure(results: dict[str, Any], path: Any) -> None:
    """Write one picture with |Cq| of every nucleus and the lattice against temperature (PNG, SVG or PDF by suffix)."""
    nuclei = nuclei_of(results)
    count = len(nuclei) + 1
    columns = min(count, 2)
    rows = -(-count // columns)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, nucleus in zip(grid, nuclei, strict=False):
            if has_series(results, nucleus):
                draw_couplings(axes, results, nucleus)
            else:
                axes.set_axis_off()
                axes.text(0.5, 0.5, no_series(nucleus), ha="center", wrap=True)
        draw_lattice(grid[len(nuclei)], results)
        for axes in grid[count:]:
            axes.set_axis_off()
        figure.savefig(path, dpi=150, facecolor="white")
