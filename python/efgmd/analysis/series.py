"""Sites followed through the temperatures of a campaign's results."""

import re
from collections.abc import Callable
from typing import Any

from efgmd.analysis.table import MANY_SITES, site_name

Entry = dict[str, Any]
Row = dict[str, Any]


def rows_of(entry: Entry, nucleus: str) -> list[Row]:
    """A nucleus' sites at one temperature, as its symmetry groups them; none where it has no usable symmetry."""
    rows = [row for row in entry["sites"] if row["nucleus"] == nucleus]
    return rows if len(rows) <= MANY_SITES else []


def resolved_rows(entry: Entry, nucleus: str) -> list[Row]:
    """Likewise, but sites that have merged are kept apart as at the temperature where they were found.

    See `efgmd.analysis.merged`.
    """
    merged = [row for row in entry.get("merged_sites", []) if row["nucleus"] == nucleus]
    return merged or rows_of(entry, nucleus)


def why_absent(entry: Entry, nucleus: str) -> str:
    """Why a temperature has no value of a site that others have, or that was asked for."""
    rows = resolved_rows(entry, nucleus)
    count = sum(row["nucleus"] == nucleus for row in entry["sites"])
    if not rows:
        return f"{count} sites of {nucleus}, more than symmetry can tell apart" if count else f"no {nucleus}"
    return f"no such site, only {' and '.join(str(row['site']) or nucleus for row in rows)}"


def site_series(
    results: dict[str, Any], nucleus: str, rows: Callable[[Entry, str], list[Row]] = rows_of
) -> dict[str, list[tuple[float, Row]]]:
    """(temperature, site) pairs by the site's name.

    Wyckoff letters depend on the choice of origin, and letters and multiplicities on the space group. So sites with the
    same number of nuclei of the simulated cell make one series where that is unique, named after all of them
    (``127I 8h/4g``).

    Parameters
    ----------
    results
        Of `efgmd.analysis.results`.
    nucleus
        For example ``127I``.
    rows
        Gives the sites of one temperature.
    """
    series: dict[str, list[tuple[float, Row]]] = {}
    names: dict[str, list[str]] = {}
    for entry in results["temperatures"]:
        found = rows(entry, nucleus)
        keys = [f"{row['count']} nuclei" if is_crystallographic(row) else str(row["site"]) for row in found]
        for row, key in zip(found, keys, strict=True):
            if keys.count(key) > 1:
                key = str(row["site"])
            name = site_name(row, entry if row in entry["sites"] else {"sites": found})
            known = names.setdefault(key, [])
            if name not in known:
                known.append(name)
            series.setdefault(key, []).append((entry["temperature_K"], row))
    joined: dict[str, list[tuple[float, Row]]] = {}
    for key, pairs in series.items():
        joined.setdefault(_joined(nucleus, names[key]), []).extend(pairs)
    return joined


def _joined(nucleus: str, names: list[str]) -> str:
    """One name for several: ``127I 8h`` and ``127I 4g`` become ``127I 8h/4g``."""
    return "/".join([names[0], *(name.removeprefix(nucleus).lstrip() for name in names[1:])])


def is_crystallographic(row: Row) -> bool:
    """Whether a site is named by multiplicity and Wyckoff letter, not by its bonds."""
    return re.match(r"\d+[a-zA-Z]", str(row["site"])) is not None
