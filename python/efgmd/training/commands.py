"""The commands `efgmd train` and `efgmd evaluate`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Kind(StrEnum):
    """What a model predicts."""

    energy = "energy"
    efg = "efg"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("train")(train)
    app.command("evaluate")(evaluate)
    app.command("select")(select)


def _setting(help_text: str, default: str) -> Any:
    """Option whose default lies in `TrainingConfig`, so that a YAML file can set it too."""
    return typer.Option(help=help_text, show_default=default)


_DATA = typer.Argument(help="Labelled frames: extended XYZ, output of VASP and others, any format of efgmd convert.")
_KEY = typer.Option(help="Name of a label in the files, as energy=dft_energy; also forces, stress, efg; repeatable.")


def train(
    kind: Annotated[Kind, typer.Argument(help="What the model predicts.")],
    data: Annotated[list[Path], _DATA],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write (.safetensors).")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file with settings; options override it.")
    ] = None,
    model: Annotated[
        list[str], typer.Option("--set", help="Hyperparameter of the model, NAME=VALUE; repeatable.")
    ] = [],  # noqa: B006
    elements: Annotated[str | None, _setting("Elements in the model's order.", "by atomic number")] = None,
    initialise: Annotated[Path | None, _setting("Model file to start from, of either kind.", "none")] = None,
    validation: Annotated[
        list[Path], typer.Option(help="Validation frames, instead of splitting off runs; repeatable.")
    ] = [],  # noqa: B006
    test: Annotated[list[Path], typer.Option(help="Frames to report errors on at the end; repeatable.")] = [],  # noqa: B006
    split_by: Annotated[str | None, _setting("Info key that names a frame's run, or: frame.", "tag")] = None,
    validation_fraction: Annotated[
        float | None, _setting("Share of the frames held out for validation.", "0.1")
    ] = None,
    epochs: Annotated[int | None, _setting("Passes over the training frames.", "200")] = None,
    minutes: Annotated[float | None, _setting("End the run, fully annealed, after this many minutes.", "none")] = None,
    batch_size: Annotated[int | None, _setting("Frames per step.", "4")] = None,
    learning_rate: Annotated[float | None, _setting("Peak learning rate of AdamW.", "0.005")] = None,
    weight_decay: Annotated[float | None, _setting("Weight decay of AdamW.", "0.001 for energy, 1 for efg")] = None,
    ema: Annotated[float | None, _setting("Decay per step of the averaged weights.", "0.99")] = None,
    patience: Annotated[int | None, _setting("Stop after this many epochs without improvement.", "never")] = None,
    weight: Annotated[
        list[str],
        typer.Option(help="Weight in the loss, NAME=VALUE: energy, forces, stress; or an element for efg; repeatable."),
    ] = [],  # noqa: B006
    refit: Annotated[
        bool | None,
        typer.Option(
            "--refit/--no-refit",
            help="Linear EFG model: solve again with the validation frames added.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[list[str], _KEY] = [],  # noqa: B006
    seed: Annotated[int | None, _setting("Of weights, split and order of the frames.", "0")] = None,
    dtype: Annotated[str | None, _setting("float32 or float64.", "float32")] = None,
    device: Annotated[str | None, _setting("cpu or cuda.", "cpu")] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, and replace what an earlier run left.")
    ] = False,
) -> None:
    """Train an energy or EFG model. Give the command again to resume a run that was interrupted."""
    from efgmd.training.config import parse_assignments, read_config
    from efgmd.training.session import TrainingFiles
    from efgmd.training.session import train as run

    given: dict[str, Any] = {
        "kind": kind.value,
        "elements": elements,
        "initialise": initialise,
        "epochs": epochs,
        "minutes": minutes,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "ema": ema,
        "patience": patience,
        "seed": seed,
        "dtype": dtype,
        "device": device,
        "split_by": split_by,
        "validation_fraction": validation_fraction,
        "refit": refit,
        "model": parse_assignments(model, "--set") or None,
        "weights": parse_assignments(weight, "--weight") or None,
        "keys": parse_assignments(key, "--key") or None,
    }
    settings = read_config(config, {name: value for name, value in given.items() if value is not None})
    run(settings, TrainingFiles(data, validation, test, output), restart)


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    data: Annotated[list[Path], _DATA],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for evaluation.json and the parity plots (PNG, SVG).")
    ] = None,
    key: Annotated[list[str], _KEY] = [],  # noqa: B006
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
) -> None:
    """Compare a model with labelled frames: errors by quantity or element, and parity plots."""
    from efgmd.training.report import evaluate_files

    evaluate_files(model, data, output, key, dtype)


def select(
    pool: Annotated[list[Path], typer.Argument(help="Frames to choose from, extended XYZ; labels are not needed.")],
    model: Annotated[
        list[Path], typer.Option(help="EFG model that is a committee, or two models or more; repeatable.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Extended XYZ file to write; scores go to .csv beside it.")
    ],
    count: Annotated[int, typer.Option("--count", "-n", help="Frames to choose.")] = 20,
    known: Annotated[
        list[Path], typer.Option(help="Frames that are labelled already, to keep away from; repeatable.")
    ] = [],  # noqa: B006
) -> None:
    """Choose the frames most worth labelling: models disagree on them, and they are unlike the others."""
    from rich.console import Console

    from efgmd.training.selection import select_files

    select_files(pool, model, known, count, output, Console())
