"""What was found about a transition, in words that promise no more than the numbers."""

import math
from itertools import pairwise
from typing import Any

# An interval that leaves less than this share of a gap between measured temperatures at either end fills the gap.
_FILLS = 0.12


def sentence(found: dict[str, Any]) -> str:
    """One line about one order parameter."""
    name, state = found["name"], found["state"]
    temperatures = [point["temperature_K"] for point in found["points"]]
    if state == "too few":
        reasons = dict.fromkeys(line.partition(": ")[2] for line in found["left_out"])
        why = f" ({'; '.join(reasons)})" if reasons else ""
        return f"{name}: fewer than two temperatures with a value{why}"
    lowest, highest = f"{temperatures[0]:g}", f"{temperatures[-1]:g}"
    if state == "zero":
        bound = _amount(found["points"][0]["interval95"][1], found["unit"])
        return f"{name}: no order found from {lowest} to {highest} K (below {bound} at {lowest} K, 95 %)"
    if state == "not falling":
        other = [f"{point['temperature_K']:g}" for point in found["points"] if not point["compatible_with_zero"]]
        where = f"differs from zero at {', '.join(other)} K (95 % each)"
        return f"{name}: {where}, but shows no order that falls on heating from {lowest} to {highest} K"
    if state == "ordered":
        return f"{name}: differs from zero up to {highest} K; no transition within the range"
    low, high = found["interval95_K"]
    if high is None:
        also = "" if state == "open" else "; what the law gives for its end is beyond the range"
        return f"{name}: vanishes above {low:.0f} K, within the range or beyond it{also}"
    gap = enclosing_gap(low, high, temperatures)
    if gap:
        return f"{name}: vanishes between {gap[0]:g} and {gap[1]:g} K; these temperatures cannot locate it better"
    poor = "; the fit is poor and its errors were enlarged" if found["fits"][0]["error_scale"] > 1 else ""
    return f"{name}: Tc {found['tc_K']:.1f} K (95 %: {low:.1f} to {high:.1f} K), {law_text(found['fits'][0])}{poor}"


def law_text(fit: dict[str, Any]) -> str:
    """The law of the best fit with its parameter."""
    if fit["exponent"] is None:
        return f"first-order law, Tc - T0 {fit['tc_minus_t0_K']:.1f} K"
    if fit["exponent_interval95"]:
        low, high = fit["exponent_interval95"]
        return f"exponent {fit['exponent']:.2f} ({low:.2f} to {high:.2f})"
    return f"exponent {fit['exponent']:g}"


def enclosing_gap(low: float, high: float, temperatures: list[float]) -> tuple[float, float] | None:
    """Measured neighbours between which an interval takes all the room, or None."""
    for left, right in pairwise(temperatures):
        room = _FILLS * (right - left)
        if abs(low - left) <= room and abs(high - right) <= room:
            return left, right
    return None


def summary(found: list[dict[str, Any]], temperatures: list[float]) -> dict[str, Any]:
    """The state of the whole, the quoted Tc with its interval (the narrowest), and one line of text."""
    located = [entry for entry in found if entry["interval95_K"] and entry["interval95_K"][1] is not None]
    span = f"{temperatures[0]:g} to {temperatures[-1]:g} K"
    nothing = {"tc_K": None, "interval95_K": None, "quoted_from": None}
    if not found:
        return nothing | {"state": "none", "text": "no order parameter to look at (campaign file: transition)"}
    if located:
        best = min(located, key=lambda entry: entry["interval95_K"][1] - entry["interval95_K"][0])
        low, high = best["interval95_K"]
        kelvin = [point["temperature_K"] for point in best["points"]]
        gap = enclosing_gap(low, high, kelvin)
        text = (
            f"transition between {gap[0]:g} and {gap[1]:g} K, not located better by these temperatures"
            if gap
            else f"transition at {best['tc_K']:.1f} K (95 %: {low:.1f} to {high:.1f} K)"
        )
        return {
            "state": "transition",
            "tc_K": best["tc_K"],
            "interval95_K": [low, high],
            "quoted_from": best["name"],
            "text": f"{text}, from {best['name']}",
        }
    opened = [entry for entry in found if entry["state"] in ("transition", "open")]
    if opened:
        low = min(entry["interval95_K"][0] for entry in opened)
        return nothing | {
            "state": "open",
            "text": f"order vanishes above {low:.0f} K, within the range or beyond it: add higher temperatures",
        }
    if any(entry["state"] == "not falling" for entry in found):
        text = f"no transition found within {span}: values differ from zero, but no order falls on heating"
        return nothing | {"state": "not falling", "text": text}
    if any(entry["state"] == "ordered" for entry in found):
        return nothing | {"state": "ordered", "text": f"no transition within {span}: order throughout"}
    if all(entry["state"] == "too few" for entry in found):
        return nothing | {"state": "none", "text": "a transition needs two temperatures with errors at least"}
    return nothing | {"state": "zero", "text": f"no transition within {span}: no order found"}


def agreement(found: list[dict[str, Any]], suggested: bool = False) -> dict[str, Any]:
    """Whether the order parameters tell the same.

    The intervals are not independent (they come from the same runs), so they are compared, not multiplied. Of order
    parameters that the crystal ``suggested``, some may be allowed by symmetry at all temperatures; so where others
    vanish, those that do not are named but do not disagree.
    """
    ranges = [
        (entry["name"], low, math.inf if high is None else high)
        for entry in found
        if entry["interval95_K"]
        for low, high in [entry["interval95_K"]]
    ]
    ordered = [entry for entry in found if entry["state"] == "ordered"]
    aside = ""
    if ordered and ranges and suggested:
        aside = f"; not zero at any temperature: {', '.join(entry['name'] for entry in ordered)}"
    else:
        ranges += [(entry["name"], entry["points"][-1]["temperature_K"], math.inf) for entry in ordered]
    if len(ranges) < 2:
        text = "no order parameter shows order"
        if ranges:
            text = f"only one order parameter {'vanishes' if aside else 'shows order'}{aside}"
        return {"agree": None, "common_K": None, "text": text}
    name_low, low, _ = max(ranges, key=lambda part: part[1])
    name_high, _, high = min(ranges, key=lambda part: part[2])
    if low > high:
        text = f"the order parameters disagree: {name_high} vanishes below {high:.0f} K, {name_low} above {low:.0f} K"
        return {"agree": False, "common_K": None, "text": f"{text}{aside}"}
    upper = None if math.isinf(high) else high
    share = f"{low:.0f} to {high:.0f} K" if upper is not None else f"temperatures above {low:.0f} K"
    return {
        "agree": True,
        "common_K": [low, upper],
        "text": f"{len(ranges)} order parameters agree: their intervals share {share}{aside}",
    }


def transition_lines(results: dict[str, Any]) -> list[str]:
    """The lines below the table."""
    entry = results["transition"]
    names = {found["name"] for found in entry["order_parameters"]}
    lines = [f"transition: {entry['text']}"]
    lines += [f"  {found['text']}" for found in entry["order_parameters"]]
    return lines + ([f"  {entry['agreement']['text']}"] if len(names) > 1 else [])


def _amount(value: float, unit: str) -> str:
    if unit == "MHz" and value < 1:
        value, unit = 1000 * value, "kHz"
    return f"{value:.3g} {unit}".strip()
