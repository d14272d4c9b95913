"""Plots of a campaign's results, drawn to be read in black and white and on a phone."""

import io
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from efgmd.analysis.table import MANY_SITES, site_name

#: Distinct in hue, in lightness and, through the markers and dashes that go with them, without any colour.
STYLES = (
    ("#0072b2", "o", "-"),
    ("#d55e00", "s", "--"),
    ("#009e73", "^", ":"),
    ("#cc79a7", "D", "-."),
    ("#56b4e9", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#555555", "P", (0, (1, 1))),
)
_SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "lines.linewidth": 1.4,
    "lines.markersize": 5.5,
}
_PANEL = (4.2, 3.0)


def panel(draw: Callable[[Axes], None]) -> str:
    """Draw one panel and return it as SVG markup that scales with its container."""
    with matplotlib.rc_context(_SETTINGS | {"svg.hashsalt": draw.__qualname__ + str(id(draw))}):
        figure = Figure(figsize=_PANEL, layout="constrained")
        draw(figure.add_subplot())
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    markup = text.getvalue()
    markup = markup[markup.index("<svg") :]
    head, _, rest = markup.partition(">")
    kept = [word for word in head.split("\n") if word]
    head = " ".join(kept)
    for name in ("width", "height"):
        start = head.index(f' {name}="')
        end = head.index('"', start + len(name) + 3) + 1
        head = head[:start] + head[end:]
    return f'{head} role="img">{rest}'


def nuclei_of(results: dict[str, Any]) -> list[str]:
    """Nuclei in the campaign's order."""
    return list(results["nuclei"])


def site_series(results: dict[str, Any], nucleus: str) -> dict[str, list[tuple[float, dict[str, Any]]]]:
    """(temperature, site) pairs by the site's name; temperatures without usable symmetry are left out.

    Wyckoff letters depend on the choice of origin, so sites of one multiplicity make one series where that is unique.
    """
    series: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    names: dict[str, str] = {}
    for entry in results["temperatures"]:
        sites = [site for site in entry["sites"] if site["nucleus"] == nucleus]
        if len(sites) > MANY_SITES:
            continue
        multiplicities = [_multiplicity(site) for site in sites]
        for site, multiplicity in zip(sites, multiplicities, strict=True):
            unique = multiplicities.count(multiplicity) == 1
            key = multiplicity if unique else str(site["site"])
            name = names.setdefault(key, site_name(site, entry))
            series.setdefault(name, []).append((entry["temperature_K"], site))
    return series


def _multiplicity(site: dict[str, Any]) -> str:
    digits = str(site["site"]).rstrip("abcdefghijklmnopqrstuvwxyzA")
    return digits if digits.isdigit() else str(site["site"])


def unit_for(sizes: list[float]) -> tuple[float, str]:
    """Factor from MHz and unit that suit values given in MHz."""
    return (1.0, "MHz") if max(sizes, default=0.0) >= 1.0 else (1000.0, "kHz")


def draw_couplings(axes: Axes, results: dict[str, Any], nucleus: str) -> None:
    """|Cq| against temperature with sampling errors; arrows hang from 95 % bounds of sites compatible with zero."""
    series = site_series(results, nucleus)
    points = [site for found in series.values() for _, site in found]
    factor, unit = unit_for([_height(site) for site in points])
    span = _temperature_range(results)
    for index, ((name, found), (colour, marker, dash)) in enumerate(zip(series.items(), STYLES * 2, strict=False)):
        # Sites are drawn a little side by side, so that bars and arrows do not hide each other.
        aside = 0.012 * (span[1] - span[0]) * (index - (len(series) - 1) / 2)
        shifted = [(temperature + aside, site) for temperature, site in found]
        known = [(temperature, site) for temperature, site in shifted if not site["compatible_with_zero"]]
        axes.errorbar(
            [temperature for temperature, _ in known],
            [factor * abs(site["cq_MHz"]) for _, site in known],
            yerr=[factor * (site["cq_error_sampling_MHz"] or 0.0) for _, site in known],
            color=colour,
            marker=marker,
            linestyle=dash,
            capsize=3,
            label=name,
        )
        bounds = [(temperature, site) for temperature, site in shifted if site["compatible_with_zero"]]
        for temperature, site in bounds:
            top = factor * _height(site)
            axes.annotate(
                "", (temperature, 0), (temperature, top), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.4}
            )
            axes.plot([temperature], [top], color=colour, marker="_", markersize=12, linestyle="none")
    axes.set_ylim(0, 1.1 * factor * max((_height(site) for site in points), default=1.0))
    axes.set_xlim(*span)
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel(f"|Cq| of {nucleus} ({unit})")
    if len(series) > 1:
        axes.legend()


