"""Plots of order parameters with their laws, and of NQR lines."""

from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from efgmd.analysis.series import site_series
from efgmd.analysis.table import unit_for
from efgmd.report.figures import name_series, temperature_range, upper_limits
from efgmd.report.svg import STYLES, literal

_STICK = 0.72  # of the distance between two temperatures


def draw_order_parameter(axes: Axes, results: dict[str, Any], found: dict[str, Any]) -> None:
    """One order parameter with 95 % intervals, the best law, and the interval of its own Tc."""
    colour, marker, _ = STYLES[0]
    points = found["points"]
    factor, unit = (
        unit_for([point["interval95"][1] for point in points]) if found["unit"] == "MHz" else (1.0, found["unit"])
    )
    known = [point for point in points if not point["compatible_with_zero"]]
    values = factor * np.array([point["debiased"] for point in known])
    ends = factor * np.array([point["interval95"] for point in known]).reshape(-1, 2)
    bars = np.maximum([values - ends[:, 0], ends[:, 1] - values], 0.0)
    axes.errorbar(
        [point["temperature_K"] for point in known],
        values,
        yerr=bars,
        color=colour,
        marker=marker,
        linestyle="none",
        capsize=3,
    )
    bounds = [point for point in points if point["compatible_with_zero"]]
    upper_limits(
        axes,
        [point["temperature_K"] for point in bounds],
        [factor * point["interval95"][1] for point in bounds],
        colour,
        marker,
    )
    span = temperature_range(results)
    if found["curve"]:
        axes.plot(found["curve"]["temperature_K"], factor * np.array(found["curve"]["value"]), color="#111111", lw=1.2)
        low, high = found["interval95_K"]
        axes.axvspan(low, span[1] if high is None else high, facecolor="#e4e4e4", edgecolor="none", zorder=0)
        axes.axvline(found["tc_K"], color="#444444", linestyle=(0, (6, 3)), linewidth=0.9, zorder=0)
    axes.set_xlim(*span)
    axes.set_ylim(0, 1.1 * factor * max(point["interval95"][1] for point in points))
    axes.set_xlabel("temperature (K)")
    name = literal(found["name"].partition(" (")[0])
    axes.set_ylabel(f"{name} ({unit})" if unit else name)


def draw_nqr_lines(axes: Axes, results: dict[str, Any], nucleus: str) -> None:
    """NQR lines as sticks that stand on the temperature they belong to, with the sampling error of their frequency."""
    series = site_series(results, nucleus)
    kelvin = sorted(entry["temperature_K"] for entry in results["temperatures"])
    lines = [line for found in series.values() for _, site in found if _shown(site) for line in site["nqr_MHz"]]
    factor, unit = unit_for(lines)
    for (name, found), (colour, marker, dash) in zip(series.items(), cycle(STYLES), strict=False):
        sticks = [
            (factor * line, kelvin.index(temperature), factor * error)
            for temperature, site in found
            if _shown(site)
            for line, error in zip(site["nqr_MHz"], _line_errors(site), strict=True)
        ]
        if not sticks:
            continue
        frequency, base, error = np.array(sticks).T
        axes.vlines(frequency, base, base + _STICK, color=colour, linestyle=dash, linewidth=1.3)
        axes.errorbar(
            frequency,
            base + _STICK,
            xerr=error,
            color=colour,
            marker=marker,
            markersize=3.5,
            linestyle="none",
            capsize=2,
            label=literal(name),
        )
    axes.set_yticks(range(len(kelvin)), [f"{value:g} K" for value in kelvin])
    axes.set_ylim(-0.15, len(kelvin) + 0.1)
    axes.set_xlabel(f"NQR frequency of {nucleus} ({unit})")
    name_series(axes, len(series), above=len(series) > 1)


def _line_errors(site: dict[str, Any]) -> list[float]:
    return site["nqr_error_sampling_MHz"] or [0.0] * len(site["nqr_MHz"])


def has_nqr_lines(results: dict[str, Any], nucleus: str) -> bool:
    """Whether any site of a nucleus has lines to show."""
    return any(_shown(site) for found in site_series(results, nucleus).values() for _, site in found)


def _shown(site: dict[str, Any]) -> bool:
    return bool(not site["compatible_with_zero"] and site["nqr_MHz"])
