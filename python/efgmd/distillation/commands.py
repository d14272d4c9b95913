"""The command `efgmd distill`."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command of this module to the command line."""
    app.command("distill")(distill)


def distill(
    settings: Annotated[Path, typer.Argument(help="Distillation file (YAML).")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Output folder, instead of the file's.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Validate the file and stop.")] = False,
) -> None:
    """Distill a force field from any ASE calculator: the student's dynamics choose what the teacher labels next.
    Give it again to resume."""
    from efgmd.distillation.main import distill as run

    run(settings, output=output, check_only=check)
