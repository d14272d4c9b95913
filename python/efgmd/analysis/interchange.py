"""Results for other programs: pandas tables, JSON schemas, and mean structures with tensors for Soprano and magres."""

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ase import Atoms

from efgmd.analysis.run_sites import RunSites
from efgmd.errors import ConfigError, StoreError
from efgmd.frames.writers import write_frames

if TYPE_CHECKING:
    import pandas

_INTERVALS = {"cq_interval95_MHz": "cq_{}95_MHz", "eta_interval95": "eta_{}95"}


def schema(kind: Literal["results", "dynamics", "spectrum"]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of results.json, dynamics.json or the JSON file of a spectrum."""
    return json.loads((files("efgmd.analysis") / "schemas" / f"{kind}.schema.json").read_text(encoding="utf-8"))


def to_pandas(results: dict[str, Any]) -> "pandas.DataFrame":
    """One row per temperature and site, with the columns of the sites in results.json or dynamics.json.

    Parameters
    ----------
    results
        What `efgmd.analysis.results.read_results` returns, or what dynamics.json holds. Intervals become two columns
        (low, high); nested fields are joined with dots; ``temperature_K`` comes first.

    Raises
    ------
    ConfigError
        When pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ConfigError(f"a table needs pandas ({error}); install it with: pip install pandas") from error
    rows = []
    for entry in results["temperatures"]:
        for site in entry["sites"]:
            row = {"temperature_K": entry["temperature_K"]} | site
            for name, pattern in _INTERVALS.items():
                if name in row:
                    low, high = row.pop(name) or (None, None)
                    row |= {pattern.format("low"): low, pattern.format("high"): high}
            rows.append(row)
    return pandas.json_normalize(rows)


def mean_structures(output: Path, record: dict[str, Any]) -> list[Atoms]:
    """Mean structure of each temperature of a campaign, with the mean tensors of its sites in ``arrays["efg"]``.

    See `efgmd.analysis.run_sites.RunSites.structure`.

    Raises
    ------
    StoreError
        When no temperature has samples.
    """
    found, missing = [], []
    for name in record["folders"]:
        try:
            found.append(RunSites(output, record, name).structure())
        except StoreError as error:
            missing.append(str(error))
    if not found:
        raise StoreError(missing[0])
    return sorted(found, key=lambda atoms: float(atoms.info["temperature_K"]))


def write_structures(
    output: Path, record: dict[str, Any], form: Literal["extxyz", "magres"], target: Path
) -> list[Path]:
    """Write one file per temperature, for example ``mean-0300K.magres``.

    Returns
    -------
    list of Path
        The files, by temperature.
    """
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for atoms in mean_structures(output, record):
        path = target / f"mean-{float(atoms.info['temperature_K']):04g}K.{form}"
        written += write_frames(path, [atoms], form)
    return written
