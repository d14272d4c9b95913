"""From a campaign file to stores, results and report."""

import hashlib
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from ase.formula import Formula
from pydantic import ValidationError
from rich.console import Console

from efgmd.campaign.checks import CheckedCampaign, check_campaign
from efgmd.campaign.config import Campaign, NucleusChoice, Sites
from efgmd.campaign.deck import write_start
from efgmd.campaign.locking import LOCK_FILE, locked
from efgmd.campaign.provenance import machine, usable_cores, versions
from efgmd.campaign.reading import load_campaign, one_line_each
from efgmd.campaign.runner import Job, run_jobs
from efgmd.campaign.spec import SPEC_FILE, STRUCTURE_FILE, RunSpec, make_specs, run_folder
from efgmd.errors import ConfigError, StoreError
from efgmd.files import write_whole

CAMPAIGN_FILE = "campaign.json"
_RESULT_FILES = ("results.json", "results.csv", "report.html")


def run_campaign(path: Path, output: Path | None = None, check_only: bool = False) -> None:
    """Validate, run (or resume), analyse and report a campaign."""
    console = Console()
    campaign = load_campaign(path)
    checked = check_campaign(campaign, path)
    target = output_folder(campaign, path, output)
    specs = make_specs(checked)
    _print_plan(console, checked, specs, target)
    if check_only:
        return
    _make_folder(target)
    with locked(target, "efgmd run"):
        for spec in specs:
            _check_same_run(spec, target)
        if not _are_results_of(specs, target):  # results of a shorter run must not look like this one's
            for name in _RESULT_FILES:
                (target / name).unlink(missing_ok=True)
        jobs = [Job(spec, prepare_run(checked, spec, target)) for spec in specs]
        checked.atoms.write(target / STRUCTURE_FILE)
        _write_record(checked, path, target, specs)
        from efgmd.campaign.display import show_progress

        with show_progress(jobs, console) as display:
            run_jobs(jobs, campaign.ranks, display)
        analyze_folder(target, console)
        report_folder(target, console)


def analyze_folder(folder: Path, console: Console | None = None) -> None:
    """Analyse the stores of a campaign's folder; write results.json and results.csv, print the table."""
    from efgmd.analysis.results import analyze_campaign
    from efgmd.analysis.table import print_table

    results = analyze_campaign(folder, read_record(folder))
    print_table(results, console or Console())


def analyze_files(
    paths: list[Path],
    *,
    structure: Path | None,
    nuclei: list[str],
    temperature: float | None,
    sites: dict[str, Any],
    output: Path,
    **options: Any,
) -> None:
    """Import a trajectory of somebody's own run into ``output``, analyse and report it with those imported before.

    Raises
    ------
    ConfigError
        For missing or wrong options; the trajectory's own errors are `DataError`.
    """
    from efgmd.trajectories.analysing import OwnTrajectory, import_trajectory

    needed = {"--structure": structure, "--nuclei": nuclei, "--temperature": temperature}
    missing = [name for name, value in needed.items() if not value]
    if structure is None or temperature is None or missing:
        raise ConfigError(f"a trajectory of your own needs {', '.join(missing)} as well")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"--temperature: expected a number of kelvin above 0, got {temperature:g}")
    try:
        chosen = [_nucleus_choice(text) for entry in nuclei for text in entry.replace(",", " ").split()]
        grouping = Sites.model_validate(sites)
    except ValidationError as error:
        raise ConfigError(one_line_each(error, Sites)) from error
    run = import_trajectory(
        OwnTrajectory(paths, structure, temperature, tuple(chosen), grouping, **options), output.resolve()
    )
    console = Console()
    for note in run.notes:
        console.print(f"note: {note}", soft_wrap=True, highlight=False)
    analyze_folder(output, console)
    report_folder(output, console)


def _nucleus_choice(text: str) -> NucleusChoice:
    """A nucleus of the command line: ``127I`` or ``127I=-688`` (millibarn)."""
    name, _, moment = text.partition("=")
    try:
        return NucleusChoice(name=name, moment_mb=float(moment) if moment else None)
    except ValueError as error:
        if isinstance(error, ValidationError):
            raise
        raise ConfigError(f"--nuclei: {text} has a moment that is no number; write for example 127I=-688") from error


def report_folder(folder: Path, console: Console | None = None) -> None:
    """Write report.html from a campaign's folder."""
    from efgmd.report.page import write_report

    written = write_report(folder)
    (console or Console()).print(f"report: {written}", soft_wrap=True)


def output_folder(campaign: Campaign, path: Path, chosen: Path | None) -> Path:
    """Folder to write: the option's, else the campaign's, else named after the campaign file."""
    if chosen is not None:
        return chosen.resolve()
    return (path.resolve().parent / (campaign.output or Path(path.stem + "-run")).expanduser()).resolve()


