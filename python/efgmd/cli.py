"""The `efgmd` command: mounts the subcommands, prints errors in one line."""

import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from efgmd import __version__
from efgmd.errors import EfgmdError

app = typer.Typer(
    name="efgmd",
    help="Quadrupolar couplings Cq(T) and eta(T) from machine-learned molecular dynamics in LAMMPS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Modules with `register(app)`, which adds commands; they import heavy packages only inside the commands.
for _module in (
    "efgmd.campaign.commands",
    "efgmd.analysis.commands",
    "efgmd.training.commands",
    "efgmd.frames.commands",
    "efgmd.labelling.commands",
    "efgmd.distillation.commands",
    "efgmd.coupling.commands",
    "efgmd.doctor.commands",
):
    import_module(_module).register(app)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"efgmd {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def _warn(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **more: Any) -> None:
    """Show a warning of this package in one line, without the line of code that it comes from."""
    if Path(filename).is_relative_to(Path(__file__).parent):
        print(f"warning: {message}", file=sys.stderr)
    else:
        _show_warning(message, category, filename, *rest, **more)


_show_warning = warnings.showwarning


def main() -> None:
    """Run the command line; a user's mistake ends in one line per mistake and exit status 2."""
    warnings.showwarning = _warn
    try:
        app()
    except EfgmdError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
