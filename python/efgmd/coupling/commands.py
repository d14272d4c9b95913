"""The command ``efgmd lmp``."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this package to the command line."""
    app.command(
        "lmp",
        help="Run a LAMMPS input script inside this Python process, with pair mliap unified and compute efg/atom. "
        "LAMMPS' own options (-var, -log, -screen, ...) follow. For several ranks: mpiexec -n 4 efgmd lmp -in FILE.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_lmp)


def _lmp(
    context: typer.Context,
    script: Annotated[Path, typer.Option("-in", "-i", help="LAMMPS input script.")],
) -> None:
    from efgmd.coupling.program import run_script

    run_script(script, context.args)