def read_record(folder: Path) -> dict[str, Any]:
    """Read what a campaign's folder records about itself.

    Raises
    ------
    StoreError
        If the folder was not written by ``efgmd run``.
    """
    try:
        return json.loads((folder / CAMPAIGN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{folder} holds no readable {CAMPAIGN_FILE}; give the output folder of `efgmd run`"
        ) from error


def _print_plan(console: Console, checked: CheckedCampaign, specs: list[RunSpec], target: Path) -> None:
    campaign, spec = checked.campaign, specs[0]
    ensemble = campaign.ensemble
    control = f" {ensemble.pressure_control}, {ensemble.pressure_bar:g} bar" if ensemble.kind == "npt" else ""
    temperatures = ", ".join(f"{value:g}" for value in campaign.temperatures)
    nuclei = [choice.nucleus() for choice in campaign.nuclei]
    atoms = checked.atoms
    lines = [
        f"{len(atoms)} atoms ({atoms.get_chemical_formula()}), {ensemble.kind.upper()}{control}; {temperatures} K",
        f"equilibration {campaign.equilibration_ps:g} ps, production {campaign.production_ps:g} ps in steps of "
        f"{campaign.timestep_fs:g} fs; {spec.n_samples} EFG samples, one every {campaign.sampling_fs:g} fs",
        "quadrupole moments: " + ", ".join(f"{n.name} {n.moment_mb:g} mb ({n.source})" for n in nuclei),
        *checked.notes,
        f"output: {target}",
    ]
    if campaign.ranks > usable_cores():
        lines.append(f"ranks: {campaign.ranks} MPI ranks share {usable_cores()} cores: expect a slow run")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


def _are_results_of(specs: list[RunSpec], target: Path) -> bool:
    """Whether the results in a folder are of these runs at their full length."""
    try:
        entries = json.loads((target / "results.json").read_text(encoding="utf-8"))["temperatures"]
        found = {entry["temperature_K"]: entry["samples"] for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return found == {spec.temperature: spec.n_samples for spec in specs}


def _make_folder(target: Path) -> None:
    """Make the output folder, or refuse one in which somebody's own files would be overwritten."""
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {target} ({error.strerror}); choose another --output") from error
    own = any((target / name).exists() for name in (LOCK_FILE, CAMPAIGN_FILE))
    for name in (STRUCTURE_FILE, *_RESULT_FILES):
        if not own and (target / name).exists():
            raise ConfigError(f"{target} has a {name} that efgmd run did not write; choose another --output")


def _check_same_run(spec: RunSpec, target: Path) -> None:
    """Refuse a folder that belongs to another run."""
    folder = run_folder(target, spec.temperature)
    if (folder / SPEC_FILE).exists() and RunSpec.read(folder).identity != spec.identity:
        raise StoreError(
            f"{folder} belongs to a run with other settings or models; choose another output folder or remove that one"
        )


def prepare_run(checked: CheckedCampaign, spec: RunSpec, target: Path) -> Path:
    """Make the folder of a run, or take up the one of the same run."""
    folder = run_folder(target, spec.temperature)
    folder.mkdir(exist_ok=True)
    write_start(folder, checked.atoms, spec)
    spec.write(folder)
    return folder


def _write_record(checked: CheckedCampaign, path: Path, target: Path, specs: list[RunSpec]) -> None:
    campaign = checked.campaign
    record = {
        "campaign": campaign.model_dump(mode="json"),
        "campaign_file": path.name,
        "campaign_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "structure_sha256": specs[0].structure_hash,
        "cells": [
            repeats * cells
            for repeats, cells in zip(campaign.structure.supercell, campaign.structure.cells, strict=True)
        ],
        "n_atoms": len(checked.atoms),
        "formula": str(Formula.from_dict(dict(Counter(checked.atoms.get_chemical_symbols())))),
        "folders": [run_folder(target, spec.temperature).name for spec in specs],
        "models": {
            name: {
                "path": str(info.path),
                "sha256": info.sha256,
                "cutoff": info.cutoff,
                "training": info.metadata.get("training", {}),
            }
            for name, info in (("energy", checked.energy), ("efg", checked.efg))
        },
        "nuclei": {
            choice.name: {
                "spin": str(choice.nucleus().spin),
                "moment_mb": choice.nucleus().moment_mb,
                "source": choice.nucleus().source,
            }
            for choice in campaign.nuclei
        },
        "masses": dict(zip(checked.elements, checked.masses, strict=True)),
        "notes": list(checked.notes),
        "versions": versions(),
        "machine": machine(),
    }
    write_whole(target / CAMPAIGN_FILE, json.dumps(record, indent=1) + "\n")
