"""Training curves and parity plots, as PNG and SVG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from efgmd.training.evaluation import Comparison, Evaluation

_COLOURS = ("#1f5fa8", "#c8501e", "#2e8b57", "#7a4fa3", "#8a6d1d")
#: More points than this are thinned, for the sake of the SVG's size.
_MOST_POINTS = 5000


def training_curve(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Plot losses, validation errors and the learning rate against the epoch.

    Parameters
    ----------
    history
        Rows of the training history.
    path
        PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    losses, errors = figure.subplots(2, 1, sharex=True)
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(epochs) < 3 else None
    for name, colour in (("training_loss", _COLOURS[0]), ("validation_loss", _COLOURS[1])):
        losses.plot(epochs, [row[name] for row in history], color=colour, marker=marker, label=name.replace("_", " "))
    losses.set(yscale="log", ylabel="loss")
    rate = losses.twinx()
    rate.plot(epochs, [row["learning_rate"] for row in history], color="0.7", lw=1, ls="--", label="learning rate")
    rate.set(yscale="log", ylabel="learning rate")
    losses.legend()
    known = {"epoch", "seconds", "learning_rate", "training_loss", "validation_loss", "validation_score"}
    for name, colour in zip([name for name in history[0] if name not in known], _COLOURS * 4, strict=False):
        errors.plot(epochs, [row[name] for row in history], color=colour, marker=marker, label=_label(name))
    errors.set(yscale="log", xlabel="epoch", ylabel="validation error")
    errors.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    for axes in (losses, errors):
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=130)


def _label(name: str) -> str:
    for suffix, unit in (("_meV_per_atom", " (meV/atom)"), ("_meV_per_A", " (meV/Å)"), ("_GPa", " (GPa)")):
        if name.endswith(suffix):
            return name.removesuffix(suffix) + unit
    return name.replace("_rmse_per_sigma", ": RMSE/σ")


def parity_plot(evaluation: Evaluation, path: Path) -> list[Path]:
    """Plot predictions against references, one panel per quantity or element.

    Parameters
    ----------
    evaluation
        Of a model.
    path
        Without suffix.

    Returns
    -------
    The PNG and the SVG file.
    """
    import matplotlib
    from matplotlib.figure import Figure

    count = len(evaluation.comparisons)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.6 * columns, 3.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, comparison, colour in zip(panels, evaluation.comparisons, _COLOURS * 20, strict=False):
        _panel(axes, comparison, colour, evaluation.kind)
    for axes in panels[count:]:
        axes.set_visible(False)
    files = [path.with_name(f"{path.name}.{suffix}") for suffix in ("png", "svg")]
    with matplotlib.rc_context({"svg.hashsalt": "efgmd"}):
        figure.savefig(files[0], dpi=130)
        figure.savefig(files[1], metadata={"Date": None})
    return files


def calibration_plot(evaluation: Evaluation, path: Path) -> list[Path]:
    """Plot the errors of a committee against the errors that it expects, in bins, each over its element's mean error.

    Parameters
    ----------
    evaluation
        Of an EFG model.
    path
        PNG file to write.

    Returns
    -------
    The file, or nothing if the model is no committee.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    rows = {name: row for name, row in evaluation.numbers.get("elements", {}).items() if "calibration" in row}
    if not rows:
        return []
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.subplots()
    values = [1.0]
    for (element, row), colour in zip(rows.items(), _COLOURS * 20, strict=False):
        points = [(b["expected_rmse_au"] / row["rmse_au"], b["rmse_au"] / row["rmse_au"]) for b in row["calibration"]]
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=element)
        values += [value for point in points for value in point if value > 0]
    limits = 0.9 * min(values), 1.1 * max(values)
    axes.plot(limits, limits, color="0.5", lw=1)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits, aspect="equal")
    axes.set(xlabel="expected error / RMSE", ylabel="error found / RMSE")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.25)
    axes.legend()
    figure.savefig(path, dpi=130)
    return [path]


def _panel(axes, comparison: Comparison, colour: str, kind: str) -> None:
    reference, predicted = comparison.reference, comparison.predicted
    if comparison.name == "energy":  # absolute energies carry an arbitrary offset
        reference, predicted = reference - comparison.reference.mean(), predicted - comparison.reference.mean()
    if reference.size > _MOST_POINTS:
        chosen = np.random.default_rng(0).choice(reference.size, _MOST_POINTS, replace=False)
        reference, predicted = reference[chosen], predicted[chosen]
    low = min(reference.min(), predicted.min())
    high = max(reference.max(), predicted.max())
    margin = 0.05 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color="0.5", lw=1)
    axes.scatter(reference, predicted, s=6, alpha=0.35, linewidths=0, color=colour)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    sigma = float(np.sqrt(np.mean(comparison.reference**2)))
    r2 = "" if comparison.r2 is None else f"\nR² {comparison.r2:.4f}"
    if kind == "efg":
        title, note = f"EFG at {comparison.name} ({comparison.unit})", f"RMSE {comparison.rmse:.4g} a.u."
        note += f"\nRMSE/σ {comparison.rmse / sigma:.3f}{r2}" if sigma > 0 else ""
    else:
        mean = " - mean" if comparison.name == "energy" else ""
        title, note = f"{comparison.name}{mean} ({comparison.unit})", f"RMSE {comparison.rmse:.3g}{r2}"
    axes.set_title(title, fontsize=10)
    axes.set(xlabel="reference", ylabel="model")
    axes.text(0.05, 0.95, note, transform=axes.transAxes, va="top", fontsize=8)
