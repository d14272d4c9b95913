"""The commands ``efgmd lmp`` and ``efgmd export``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ExportFormat(StrEnum):
    """What an exported model is for."""

    mliap = "mliap"


def register(app: typer.Typer) -> None:
    """Add the commands of this package to the command line."""
    app.command(
        "lmp",
        help="Run a LAMMPS input script inside this Python process, with pair mliap unified and compute efg/atom. "
        "LAMMPS' own options (-var, -log, -screen, ...) follow. For several ranks: mpiexec -n 4 efgmd lmp -in FILE.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_lmp)
    app.command(
        "export",
        help="Write an energy model for a LAMMPS that runs Python models by itself (ML-IAP built with Python): "
        "pair_style mliap unified FILE 0.",
    )(_export)


def _lmp(
    context: typer.Context,
    script: Annotated[Path, typer.Option("-in", "-i", help="LAMMPS input script.")],
) -> None:
    from efgmd.coupling.program import run_script

    run_script(script, context.args)


def _export(
    form: Annotated[ExportFormat, typer.Argument(help="What for.")],
    model: Annotated[Path, typer.Argument(help="Energy model (.safetensors).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; .pt or .pth for torch's form.")],
    dtype: Annotated[
        str, typer.Option(help="Precision of the arithmetic: float32 or float64.", show_default="float32")
    ] = "float32",
) -> None:
    from efgmd.coupling.export import export_mliap

    export_mliap(model, output, dtype)
    typer.echo(f"wrote {output} ({form}, {dtype})")
