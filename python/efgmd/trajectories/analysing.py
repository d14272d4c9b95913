"""`efgmd analyze` for trajectories of somebody's own runs: imports them, and keeps a record like a campaign's."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ase import Atoms
from ase.formula import Formula

from efgmd.campaign.checks import bare_structure, read_structure
from efgmd.campaign.config import Nuclei, Sites
from efgmd.campaign.provenance import machine, versions
from efgmd.campaign.spec import SPEC_FILE, STRUCTURE_FILE, run_folder
from efgmd.campaign.worker import STORE_FILE
from efgmd.errors import ConfigError, StoreError
from efgmd.files import write_whole
from efgmd.trajectories.importing import ImportedRun, TrajectoryImport, read_run

RECORD_FILE = "campaign.json"
IMPORTED = "imported"


@dataclass(frozen=True)
class OwnTrajectory:
    """A trajectory and what its files do not tell.

    Attributes
    ----------
    paths
        Dumps, or files of structures.
    structure
        Structure file with the atoms in the order of the trajectory's ids, molecules intact.
    temperature
        Kelvin.
    nuclei
        Nuclei to report.
    sites
        How they are grouped.
    supercell, cells
        As in a campaign file.
    timestep_fs, skip_ps, samples_per_block, columns
        As in `TrajectoryImport`.
    target_error
        As in a campaign file.
    """

    paths: list[Path]
    structure: Path
    temperature: float
    nuclei: Nuclei
    sites: Sites
    supercell: tuple[int, int, int] = (1, 1, 1)
    cells: tuple[int, int, int] = (1, 1, 1)
    timestep_fs: float | None = None
    skip_ps: float = 0.0
    samples_per_block: int = 1
    columns: str | None = None
    target_error: dict[str, float] | None = None


def import_trajectory(own: OwnTrajectory, output: Path) -> ImportedRun:
    """Add a trajectory to an output folder as the run of its temperature; `efgmd analyze` of that folder follows.

    A trajectory of the same temperature that was imported before is replaced.

    Raises
    ------
    ConfigError
        If the structure cannot be used, or the folder holds something else.
    DataError
        If the trajectory cannot be read.
    """
    atoms = _structure(own)
    record = _record(own, atoms)
    kept = _earlier(output, record)
    folder = run_folder(output, own.temperature)
    output.parent.mkdir(parents=True, exist_ok=True)
    # A file that cannot be read must leave nothing behind, nor spoil what is there.
    with TemporaryDirectory(prefix=".efgmd-import-", dir=output.parent) as aside:
        trajectory = TrajectoryImport(
            atoms, own.temperature, own.timestep_fs, own.skip_ps, own.samples_per_block, own.columns
        )
        run = trajectory.compute(own.paths, Path(aside), STORE_FILE)
        trajectory.check_elements(dict.fromkeys(choice.nucleus().element for choice in own.nuclei))
        folder.mkdir(parents=True, exist_ok=True)
        for name in (STORE_FILE, SPEC_FILE):
            (Path(aside) / name).replace(folder / name)
    runs = dict(sorted((kept | {folder.name: run}).items()))
    record["folders"] = list(runs)
    record["campaign"]["runs"] = {name: _times(run) for name, run in runs.items()}
    atoms.write(output / STRUCTURE_FILE)
    write_whole(output / RECORD_FILE, json.dumps(record, indent=1) + "\n")
    return run


def _times(run: ImportedRun) -> dict[str, float]:
    """Lengths and steps of a run, by the names of a campaign's fields where it has them."""
    return {
        "timestep_fs": run.timestep_fs,
        "sampling_fs": 1000 * run.sampling_ps,
        "samples_per_block": run.samples_per_block,
        "production_ps": run.n_samples * run.sampling_ps,
        "skipped_ps": run.skipped_ps,
    }


def _structure(own: OwnTrajectory) -> Atoms:
    problems: list[str] = []
    atoms = read_structure(own.structure, "--structure", problems)
    if atoms is None:
        raise ConfigError(problems)
    elements = {choice.nucleus().element for choice in own.nuclei}
    for option, wanted in (("--nuclei", elements), ("--framework", set(own.sites.framework or ()))):
        missing = sorted(wanted - set(atoms.get_chemical_symbols()))
        if missing:
            raise ConfigError(f"{option}: no {missing[0]} in {own.structure}")
    return bare_structure(atoms, own.sites).repeat(own.supercell)


def _record(own: OwnTrajectory, atoms: Atoms) -> dict[str, Any]:
    content = json.dumps([atoms.numbers.tolist(), atoms.positions.tolist(), atoms.cell.array.tolist()])
    choices = [choice.model_dump(mode="json") for choice in own.nuclei]
    campaign = {
        "structure": {"file": str(own.structure), "supercell": list(own.supercell), "cells": list(own.cells)},
        "nuclei": choices,
        "sites": own.sites.model_dump(mode="json"),
        "ensemble": {"kind": IMPORTED},
        "target_error": own.target_error or {},
    }
    return {
        "campaign": campaign,
        "campaign_file": "command line",
        "campaign_sha256": hashlib.sha256(json.dumps(campaign, sort_keys=True).encode()).hexdigest(),
        "structure_sha256": hashlib.sha256(content.encode()).hexdigest(),
        "cells": [repeats * cells for repeats, cells in zip(own.supercell, own.cells, strict=True)],
        "n_atoms": len(atoms),
        "formula": str(Formula.from_dict(dict(Counter(atoms.get_chemical_symbols())))),
        "models": {},
        "nuclei": {
            choice.name: {
                "spin": str(choice.nucleus().spin),
                "moment_mb": choice.nucleus().moment_mb,
                "source": choice.nucleus().source,
            }
            for choice in own.nuclei
        },
        "masses": {},
        "notes": [],
        "versions": versions(),
        "machine": machine(),
    }


def _earlier(output: Path, record: dict[str, Any]) -> dict[str, ImportedRun]:
    """Runs of temperatures imported before into the same output folder, by the names of their folders."""
    path = output / RECORD_FILE
    if not path.exists():
        if output.exists() and any(output.iterdir()):
            raise ConfigError(f"{output} is not empty and was not written by efgmd; choose another --output")
        return {}
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        same = earlier["campaign"]["ensemble"]["kind"] == IMPORTED
        same = same and earlier["structure_sha256"] == record["structure_sha256"]
        folders = [str(name) for name in earlier["folders"]]
    except (ValueError, KeyError) as error:
        raise StoreError(f"{path} is damaged; choose another --output") from error
    if not same:
        raise ConfigError(f"{output} belongs to another campaign or structure; choose another --output")
    runs = {name: read_run(output / name) for name in folders}
    return {name: run for name, run in runs.items() if isinstance(run, ImportedRun)}
