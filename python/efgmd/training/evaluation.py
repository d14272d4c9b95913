"""Errors of a model on labelled frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from efgmd.errors import DataError
from efgmd.frames.labels import known_atoms
from efgmd.frames.neighbours import batch_of
from efgmd.training.dataset import LabelledFrames, known_tensors, tensor_counts
from efgmd.training.objectives import EV_PER_A3_IN_GPA
from efgmd.training.predictions import predict_energy

FloatArray = NDArray[np.float64]


@dataclass
class Comparison:
    """Reference values and predictions of one quantity.

    Attributes
    ----------
    name
        Of the quantity or element.
    unit
        Of both arrays.
    reference
        Labels, of shape ``(n,)``.
    predicted
        Of shape ``(n,)``.
    """

    name: str
    unit: str
    reference: FloatArray
    predicted: FloatArray

    @property
    def rmse(self) -> float:
        """Root-mean-square error."""
        return float(np.sqrt(np.mean((self.predicted - self.reference) ** 2)))

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return float(np.mean(np.abs(self.predicted - self.reference)))

    @property
    def r2(self) -> float | None:
        """Coefficient of determination, 1 - sum of squared errors / sum of squares about the mean."""
        total = float(np.sum((self.reference - self.reference.mean()) ** 2))
        return 1.0 - float(np.sum((self.predicted - self.reference) ** 2)) / total if total > 0 else None


@dataclass
class Evaluation:
    """Errors of one model on one set of frames.

    Attributes
    ----------
    kind
        "energy" or "efg".
    numbers
        JSON-able, units in the names.
    comparisons
        For parity plots; one per quantity or element.
    """

    kind: str
    numbers: dict[str, Any]
    comparisons: list[Comparison]


def evaluate(model: Any, data: LabelledFrames) -> Evaluation:
    """Compare a model with labelled frames.

    Parameters
    ----------
    model
        Energy or EFG model with ``kind``, ``elements``, ``cutoff`` and ``dtype``.
    data
        Frames whose labels the kind of model needs.

    Returns
    -------
    For an energy model the errors of energy (meV/atom), forces (meV/angstrom, also by element) and stress (GPa);
    for an EFG model those of each element's tensor components: RMSE and MAE (a.u.), sigma (root mean square of the
    reference components, a.u.), RMSE/sigma, R^2; for a committee also the error it expects (root mean square, a.u.),
    the shares of tensors whose error, the root mean square over the components, is within once and twice of it, and
    expected and actual errors in bins (see `calibration_bins`).

    Raises
    ------
    DataError
        Frames with elements that the model does not know, or without a tensor of an element that it knows tensors of.
    """
    model.eval()
    summary = {"frames": len(data.frames), "atoms": sum(map(len, data.frames))}
    if model.kind == "efg":
        refuse_incomparable(model, data)
    compare = _compare_efg if model.kind == "efg" else _compare_energy
    numbers, comparisons = compare(model, data)
    return Evaluation(model.kind, {**summary, **numbers}, comparisons)


def _compare_energy(model: Any, data: LabelledFrames) -> tuple[dict[str, Any], list[Comparison]]:
    energies, forces, stresses = [], [], []
    symbols: list[str] = []
    for atoms, origin in zip(data.frames, data.origins, strict=True):
        batch = batch_of(atoms, model.cutoff, model.elements, model.dtype, origin).to(_device(model))
        predicted = predict_energy(model, batch)
        results = atoms.calc.results
        # Sum in double precision: the total is large against its error.
        energies.append((results["energy"] / len(atoms), float(predicted.atomic.double().sum()) / len(atoms)))
        forces.append((results["forces"], _numpy(predicted.forces)))
        symbols += atoms.get_chemical_symbols()
        if "stress" in results and float(batch.volumes[0]) > 0:
            voigt = _numpy(predicted.stress)[0][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            stresses.append((results["stress"], voigt))
    comparisons = [
        _comparison("energy", "eV/atom", energies),
        _comparison("forces", "eV/angstrom", forces),
    ]
    energy, force = comparisons
    by_element = {}
    repeated = np.repeat(symbols, 3)
    for element in model.elements:
        chosen = repeated == element
        if chosen.any():
            errors = force.predicted[chosen] - force.reference[chosen]
            by_element[element] = 1e3 * float(np.sqrt(np.mean(errors**2)))
    numbers: dict[str, Any] = {
        "energy_rmse_meV_per_atom": 1e3 * energy.rmse,
        "energy_mae_meV_per_atom": 1e3 * energy.mae,
        "energy_mean_error_meV_per_atom": 1e3 * float(np.mean(energy.predicted - energy.reference)),
        "forces_rmse_meV_per_A": 1e3 * force.rmse,
        "forces_mae_meV_per_A": 1e3 * force.mae,
        "forces_r2": force.r2,
        "forces_spread_meV_per_A": 1e3 * float(np.sqrt(np.mean(force.reference**2))),
        "forces_rmse_by_element_meV_per_A": by_element,
    }
    if stresses:
        stress = _comparison("stress", "GPa", stresses, EV_PER_A3_IN_GPA)
        comparisons.append(stress)
        numbers |= {"stress_rmse_GPa": stress.rmse, "stress_mae_GPa": stress.mae}
    return numbers, comparisons


def _efg_predictions(model: Any, data: LabelledFrames) -> dict[str, list[FloatArray]]:
    """Reference and predicted tensors, each ``(n, 3, 3)``, and expected errors ``(n,)``, by element that has both."""
    predicted, expected = [], []
    for atoms, origin in zip(data.frames, data.origins, strict=True):
        batch = batch_of(atoms, model.cutoff, model.elements, model.dtype, origin).to(_device(model))
        with torch.no_grad():
            members = model.members(batch.neighbourhoods)
            spread = _numpy(model.uncertainty(batch.neighbourhoods, members))
        known = known_atoms(atoms)
        expected.append(spread[known])
        predicted.append(_numpy(members.mean(1))[known])
    symbols, reference = known_tensors(data.frames)
    columns = [reference, np.concatenate(predicted), np.concatenate(expected)]
    by_element = {element: symbols == element for element in _with_tensors(model)}
    return {element: [part[chosen] for part in columns] for element, chosen in by_element.items() if chosen.any()}


def _with_tensors(model: Any) -> list[str]:
    return [element for element in model.elements if element not in model.without_tensors]


def refuse_incomparable(model: Any, data: LabelledFrames) -> None:
    """Refuse frames none of whose tensors an EFG model can predict.

    Raises
    ------
    DataError
        If there are none.
    """
    judged = _with_tensors(model)
    if not tensor_counts(data.frames, judged).any():
        names = ", ".join(file.name for file in data.files)
        raise DataError(f"{names}: no atom of {', '.join(judged)}, the elements that the model knows, has a tensor")


def calibrate_spread(model: Any, data: LabelledFrames) -> None:
    """Scale the spread of a committee to the errors on frames that it was not trained on.

    Afterwards the mean square of each element's expected errors is that of its actual errors on these frames, and their
    largest is the unit of `EFGModel.extrapolation`.

    Parameters
    ----------
    model
        EFG model of at least two members.
    data
        Held-out frames.
    """
    with torch.no_grad():
        for element, (reference, predicted, expected) in _efg_predictions(model, data).items():
            spread = expected / float(model.spread_scales[model.elements.index(element)])
            scale_spread(model, element, np.sqrt(np.mean((predicted - reference) ** 2, axis=(1, 2))), spread)


def scale_spread(model: Any, element: str, errors: FloatArray, spread: FloatArray) -> float | None:
    """Scale the spread of a committee at one element's atoms to the errors there, as in `calibrate_spread`.

    Parameters
    ----------
    model
        EFG model.
    element
        Of the atoms.
    errors, spread
        Of each atom's tensor: root mean square over its components, ``(n,)``, of the error and of the standard
        deviation between members, a.u.

    Returns
    -------
    The factor; None, and nothing is changed, if the members do not differ.
    """
    if not spread.any():
        return None
    factor = float(np.sqrt(np.mean(errors**2) / np.mean(spread**2)))
    number = model.elements.index(element)
    model.spread_scales[number] = factor
    model.spread_limits[number] = factor * float(spread.max())
    return factor


def calibration_bins(expected: FloatArray, errors: FloatArray) -> list[dict[str, float]]:
    """Expected and actual errors of tensors sorted by the expected one, in up to five bins of at least eight each.

    Parameters
    ----------
    expected, errors
        Of shape ``(n,)``, a.u.

    Returns
    -------
    Root mean squares of both and the number of tensors in each bin.
    """
    bins = np.array_split(np.argsort(expected, kind="stable"), min(5, max(1, len(expected) // 8)))
    return [
        {
            "expected_rmse_au": float(np.sqrt(np.mean(expected[rows] ** 2))),
            "rmse_au": float(np.sqrt(np.mean(errors[rows] ** 2))),
            "tensors": len(rows),
        }
        for rows in bins
    ]


def _compare_efg(model: Any, data: LabelledFrames) -> tuple[dict[str, Any], list[Comparison]]:
    elements: dict[str, dict[str, Any]] = {}
    comparisons = []
    for element, (reference, predicted, expected) in _efg_predictions(model, data).items():
        item = _comparison(element, "a.u.", [(reference, predicted)])
        comparisons.append(item)
        sigma = float(np.sqrt(np.mean(item.reference**2)))
        elements[element] = {
            "tensors": len(reference),
            "rmse_au": item.rmse,
            "mae_au": item.mae,
            "sigma_au": sigma,
            "rmse_per_sigma": item.rmse / sigma if sigma > 0 else None,
            "r2": item.r2,
        }
        if expected.any():
            errors = np.sqrt(np.mean((predicted - reference) ** 2, axis=(1, 2)))
            elements[element]["expected_rmse_au"] = float(np.sqrt(np.mean(expected**2)))
            elements[element]["error_within_expected"] = float(np.mean(errors < expected))
            elements[element]["error_within_twice_expected"] = float(np.mean(errors < 2 * expected))
            elements[element]["calibration"] = calibration_bins(expected, errors)
    return {"elements": elements}, comparisons


def _comparison(name: str, unit: str, pairs: Sequence[tuple[Any, Any]], factor: float = 1.0) -> Comparison:
    columns = [np.concatenate([np.ravel(np.asarray(pair[k], dtype=np.float64)) for pair in pairs]) for k in (0, 1)]
    return Comparison(name, unit, factor * columns[0], factor * columns[1])


def _device(model: nn.Module) -> torch.device:
    return next(
        tensor.device for tensor in chain(model.parameters(), model.buffers())
    )  # linear models have buffers only


def _numpy(tensor: torch.Tensor) -> FloatArray:
    return tensor.detach().cpu().double().numpy()


def table(evaluation: Evaluation, title: str) -> Any:
    """The errors as a table of ``rich``."""
    from rich.table import Table

    numbers = evaluation.numbers
    result = Table(title=f"{title}: {numbers['frames']} frames, {numbers['atoms']} atoms", title_justify="left")
    if evaluation.kind == "efg":
        for heading in ("element", "tensors", "RMSE (a.u.)", "expected", "sigma (a.u.)", "RMSE/sigma", "R2"):
            result.add_column(heading, justify="right")
        for element, row in numbers["elements"].items():
            rmse, expected, sigma = (_shown(row.get(f"{key}_au"), ".5f") for key in ("rmse", "expected_rmse", "sigma"))
            ratio, r2 = (_shown(row[key], ".4f") for key in ("rmse_per_sigma", "r2"))
            result.add_row(element, str(row["tensors"]), rmse, expected, sigma, ratio, r2)
        return result
    for heading in ("quantity", "RMSE", "MAE", "unit"):
        result.add_column(heading, justify="right")
    for name, key, unit in (
        ("energy", "energy_{}_meV_per_atom", "meV/atom"),
        ("forces", "forces_{}_meV_per_A", "meV/A"),
        ("stress", "stress_{}_GPa", "GPa"),
    ):
        if key.format("rmse") in numbers:
            result.add_row(name, f"{numbers[key.format('rmse')]:.4g}", f"{numbers[key.format('mae')]:.4g}", unit)
    for element, rmse in numbers["forces_rmse_by_element_meV_per_A"].items():
        result.add_row(f"forces on {element}", f"{rmse:.4g}", "", "meV/A")
    return result


def _shown(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)