def _height(site: dict[str, Any]) -> float:
    if site["compatible_with_zero"] and site["cq_interval95_MHz"]:
        return float(site["cq_interval95_MHz"][1])
    return abs(site["cq_MHz"]) + (site["cq_error_sampling_MHz"] or 0.0)


def draw_asymmetry(axes: Axes, results: dict[str, Any], nucleus: str) -> None:
    """Eta against temperature with sampling errors, where the tensor differs from zero."""
    series = site_series(results, nucleus)
    for (name, found), (colour, marker, dash) in zip(series.items(), STYLES * 2, strict=False):
        known = [(temperature, site) for temperature, site in found if not site["compatible_with_zero"]]
        axes.errorbar(
            [temperature for temperature, _ in known],
            [site["eta"] for _, site in known],
            yerr=[site["eta_error_sampling"] or 0.0 for _, site in known],
            color=colour,
            marker=marker,
            linestyle=dash,
            capsize=3,
            label=name,
        )
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(*_temperature_range(results))
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel(f"eta of {nucleus}")
    if len(series) > 1:
        axes.legend()


def _temperature_range(results: dict[str, Any]) -> tuple[float, float]:
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
    axes.set_xlim(*_temperature_range(results))
    axes.set_xlabel("temperature (K)")
    axes.set_ylabel("length per cell (angstrom)")
    axes.legend(ncols=3)


def draw_convergence(axes: Axes, results: dict[str, Any], nucleus: str) -> None:
    """|Cq| of the tensor averaged up to a time, against that time; one line per temperature, largest site group."""
    lines = []
    for entry in results["temperatures"]:
        sites = [site for site in entry["sites"] if site["nucleus"] == nucleus]
        lines.append((entry, max(sites, key=lambda site: site["count"])))
    heights = [float(np.median(site["running"]["abs_cq_MHz"])) for _, site in lines]
    factor, unit = unit_for(heights)
    for (entry, site), (colour, marker, dash) in zip(lines, STYLES * 3, strict=False):
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
    if len(lines) <= 6:
        axes.legend(ncols=2)


def draw_trace(axes: Axes, results: dict[str, Any], quantity: str, label: str) -> None:
    """A thermodynamic quantity against time, one line per temperature."""
    for entry, (colour, marker, dash) in zip(results["temperatures"], STYLES * 3, strict=False):
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
    if len(results["temperatures"]) <= 6:
        axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=1.0, handletextpad=0.4)


def write_figure(results: dict[str, Any], path: Any) -> None:
    """Write one picture with |Cq| of every nucleus and the lattice against temperature (PNG, SVG or PDF by suffix)."""
    nuclei = nuclei_of(results)
    count = len(nuclei) + 1
    columns = min(count, 2)
    rows = -(-count // columns)
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, nucleus in zip(grid, nuclei, strict=False):
            draw_couplings(axes, results, nucleus)
        draw_lattice(grid[len(nuclei)], results)
        for axes in grid[count:]:
            axes.set_axis_off()
        figure.savefig(path, dpi=150, facecolor="white")
