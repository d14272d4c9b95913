"""Analysis of a campaign: results.json and results.csv."""

import csv
import json
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read

from efgmd.analysis.merged import follow_merged_sites
from efgmd.analysis.temperature import TemperatureAnalysis
from efgmd.analysis.transition import TransitionAnalysis
from efgmd.campaign.config import NucleusChoice, Sites
from efgmd.campaign.provenance import machine, versions
from efgmd.campaign.spec import STRUCTURE_FILE
from efgmd.errors import StoreError
from efgmd.files import replacing, write_whole

RESULTS_FILE = "results.json"
CSV_FILE = "results.csv"
FORMAT = "efgmd-results"
SCHEMA = 1

_COLUMNS = (
    "temperature_K",
    "nucleus",
    "site",
    "count",
    "cq_MHz",
    "cq_error_sampling_MHz",
    "cq_error_model_MHz",
    "cq_low95_MHz",
    "cq_high95_MHz",
    "cq_debiased_MHz",
    "eta",
    "eta_error_sampling",
    "eta_error_model",
    "eta_low95",
    "eta_high95",
    "vzz_au",
    "abs_cq_instant_MHz",
    "compatible_with_zero",
    "sign_known",
    "independent_samples",
    "space_group",
    "complete",
    "notes",
)


def analyze_campaign(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Analyse every temperature that has samples, and write results.json and results.csv.

    Parameters
    ----------
    folder
        Output folder of `efgmd run`.
    record
        Its campaign.json.

    Returns
    -------
    dict
        What results.json holds. ``complete`` is False when a temperature is missing or unfinished.

    Raises
    ------
    StoreError
        When no temperature has samples yet, or a store is damaged or foreign.
    """
    campaign = record["campaign"]
    supercell = tuple(campaign["structure"]["supercell"])
    start = read(folder / STRUCTURE_FILE, index=-1)
    assert isinstance(start, Atoms)
    nuclei = [NucleusChoice.model_validate(choice).nucleus() for choice in campaign["nuclei"]]
    analysis = TemperatureAnalysis(
        nuclei,
        Sites.model_validate(campaign["sites"]),
        tuple(record["cells"]),
        supercell,
        campaign.get("target_error"),
    )
    temperatures, missing = [], []
    for name in record["folders"]:
        try:
            temperatures.append(analysis.compute(folder / name, start))
        except StoreError as error:
            missing.append(str(error))
    if not temperatures:
        raise StoreError(missing[0])
    temperatures.sort(key=lambda entry: entry["temperature_K"])
    follow_merged_sites(analysis, folder, start, temperatures, [nucleus.name for nucleus in nuclei])
    results = {
        "format": FORMAT,
        "schema": SCHEMA,
        "complete": not missing and all(entry["complete"] for entry in temperatures),
        "missing": missing,
        "units": {"cq": "MHz", "efg": "Hartree/(e bohr^2)", "length": "angstrom", "energy": "eV", "pressure": "bar"},
        "campaign_file": record["campaign_file"],
        "campaign_sha256": record["campaign_sha256"],
        "structure_sha256": record["structure_sha256"],
        "formula": record["formula"],
        "n_atoms": record["n_atoms"],
        "models": record["models"],
        "nuclei": record["nuclei"],
        "masses": record["masses"],
        "notes": record["notes"],
        "versions": versions(),
        "machine": machine(),
        "campaign": campaign,
        "temperatures": temperatures,
    }
    settings = campaign.get("transition", {})  # imported runs have none
    results["transition"] = (
        TransitionAnalysis(settings.get("order_parameters"), settings.get("law", "any"), settings.get("exponent"))
        .compute(results)
        .entry
    )
    write_whole(folder / RESULTS_FILE, json.dumps(results, indent=1, allow_nan=False) + "\n")
    _write_csv(folder / CSV_FILE, results)
    return results


def read_results(folder: Path) -> dict[str, Any]:
    """Read results.json of a campaign's folder.

    Raises
    ------
    StoreError
        When there is none.
    """
    try:
        return json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder} holds no readable {RESULTS_FILE}; run `efgmd analyze {folder}` first") from error


def _write_csv(path: Path, results: dict[str, Any]) -> None:
    with replacing(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for entry in results["temperatures"]:
            for site in entry["sites"]:
                low, high = site["cq_interval95_MHz"] or (None, None)
                eta_low, eta_high = site["eta_interval95"] or (None, None)
                writer.writerow(
                    site
                    | {
                        "temperature_K": entry["temperature_K"],
                        "space_group": entry["symmetry"]["space_group"],
                        "complete": entry["complete"],
                        "cq_low95_MHz": low,
                        "cq_high95_MHz": high,
                        "eta_low95": eta_low,
                        "eta_high95": eta_high,
                        "notes": "; ".join(site["notes"]),
                    }
                )
