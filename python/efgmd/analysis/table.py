"""The table printed at the end of a campaign, and numbers written with their errors."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from efgmd.analysis.transition_words import transition_lines

#: A list of sites longer than this is summarised: the structure has no usable symmetry.
MANY_SITES = 8
ROUGH = "~"


def with_error(value: float | None, error: float | None, *others: float) -> str:
    """Write ``-551.2 ± 1.3``: the error with two digits, the value to the same decimals; a dash for no value.

    Further errors follow with the decimals of the first.
    """
    if value is None:
        return "-"
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    decimals = _decimals(error)
    return " ± ".join(f"{number:.{decimals}f}" for number in (value, error, *others))


def _decimals(error: float) -> int:
    """Decimals that show two digits of an error."""
    return max(0, 1 - math.floor(math.log10(error)))


def unit_for(sizes: Iterable[float]) -> tuple[float, str]:
    """Factor from MHz and unit that suit values given in MHz."""
    return (1.0, "MHz") if max(sizes, default=0.0) >= 1.0 else (1000.0, "kHz")


def frequency_text(value: float, error: float | None = None, *others: float) -> str:
    """Write a coupling given in MHz, in MHz or kHz, with its errors."""
    factor, unit = unit_for([abs(value), error or 0.0])
    first = None if error is None else factor * error
    return f"{with_error(factor * value, first, *(factor * other for other in others))} {unit}"


def error_text(error: float) -> str:
    """Write an error given in MHz, in MHz or kHz with two digits."""
    factor, unit = unit_for([error])
    decimals = _decimals(factor * error) if error > 0 else 0
    return f"{factor * error:.{decimals}f} {unit}"


def coupling_text(site: dict[str, Any], *others: float) -> str:
    """Cq with its sampling error and others; marked where errors are poor.

    Where it is compatible with zero, a bound; where its sign is not determined, its magnitude.
    """
    mark = f" {ROUGH}" if site["error_is_rough"] else ""
    if site["compatible_with_zero"] and site["cq_interval95_MHz"]:
        bound = site["cq_interval95_MHz"][1]
        return f"|Cq| < {frequency_text(bound)}{mark}" if bound else "0 by symmetry"
    known = site["sign_known"]
    value = site["cq_MHz"] if known else abs(site["cq_MHz"])
    return ("" if known else "|Cq| ") + frequency_text(value, site["cq_error_sampling_MHz"], *others) + mark


def sign_lines(sites: Iterable[dict[str, Any]]) -> list[str]:
    """The line of the legend that explains a coupling without its sign, if there is one."""
    unknown = any(not site["sign_known"] and not site["compatible_with_zero"] for site in sites)
    return ["|Cq| with a value: the sign of Cq is not determined; its interval is of |Cq|, too"] if unknown else []


def sizes_text(sites: Sequence[dict[str, Any]]) -> str:
    """Range of the abs(Cq) of many sites; those that are compatible with zero enter with their bounds only."""
    bounds = [site["cq_interval95_MHz"][1] for site in sites if site["compatible_with_zero"]]
    sizes = [abs(site["cq_MHz"]) for site in sites if not site["compatible_with_zero"]]
    texts = []
    if bounds:
        which = f" ({len(bounds)} sites)" if sizes else ""
        texts.append((f"|Cq| < {frequency_text(max(bounds))}" if max(bounds) else "0 by symmetry") + which)
    if sizes:
        factor, unit = unit_for(sizes)
        which = f" ({len(sizes)} sites)" if bounds else ""
        texts.append(f"|Cq| {factor * min(sizes):.4g} to {factor * max(sizes):.4g} {unit}{which}")
    return ",\n".join(texts)


def eta_text(site: dict[str, Any]) -> str:
    """Eta with its sampling error; a dash where the tensor is compatible with zero."""
    return "-" if site["compatible_with_zero"] else with_error(site["eta"], site["eta_error_sampling"])


def instant_text(site: dict[str, Any]) -> str:
    """Mean of the instantaneous abs(Cq); a dash where only time averages are known."""
    value = site["abs_cq_instant_MHz"]
    return "-" if value is None else frequency_text(value)


def site_name(site: dict[str, Any], entry: dict[str, Any]) -> str:
    """Nucleus with its site where the nucleus has several, for example ``127I 8h`` or ``2H on N``."""
    label, name = str(site["site"]), str(site["nucleus"])
    if sum(other["nucleus"] == name for other in entry["sites"]) == 1 or not label:
        return name
    return f"{name} {label}" if label[0].isdigit() else f"{name} on {label}"


def print_table(results: dict[str, Any], console: Console) -> None:
    """Print Cq and eta of all sites and temperatures, the lattice, and what to be careful about."""
    table = Table(title=None if results["complete"] else "INCOMPLETE: the campaign has not finished")
    table.add_column("T (K)", justify="right", no_wrap=True)
    table.add_column("nucleus", no_wrap=True)
    for name in ("n", "Cq", "eta", "<|Cq|> of frames"):
        table.add_column(name, justify="right", no_wrap=name != "<|Cq|> of frames")
    for entry in results["temperatures"]:
        for index, row in enumerate(table_rows(entry)):
            table.add_row(f"{entry['temperature_K']:g}" if index == 0 else "", *row)
        table.add_section()
    if not console.is_terminal:  # a file or a pipe has no width that columns would have to fit into
        console.width = max(console.width, console.measure(table, options=console.options.update(width=1000)).maximum)
    console.print(table)
    for line in legend(results):
        console.print(line, soft_wrap=True, highlight=False)


def table_rows(entry: dict[str, Any]) -> list[list[str]]:
    """Cells nucleus, n, Cq, eta, <|Cq|> of one temperature."""
    rows = []
    for nucleus in dict.fromkeys(site["nucleus"] for site in entry["sites"]):
        sites = [site for site in entry["sites"] if site["nucleus"] == nucleus]
        if len(sites) > MANY_SITES:
            count = str(sum(site["count"] for site in sites))
            rows.append([f"{nucleus} ({len(sites)} sites)", count, sizes_text(sites), "", ""])
            continue
        for site in sites:
            instant = instant_text(site)
            model = [] if site["cq_error_model_MHz"] is None else [site["cq_error_model_MHz"]]
            text = coupling_text(site, *model)
            rows.append([site_name(site, entry), str(site["count"]), text, eta_text(site), instant])
    return rows


def legend(results: dict[str, Any]) -> list[str]:
    """What the table's numbers mean, and the state of each temperature's crystal, one line each."""
    sites = [site for entry in results["temperatures"] for site in entry["sites"]]
    if any(site["cq_error_model_MHz"] is not None for site in sites):
        lines = [
            "± sampling error, and of Cq ± error of the EFG model, from its committee (68 % each); bounds are 95 %, "
            "of sampling; the force field's error is not included"
        ]
    else:
        lines = ["± sampling error (68 %); bounds are 95 %; the models' own error is not included"]
    if any(site["error_is_rough"] for site in sites):
        lines.append(f"{ROUGH} fewer than 10 independent samples: the error itself is rough, run longer or larger")
    lines += sign_lines(sites) + [temperature_line(entry) for entry in results["temperatures"]]
    return lines + all_warnings(results) + transition_lines(results)


def temperature_line(entry: dict[str, Any]) -> str:
    """Lattice and symmetry of one temperature in one line."""
    lattice, symmetry = entry["lattice"]["pseudocubic"], entry["symmetry"]
    lengths = ", ".join(f"{name} {with_error(lattice[name]['mean'], lattice[name]['error'])}" for name in "abc")
    kelvin = f"{entry['temperature_K']:g} K"
    measured = entry["measured"]["temperature"]
    return (
        f"{kelvin}: {entry['samples']} samples at {with_error(measured['mean'], measured['error'])} K; "
        f"per cell {lengths} angstrom; sites of {symmetry['space_group']}"
    )


def all_warnings(results: dict[str, Any]) -> list[str]:
    """Warnings and notes of all temperatures, those that agree in one line."""

    def texts(entry: dict[str, Any]) -> list[str]:
        first = symmetry_warnings(entry["symmetry"]) + axis_warnings(entry) + length_warnings(entry["sites"])
        return first + extrapolation_warnings(entry.get("extrapolation")) + entry["notes"]

    return [f"{temperatures} K: {text}" for text, temperatures in told_once(results, texts).items()]


def told_once(results: dict[str, Any], texts: Callable[[dict[str, Any]], list[str]]) -> dict[str, str]:
    """Texts about the entries of single temperatures, each with the temperatures (``250, 300``) that it is about."""
    found: dict[str, list[str]] = {}
    for entry in results["temperatures"]:
        for text in texts(entry):
            found.setdefault(text, []).append(f"{entry['temperature_K']:g}")
    return {text: ", ".join(temperatures) for text, temperatures in found.items()}


def symmetry_warnings(symmetry: dict[str, Any]) -> list[str]:
    """What to say when the mean structure does not show the symmetry by which nuclei were grouped."""
    tolerance = f"{symmetry['tolerance_angstrom']:.2g} angstrom"
    if not symmetry.get("searched", True):
        return [
            "symmetry is not searched in a framework of more than 1500 atoms: give a smaller structure and its repeats "
            "(structure.supercell), fewer elements (sites.framework), or groups of nuclei (sites.groups)"
        ]
    if symmetry["assumed_from_start"]:
        return [
            f"the mean structure has no symmetry within {tolerance}: nuclei are grouped by the symmetry of the "
            "starting structure, run longer or larger"
        ]
    if symmetry["tolerance_widened"]:
        return [
            f"the mean structure shows this symmetry only within {tolerance}, more than asked (sites.tolerance): "
            "run longer or larger"
        ]
    return []


def axis_warnings(entry: dict[str, Any]) -> list[str]:
    """What to say when the cell's unique axis has moved during the run."""
    if len(entry["axes"]["segments"]) > 1:
        return [f"the unique axis of the cell moved {len(entry['axes']['segments']) - 1} times and was followed"]
    seen = [axis for axis in entry["lattice"]["unique_axes"] if axis is not None]
    if len(set(seen)) < 2 or entry["axes"]["segments"]:
        return []
    return [
        "the unique axis of the cell moved during the run: tensors are averaged over differently turned domains and "
        "look more cubic than one domain; follow it (sites.follow_axis) or use a larger cell"
    ]


def extrapolation_warnings(watched: dict[str, Any] | None) -> list[str]:
    """What to say when atoms have been farther from the force field's training data than is safe."""
    if not watched or not watched["frames_above"]:
        return []
    worst = f"atom {watched['atom']} ({watched['element']}) at step {watched['step']}"
    saved = watched["action"] == "save"
    advice = (
        "label the frames in extrapolation.extxyz" if saved else "save such frames (extrapolation.action), label them"
    )
    return [
        f"the force field extrapolates in {watched['frames_above']} of {watched['frames']} frames, up to grade "
        f"{watched['largest']:.1f} where {watched['limit']:g} is the limit, {worst}: {advice} and train again"
    ]


def length_warnings(sites: list[dict[str, Any]]) -> list[str]:
    """Which nuclei the run is too short for, besides those whose errors are marked as rough."""
    found: dict[str, list[str]] = {}
    for site in sites:
        for reason in site["too_short_reasons"]:
            if not reason.startswith("only"):
                found.setdefault(reason.split(":")[0], []).append(f"{site['nucleus']} {site['site']}")
    return [
        f"run too short for {', '.join(names if len(names) <= MANY_SITES else [f'{len(names)} sites'])}: {reason}"
        for reason, names in found.items()
    ]
