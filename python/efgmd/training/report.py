"""Evaluate a model file on data files: a table, JSON and parity plots."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import efgmd
from efgmd.frames.labels import label_keys
from efgmd.models.io import load_model
from efgmd.training.dataset import load
from efgmd.training.evaluation import Evaluation, evaluate, table
from efgmd.training.plots import calibration_plot, parity_plot


def evaluate_files(
    model_file: Path,
    data_files: Sequence[Path],
    output: Path | None,
    keys: Sequence[str] = (),
    dtype: str = "float32",
) -> Evaluation:
    """Evaluate a model and show the errors.

    Parameters
    ----------
    model_file
        Of an energy or EFG model.
    data_files
        Labelled frames.
    output
        Folder for ``evaluation.json``, parity plots and, of a committee, ``calibration.png``; or None.
    keys
        Names of labels in the files, as "energy=dft_energy".
    dtype
        "float32" or "float64".

    Raises
    ------
    ConfigError
        An unknown label in ``keys``.
    ModelFileError
        The model cannot be used.
    DataError
        Frames that cannot be used, or that hold elements the model does not know.
    """
    names = label_keys(keys)
    model = load_model(model_file, dtype=dtype)
    data = load(data_files, model.kind, names)
    result = evaluate(model, data)
    console = Console()
    console.print(table(result, model_file.name))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        record = {
            "model": {"file": model_file.name, "sha256": model.sha256, "kind": model.kind},
            "data": [vars(file) for file in data.files],
            "dtype": dtype,
            "errors": result.numbers,
            "versions": {"efgmd": efgmd.__version__},
        }
        (output / "evaluation.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        plots = parity_plot(result, output / "parity") + calibration_plot(result, output / "calibration.png")
        console.print(f"written to {output}: evaluation.json, {', '.join(plot.name for plot in plots)}", soft_wrap=True)
    return result
