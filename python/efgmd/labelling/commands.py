"""The command ``efgmd label``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Calculator(StrEnum):
    """Codes that labels can come from."""

    gpaw = "gpaw"


def register(app: typer.Typer) -> None:
    """Add the command of this module to the command line."""
    app.command("label")(label)


def label(
    frames: Annotated[Path, typer.Argument(help="Frames to label, in any format that efgmd reads.")],
    output: Annotated[Path, typer.Argument(help="Extended XYZ to write, .xyz or .xyz.gz.")],
    kpoints: Annotated[
        str,
        typer.Option(
            help="k-points of the primitive cell: 2x2x2, 4x4x4:shifted, 2x2x2:bcc, gamma, spacing=0.3, or the "
            "supercell whose reciprocal lattice they are: 1,1,4/2,-2,2/0,0,12."
        ),
    ],
    calculator: Annotated[Calculator, typer.Option(help="Code that computes the labels.")] = Calculator.gpaw,
    primitive: Annotated[
        str | None,
        typer.Option(
            help="Primitive cell that the k-points are for, a,b,c in angstrom, or a,b,c,alpha,beta,gamma.",
            show_default="each frame",
        ),
    ] = None,
    cutoff: Annotated[float, typer.Option(help="Cutoff of the plane waves, Hartree.", show_default="20", min=1)] = 20.0,
    xc: Annotated[str, typer.Option(help="Exchange-correlation functional.", show_default="PBE")] = "PBE",
    processes: Annotated[
        int | None, typer.Option(help="Frames at a time, one core each.", show_default="all cores", min=1)
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(help="Python that has GPAW.", show_default="EFGMD_GPAW_PYTHON or /usr/bin/python3"),
    ] = None,
) -> None:
    """Compute EFG tensors, energies and forces of frames from first principles. Give it again to resume."""
    from efgmd.labelling.kpoints import parse_mesh, parse_primitive
    from efgmd.labelling.label import Settings
    from efgmd.labelling.label import label as run

    cell = parse_primitive(primitive) if primitive is not None else None
    run(frames, output, Settings(parse_mesh(kpoints, cell), cell, cutoff, xc), processes=processes, python=python)
