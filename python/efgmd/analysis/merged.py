"""Sites that merge at a transition, followed into the phase where symmetry no longer tells them apart."""

from pathlib import Path
from typing import Any

from ase import Atoms

from efgmd.analysis.series import is_crystallographic, rows_of
from efgmd.analysis.temperature import TemperatureAnalysis

_KEPT = (
    "nucleus",
    "site",
    "count",
    "tensor_au",
    "covariance_au",
    "degrees_of_freedom",
    "cq_MHz",
    "cq_error_sampling_MHz",
    "eta",
    "eta_error_sampling",
    "compatible_with_zero",
)


def follow_merged_sites(
    analysis: TemperatureAnalysis, folder: Path, start: Atoms, temperatures: list[dict[str, Any]], nuclei: list[str]
) -> None:
    """Add ``merged_sites`` to each temperature where a nucleus has fewer sites than at a reference temperature.

    The reference is the lowest temperature whose own mean structure shows several crystallographic sites of the
    nucleus. Where fewer are found, the same nuclei are averaged in the reference's groups, with its operations, which
    are also operations of the higher symmetry. So a splitting of zero has an error there, and does not rest on the
    tolerance of the symmetry search. Where axes are followed, such a run is laid onto the reference's crystal, of
    which the sites are.

    Parameters
    ----------
    analysis
        Analyses the stores.
    folder
        Output folder of the campaign.
    start
        The starting structure, all repeats.
    temperatures
        Results of all temperatures, ascending; changed in place.
    nuclei
        Names of the nuclei.
    """
    for entry in temperatures:
        entry["merged_sites"] = []
    for nucleus in nuclei:
        reference = next((entry for entry in temperatures if _has_sites(entry, nucleus)), None)
        if reference is None:
            continue
        count = len(rows_of(reference, nucleus))
        merged = [entry for entry in temperatures if 0 < len(rows_of(entry, nucleus)) < count]
        if not merged:
            continue
        opened = analysis.open_run(folder / reference["folder"], start)
        onto = opened.follower.axis.frame if opened.follower.axis else None
        sites = [
            site
            for site in analysis.choose_sites(analysis.find_sites(opened.average, start), start)
            if site.element == nucleus.lstrip("0123456789")
        ]
        for entry in merged:
            if onto is None and entry["axes"]["segments"]:
                continue  # it was followed, the reference was not: their sites are not the same
            rows = analysis.rows(folder / entry["folder"], start, sites, onto)
            entry["merged_sites"] += [
                {name: row[name] for name in _KEPT} | {"sites_of_K": reference["temperature_K"]}
                for row in rows
                if row["nucleus"] == nucleus
            ]


def _has_sites(entry: dict[str, Any], nucleus: str) -> bool:
    rows = rows_of(entry, nucleus)
    return not entry["symmetry"]["assumed_from_start"] and len(rows) > 1 and all(map(is_crystallographic, rows))
