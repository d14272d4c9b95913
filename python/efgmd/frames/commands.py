"""The command ``efgmd convert``."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command of this module to the command line."""
    app.command("convert")(convert)


def convert(
    files: Annotated[list[Path], typer.Argument(metavar="IN... OUT", help="Files to read, then the file to write.")],
    read_as: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Format of the inputs: vasp, magres, gipaw, elk, cp2k, ase-db, gpaw or ase.",
            show_default="recognised",
        ),
    ] = None,
    write_as: Annotated[
        str | None,
        typer.Option("--to", help="Format to write: extxyz, magres or csv.", show_default="by the ending of OUT"),
    ] = None,
    structure: Annotated[
        Path | None,
        typer.Option(
            help="File with the structure, for gipaw, elk and cp2k.", show_default="found beside the input or in it"
        ),
    ] = None,
    nuclei: Annotated[
        str | None,
        typer.Option(
            help="For csv: nuclei to list, as 127I,14N; with a quadrupole moment in mb: 127I=-688.",
            show_default="all built-in nuclei of the elements",
        ),
    ] = None,
    key: Annotated[
        list[str],
        typer.Option(help="Name of a label in the inputs, as efg=V; also energy, forces, stress; repeatable."),
    ] = [],  # noqa: B006
    keep_unlabelled: Annotated[
        bool, typer.Option("--all", help="Also frames and atoms without EFG tensors, instead of refusing them.")
    ] = False,
) -> None:
    """Convert frames with EFG tensors between the outputs of first-principles codes, extended XYZ, magres and CSV."""
    from efgmd.errors import ConfigError
    from efgmd.frames.convert import convert as run
    from efgmd.frames.labels import label_keys
    from efgmd.nuclei import parse_nuclei

    if len(files) < 2:
        raise ConfigError("name at least one file to read, and the file to write: efgmd convert IN... OUT")
    run(
        files[:-1],
        files[-1],
        read_as=read_as,
        write_as=write_as,
        structure=structure,
        keys=label_keys(key),
        nuclei=parse_nuclei(nuclei) if nuclei is not None else None,
        keep_unlabelled=keep_unlabelled,
    )
