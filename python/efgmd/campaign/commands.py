"""The commands `efgmd run`, `efgmd analyze` and `efgmd report`."""

from pathlib import Path
from typing import Annotated

import typer

from efgmd.errors import ConfigError

FOLDER = Annotated[Path, typer.Argument(help="Output folder of a campaign.")]


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


def analyze(
    context: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(help="Output folder of a campaign; or dumps or files of structures with tensors, of one run."),
    ],
    structure: Annotated[
        Path | None, typer.Option(help="Structure with the atoms in the order of their ids, molecules intact.")
    ] = None,
    nuclei: Annotated[
        list[str] | None,
        typer.Option(help="Nuclei, for example 127I,14N,2H; a moment in millibarn may follow: 127I=-688."),
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature of the run, kelvin.")] = None,
    timestep_fs: Annotated[
        float | None,
        typer.Option(help="Time of one MD step; of one frame where frames have no steps.", min=1e-6),
    ] = None,
    supercell: Annotated[
        tuple[int, int, int], typer.Option(help="Repeats of the structure in the run.", show_default="1 1 1", min=1)
    ] = (1, 1, 1),
    cells: Annotated[
        tuple[int, int, int], typer.Option(help="Pseudo-cubic cells along its axes.", show_default="1 1 1", min=1)
    ] = (1, 1, 1),
    framework: Annotated[
        str | None, typer.Option(help="Elements whose mean positions carry the symmetry, for example Pb,I.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Distance tolerance of the symmetry search, angstrom.")
    ] = None,
    frame: Annotated[str | None, typer.Option(help="Frame of the averages: crystal or molecule.")] = None,
    follow_axis: Annotated[
        bool, typer.Option("--follow-axis", help="Follow the unique axis when it moves between x, y and z.")
    ] = False,
    skip_ps: Annotated[float, typer.Option(help="Time to leave out at the beginning.", show_default="0", min=0)] = 0.0,
    block: Annotated[int, typer.Option(help="Frames to average into one stored block.", show_default="1", min=1)] = 1,
    columns: Annotated[
        str | None, typer.Option(help="Name of the tensors in the files, for example c_efg or f_avg.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write for files; efg-analysis by default.")
    ] = None,
) -> None:
    """Compute Cq, eta and their errors: from a campaign's stores, finished or still running, or from a trajectory of
    one's own (with --structure, --nuclei and --temperature)."""
    from efgmd.campaign.main import analyze_files, analyze_folder

    missing = [str(path) for path in sources if not path.exists()]
    if missing:
        raise ConfigError(f"{', '.join(missing)}: no such file or folder")
    if len(sources) == 1 and sources[0].is_dir():
        options = {option.opts[0]: option.name or "" for option in context.command.params if option.name != "sources"}
        origins = {flag: context.get_parameter_source(name) for flag, name in options.items()}
        # By its name: typer brings a copy of click whose constants are other objects.
        given = [flag for flag, origin in origins.items() if origin is not None and origin.name == "COMMANDLINE"]
        if given:
            raise ConfigError(
                f"{sources[0]} is a folder, whose campaign is recorded in it: {', '.join(given)} are for files; change "
                "the campaign file and give efgmd run again, or give the files again"
            )
        analyze_folder(sources[0])
        return
    chosen = {
        "framework": framework.replace(",", " ").split() if framework else None,
        "tolerance": tolerance,
        "frame": frame,
    }
    analyze_files(
        sources,
        structure=structure,
        nuclei=nuclei or [],
        temperature=temperature,
        sites={name: value for name, value in chosen.items() if value is not None} | {"follow_axis": follow_axis},
        output=output or Path("efg-analysis"),
        supercell=supercell,
        cells=cells,
        timestep_fs=timestep_fs,
        skip_ps=skip_ps,
        samples_per_block=block,
        columns=columns,
    )


def report(folder: FOLDER) -> None:
    """Write report.html from results.json and the stores of a campaign."""
    from efgmd.campaign.main import report_folder

    report_folder(folder)
