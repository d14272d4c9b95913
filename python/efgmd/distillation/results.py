"""What a distillation has come to: errors of all students on the same held-out frames, and how their runs fared."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from efgmd.campaign.provenance import machine, versions
from efgmd.distillation.rounds import Round, Rounds
from efgmd.distillation.teacher import count_left_out
from efgmd.files import write_whole
from efgmd.models.io import load_model, read_metadata
from efgmd.training.dataset import load
from efgmd.training.evaluation import evaluate

RESULTS_FILE = "results.json"
_LEFT_OUT = {"failed": "the teacher failed", "large_forces": "a force above teacher.largest_force"}
_ERRORS = ("energy_rmse_meV_per_atom", "forces_rmse_meV_per_A", "stress_rmse_GPa")


def summarise(rounds: Rounds, done: Sequence[Round], folder: Path) -> list[dict[str, Any]]:
    """Collect the numbers of the finished rounds, write them to ``results.json`` and return one entry a round.

    All students are judged by all held-out frames there are so far, so that the rounds can be compared.
    """
    held_out = [item.held_out for item in done if item.held_out.stat().st_size]
    frames = load(held_out, "energy") if held_out else None
    largest_force = rounds.config.teacher.largest_force
    entries = []
    for item in done:
        training = read_metadata(item.student(0))["training"]
        runs = rounds.runs(item)
        entries.append(
            {
                "round": item.number,
                "frames": training["frames"],
                "validation": _errors(training["accuracy"]["validation"]),
                "held_out": _errors(evaluate(load_model(item.student(0)), frames).numbers) if frames else None,
                "left_out": {
                    "chosen": count_left_out(item.labels, largest_force),
                    "held_out": count_left_out(item.held_out_labels, largest_force),
                },
                "runs": len(runs),
                "runs_intact": sum(not run.broken for run in runs),
                "share_intact": sum(run.share for run in runs) / len(runs),
                "broken": sorted({run.broken for run in runs if run.broken}),
            }
        )
    content = {
        "format": "efgmd-distillation",
        "teacher": rounds.config.teacher.model_dump(mode="json"),
        "held_out_frames": len(frames.frames) if frames else 0,
        "rounds": entries,
        "versions": versions(),
        "machine": machine(),
    }
    write_whole(folder / RESULTS_FILE, json.dumps(content, indent=1) + "\n")
    return entries


def _errors(numbers: dict[str, Any]) -> dict[str, float]:
    return {name: numbers[name] for name in ("frames", *_ERRORS) if name in numbers}


def print_rounds(entries: Sequence[dict[str, Any]], console: Console) -> None:
    """Show the table of the rounds."""
    held_out = next((entry["held_out"]["frames"] for entry in entries if entry["held_out"]), 0)
    table = Table(title=f"errors against the teacher (RMSE); {held_out} held-out frames of all rounds")
    table.title_justify = "left"
    for heading in ("round", "frames", "validation:\nmeV/atom, meV/A", "held out:\nmeV/atom, meV/A, GPa", "MD intact"):
        table.add_column(heading, justify="right")
    for entry in entries:
        table.add_row(
            str(entry["round"]),
            f"{entry['frames']['training']} + {entry['frames']['validation']}",
            _shown(entry["validation"], _ERRORS[:2]),
            _shown(entry["held_out"] or {}, _ERRORS),
            f"{100 * entry['share_intact']:.0f} %, {entry['runs_intact']} of {entry['runs']} runs",
        )
    console.print(table)
    for entry in entries:
        lines = [f"a run ended: {reason}" for reason in entry["broken"][:3]]
        lines += [
            f"{count} {name.replace('_', '-')} frames left out: {_LEFT_OUT[reason]}"
            for name, counts in entry["left_out"].items()
            for reason, count in counts.items()
            if count
        ]
        for line in lines:
            console.print(f"round {entry['round']}: {line}", highlight=False, soft_wrap=True)


def _shown(errors: dict[str, float], names: Sequence[str]) -> str:
    return ", ".join(f"{errors[name]:.3g}" if name in errors else "-" for name in names)
