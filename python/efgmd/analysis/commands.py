"""The commands `efgmd dynamics`, `efgmd spectrum` and `efgmd structures`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from efgmd.campaign.commands import FOLDER


class Kind(StrEnum):
    """Kinds of spectra."""

    nqr = "nqr"
    static = "static"
    mas = "mas"
    exact = "exact"


class Transitions(StrEnum):
    """Transitions that are excited."""

    all = "all"
    central = "central"


class Form(StrEnum):
    """File formats of structures."""

    magres = "magres"
    extxyz = "extxyz"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("dynamics")(dynamics)
    app.command("spectrum")(spectrum)
    app.command("structures")(structures)


def dynamics(
    folder: FOLDER,
    nucleus: Annotated[
        list[str] | None, typer.Option("--nucleus", "-n", help="Nucleus of the campaign, repeatable; default: all.")
    ] = None,
    field: Annotated[
        float, typer.Option(help="Magnetic field, tesla; 0 for extreme narrowing.", show_default="0")
    ] = 0.0,
    direction: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="Field along X Y Z of the simulated cell; default: powder average."),
    ] = None,
    max_lag: Annotated[float | None, typer.Option(help="Longest lag, ps; default: an eighth of the run.")] = None,
) -> None:
    """Correlation times of the EFG, T1 and T2 from the stores of a campaign; needs samples_per_block: 1."""
    from rich.console import Console

    from efgmd.analysis.campaign_dynamics import CampaignDynamics
    from efgmd.analysis.dynamics_output import FIGURE_FILE, print_dynamics, write_dynamics_figure
    from efgmd.campaign.main import read_record

    found = CampaignDynamics(nucleus, field, direction, max_lag).compute(folder, read_record(folder))
    found.write(folder)
    write_dynamics_figure(found.results, folder / FIGURE_FILE)
    print_dynamics(found.results, Console())


def spectrum(
    folder: Annotated[
        Path | None, typer.Argument(help="Output folder of a campaign, instead of --cq and --eta.")
    ] = None,
    nucleus: Annotated[str, typer.Option("--nucleus", "-n", help="Nucleus, for example 14N.")] = "",
    kind: Annotated[
        Kind,
        typer.Option(
            help="NQR lines; a static or spinning powder (mrsimulator); a static powder without approximation.",
            show_default="static",
        ),
    ] = Kind.static,
    cq: Annotated[float | None, typer.Option(help="Coupling constant, MHz.")] = None,
    eta: Annotated[float, typer.Option(help="Asymmetry parameter, with --cq.", show_default="0")] = 0.0,
    spin: Annotated[str | None, typer.Option(help="Nuclear spin, for nuclei that are not built in.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature of the campaign, K; default: the first.")
    ] = None,
    field: Annotated[float | None, typer.Option(help="Magnetic field, tesla.")] = None,
    larmor: Annotated[float | None, typer.Option(help="Larmor frequency, MHz, instead of the field.")] = None,
    spinning: Annotated[float, typer.Option(help="Magic-angle spinning, kHz; for kind mas.", show_default="10")] = 10.0,
    transitions: Annotated[
        Transitions,
        typer.Option(help="Transitions that are excited; central for half-integer spins.", show_default="all"),
    ] = Transitions.all,
    width: Annotated[float | None, typer.Option(help="Width of the spectrum, kHz; default: all lines.")] = None,
    points: Annotated[int, typer.Option(help="Frequencies of the spectrum.", show_default="2048")] = 2048,
    broadening: Annotated[
        float | None, typer.Option(help="Full width of a Gaussian broadening, kHz; default: 4 points.")
    ] = None,
    band: Annotated[bool, typer.Option("--band", help="Show the spectra within the errors of Cq and eta.")] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Picture to write (PNG, SVG or PDF); beside it .csv and .json.")
    ] = Path("spectrum.png"),
) -> None:
    """NQR lines or an NMR powder spectrum of a campaign's result, or of a Cq and eta: picture, CSV and JSON."""
    from rich.console import Console

    from efgmd.analysis.spectrum_output import SpectrumRequest

    request = SpectrumRequest(
        nucleus, kind.value, field, larmor, spinning, transitions.value, width, points, broadening, band, spin
    )
    if folder is None:
        request.add_coupling(cq, eta)
    else:
        request.add_campaign(folder, temperature, cq)
    request.compute().write(output, Console())


def structures(
    folder: FOLDER,
    form: Annotated[Form, typer.Option("--format", help="File format.", show_default="magres")] = Form.magres,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: the campaign's.")
    ] = None,
) -> None:
    """Mean structure and mean EFG tensors of each temperature, for Soprano, MagresView and other programs."""
    from efgmd.analysis.interchange import write_structures
    from efgmd.campaign.main import read_record

    for path in write_structures(folder, read_record(folder), form.value, output or folder):
        typer.echo(f"structure: {path}")
