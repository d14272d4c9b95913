"""The tables of the report, as text cells."""

import math
from typing import Any

from efgmd.analysis.table import (
    MANY_SITES,
    coupling_text,
    error_text,
    eta_text,
    frequency_text,
    instant_text,
    site_name,
    table_rows,
    unit_for,
    with_error,
)
from efgmd.analysis.transition_words import law_text
from efgmd.nuclei import MHZ_PER_BARN_AU

Table = dict[str, Any]


def range_text(low: float, high: float, decimals: int = 2) -> str:
    """Ends of an interval with enough decimals for its width."""
    if high > low:
        decimals = max(decimals, 1 - math.floor(math.log10(high - low)))
    return f"{low:.{decimals}f} to {high:.{decimals}f}"


def frequency_range(low: float, high: float) -> str:
    """An interval of couplings given in MHz, in MHz or kHz."""
    factor, unit = unit_for([abs(low), abs(high)])
    return f"{range_text(factor * low, factor * high, 0)} {unit}"


def frequency_list(lines: list[float]) -> str:
    """Frequencies given in MHz, in MHz or kHz."""
    factor, unit = unit_for(lines)
    return ", ".join(f"{factor * line:.4g}" for line in lines) + (f" {unit}" if lines else "")


def _row(cells: list[str], first: bool = True, span: int | None = None) -> Table:
    return {"cells": cells, "first": first, "span": span}


def couplings_table(results: dict[str, Any]) -> Table:
    """Cq, eta and their intervals of every site and temperature."""
    sites = [site for entry in results["temperatures"] for site in entry["sites"]]
    with_model = any(site["cq_error_model_MHz"] is not None for site in sites)
    head = ["T (K)", "nucleus", "nuclei", "Cq", "95 % interval", *(["model error"] if with_model else [])]
    head += ["eta", "95 % interval", "NQR lines", "<|Cq|> of frames"]
    rows = []
    for entry in results["temperatures"]:
        lines = []
        for nucleus in dict.fromkeys(site["nucleus"] for site in entry["sites"]):
            found = [site for site in entry["sites"] if site["nucleus"] == nucleus]
            if len(found) > MANY_SITES:
                summary = next(row for row in table_rows(entry) if row[0].startswith(nucleus + " "))
                lines.append(summary[:3])
            else:
                lines += [_site_cells(site, entry, with_model) for site in found]
        for index, cells in enumerate(lines):
            temperature = f"{entry['temperature_K']:g}" if index == 0 else ""
            missing = len(head) - len(cells)
            rows.append(_row([temperature, *cells], index == 0, missing if missing > 1 else None))
    return {"head": head, "rows": rows, "with_model": with_model}


def _site_cells(site: dict[str, Any], entry: dict[str, Any], with_model: bool) -> list[str]:
    model = site["cq_error_model_MHz"]
    interval, eta_interval = site["cq_interval95_MHz"], site["eta_interval95"]
    zero = site["compatible_with_zero"]
    return [
        site_name(site, entry),
        str(site["count"]),
        coupling_text(site),
        "" if interval is None or zero else frequency_range(*interval),
        *(["" if model is None else error_text(model)] if with_model else []),
        eta_text(site),
        "" if eta_interval is None or zero else range_text(*eta_interval),
        "" if zero else frequency_list(site["nqr_MHz"]),
        instant_text(site),
    ]


def transition_table(results: dict[str, Any]) -> Table:
    """Tc by each order parameter."""
    head = ["order parameter", "Tc (K)", "95 % interval", "exponent", "change point (K)", "remarks"]
    rows = []
    for found in results["transition"]["order_parameters"]:
        name = found["name"]
        words = _remarks(found)
        if found["interval95_K"] is None:
            rows.append(_row([name, "", "", "", "", words]))
            continue
        low, high = found["interval95_K"]
        interval = f"above {low:.1f}" if high is None else f"{low:.1f} to {high:.1f}"
        start, end = found["change_interval95_K"]
        change = f"above {start:g}" if end is None else f"{start:g} to {end:g}"
        fitted = next((fit for fit in found["fits"] if fit["exponent_interval95"]), None)
        power = law_text(fitted).removeprefix("exponent ") if fitted else ""
        rows.append(_row([name, "" if high is None else f"{found['tc_K']:.1f}", interval, power, change, words]))
    return {"head": head, "rows": rows}


def _remarks(found: dict[str, Any]) -> str:
    """The best law and how well it fits; where no Tc can be given, why."""
    located = found["interval95_K"] and found["interval95_K"][1] is not None
    gap = located and "cannot locate" in found["text"]
    if located and not gap:
        fit = found["fits"][0]
        quality = "" if fit["p_value"] is None else f"; p = {fit['p_value']:.2g}"
        enlarged = f", errors times {fit['error_scale']:.1f}" if fit["error_scale"] > 1 else ""
        words = f"best: {fit['law']}{quality}{enlarged}"
    else:
        words = str(found["text"]).removeprefix(f"{found['name']}: ")
    return words + (f" (left out: {'; '.join(found['left_out'])})" if found["left_out"] else "")


def crystal_table(results: dict[str, Any]) -> Table:
    """Symmetry, lattice and state of each temperature."""
    head = ["T (K)", "symmetry of the mean framework", "a", "b", "c (Å per cell)", "measured T (K)", "pressure (bar)"]
    return {"head": [*head, "samples"], "rows": [_row(_crystal_cells(entry)) for entry in results["temperatures"]]}


def _crystal_cells(entry: dict[str, Any]) -> list[str]:
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


def models_table(results: dict[str, Any]) -> Table:
    """Errors of the models on frames that training did not see, as their files record them; for nuclei also as Cq."""
    head = ["element", "EFG: RMSE (a.u.)", "as |Cq|", "spread (a.u.)", "RMSE/spread", "R²", "force: RMSE (meV/Å)"]
    efg, energy = (_accuracy(results, kind) for kind in ("efg", "energy"))
    forces = energy[1].get("forces_rmse_by_element_meV_per_A", {})
    rows = []
    for element, found in efg[1].get("elements", {}).items():
        factors = [
            f"{frequency_text(abs(MHZ_PER_BARN_AU * info['moment_mb'] * 1e-3 * found['rmse_au']))} ({name})"
            for name, info in results["nuclei"].items()
            if name.lstrip("0123456789") == element
        ]
        rows.append(
            _row(
                [
                    element,
                    f"{found['rmse_au']:.4f}",
                    ", ".join(factors),
                    f"{found['sigma_au']:.3f}",
                    f"{found['rmse_per_sigma']:.3f}",
                    f"{found['r2']:.4f}" if found.get("r2") is not None else "",
                    f"{forces[element]:.0f}" if element in forces else "",
                ]
            )
        )
    notes = [
        f"{label}: {numbers['frames']} {frames} frames"
        for label, (frames, numbers) in (("EFG model", efg), ("force field", energy))
        if numbers
    ]
    note = (
        "Errors of single tensors and forces on frames that training did not see, as the model files record them. "
        + "; ".join(notes)
        + ". The part of an error that is the same in all frames stays in Cq."
        if notes
        else "The model files record no errors on frames that training did not see."
    )
    return {"head": head if rows else [], "rows": rows, "note": note}


def _accuracy(results: dict[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    """Kind of frames and errors on them: of the test frames, else of the validation frames."""
    accuracy = results["models"].get(kind, {}).get("training", {}).get("accuracy", {})
    frames = "test" if accuracy.get("test") else "validation"
    return frames, accuracy.get(frames) or {}


def provenance(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the numbers come from."""
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
