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


def site_series(
    results: dict[str, Any], nucleus: str, rows: Callable[[Entry, str], list[Row]] = rows_of
) -> dict[str, list[tuple[float, Row]]]:
    """(temperature, site) pairs by the site's name.

    Wyckoff letters depend on the choice of origin, so sites of one multiplicity make one series where that is unique.

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
    names: dict[str, str] = {}
    for entry in results["temperatures"]:
        found = rows(entry, nucleus)
        multiplicities = [_multiplicity(row) for row in found]
        for row, multiplicity in zip(found, multiplicities, strict=True):
            key = multiplicity if multiplicities.count(multiplicity) == 1 else str(row["site"])
            name = names.setdefault(key, site_name(row, entry if row in entry["sites"] else {"sites": found}))
            series.setdefault(name, []).append((entry["temperature_K"], row))
    return series


def is_crystallographic(row: Row) -> bool:
    """Whether a site is named by multiplicity and Wyckoff letter, not by its bonds."""
    return re.match(r"\d+[a-zA-Z]", str(row["site"])) is not None


def _multiplicity(row: Row) -> str:
    digits = re.fullmatch(r"(\d+)[a-zA-Z]", str(row["site"]))
    return digits[1] if digits else str(row["site"])
