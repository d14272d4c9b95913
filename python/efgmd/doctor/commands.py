"""The command ``efgmd doctor``."""

from typing import Annotated

import typer

from efgmd.doctor.examination import LIMIT, doctor


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("doctor")(_doctor)


def _doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, for a bug report.")] = False,
    limit: Annotated[
        float, typer.Option(help="Seconds that each check may take.", show_default=f"{LIMIT:g}", min=1.0)
    ] = LIMIT,
) -> None:
    """Check the installation: versions, LAMMPS, plugin, MPI, models; status 1 if there is something to fix."""
    raise typer.Exit(doctor(as_json, limit))
