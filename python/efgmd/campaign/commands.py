"""The commands `efgmd run`, `efgmd analyze` and `efgmd report`."""

from pathlib import Path
from typing import Annotated

import typer

_FOLDER = Annotated[Path, typer.Argument(help="Output folder of a campaign.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("run")(run)
    app.command("analyze")(analyze)
    app.command("report")(report)


def run(
    campaign: Annotated[Path, typer.Argument(help="Campaign file (YAML).")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output folder, instead of the campaign's.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Validate the campaign and stop.")] = False,
) -> None:
    """Run MD at every temperature, sample EFG tensors, analyse them, write the report; resumes what was interrupted."""
    from efgmd.campaign.main import run_campaign

    run_campaign(campaign, output=output, check_only=check)


def analyze(folder: _FOLDER) -> None:
    """Compute Cq, eta and their errors from the stores of a campaign, finished or still running."""
    from efgmd.campaign.main import analyze_folder

    analyze_folder(folder)


def report(folder: _FOLDER) -> None:
    """Write report.html from results.json and the stores of a campaign."""
    from efgmd.campaign.main import report_folder

    report_folder(folder)
