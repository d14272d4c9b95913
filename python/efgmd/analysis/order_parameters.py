"""Quantities of a campaign that vanish at a transition, as lengths with their noise, against temperature."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efgmd.analysis.couplings import axial_part
from efgmd.analysis.magnitude import Magnitude
from efgmd.analysis.series import Row, is_crystallographic, resolved_rows, rows_of, site_series
from efgmd.nuclei import MHZ_PER_BARN_AU
from efgmd.tensors import matrix_to_six, principal_axes, principal_values, six_to_matrix

FloatArray = NDArray[np.float64]

# Acts on six-vectors xx yy zz xy xz yz as the Frobenius norm acts on matrices.
_FROBENIUS = np.sqrt(np.array([1.0, 1, 1, 2, 2, 2]))
# Lengths per cell that differ more than this at all temperatures are not those of a distorted cubic cell.
_PSEUDOCUBIC = 0.1


@dataclass(frozen=True)
class OrderParameter:
    """A series that vanishes in the phase of higher symmetry.

    Attributes
    ----------
    kind
        ``coupling``, ``splitting``, ``asymmetry`` or ``strain``.
    nucleus, site
        What it belongs to; None for strain.
    name
        For people.
    unit
        ``MHz``, ``%`` or empty.
    temperatures
        Ascending, kelvin.
    points
        What was measured at each.
    left_out
        Temperatures without a value, and why, one line each.
    """

    kind: str
    nucleus: str | None
    site: str | None
    name: str
    unit: str
    temperatures: tuple[float, ...]
    points: tuple[Magnitude, ...]
    left_out: tuple[str, ...]


def order_parameters(results: dict[str, Any], choices: list[dict[str, Any]] | None = None) -> list[OrderParameter]:
    """Series of a campaign's results.

    Parameters
    ----------
    results
        As in results.json.
    choices
        Mappings with ``kind``, and ``nucleus`` and ``site`` where they apply. None for those that the crystal itself
        suggests: couplings that are zero at some temperature, the splitting and the largest asymmetry of sites that
        merge at some temperature, and the strain where the lengths of the cell can differ.
    """
    found = []
    for choice in _suggested(results) if choices is None else choices:
        found += _MAKERS[choice["kind"]](results, choice)
    return found


def _suggested(results: dict[str, Any]) -> list[dict[str, Any]]:
    choices: list[dict[str, Any]] = []
    for nucleus in results["nuclei"]:
        all_rows = [rows_of(entry, nucleus) for entry in results["temperatures"]]
        if any(row["compatible_with_zero"] for rows in all_rows for row in rows):
            choices.append({"kind": "coupling", "nucleus": nucleus})
        several = [rows for rows in all_rows if len(rows) > 1 and all(map(is_crystallographic, rows))]
        if several:
            choices += [{"kind": "splitting", "nucleus": nucleus}, {"kind": "asymmetry", "nucleus": nucleus}]
    ensemble = results["campaign"]["ensemble"]
    is_flexible = ensemble["kind"] == "imported" or (
        ensemble["kind"] == "npt" and ensemble["pressure_control"] != "iso"
    )
    if is_flexible and _is_pseudocubic(results):
        choices.append({"kind": "strain"})
    return choices


def _is_pseudocubic(results: dict[str, Any]) -> bool:
    lengths = np.array([_lengths(entry)[0] for entry in results["temperatures"]])
    return bool((np.ptp(lengths, axis=1) < _PSEUDOCUBIC * lengths.mean(axis=1)).all())


def _couplings(results: dict[str, Any], choice: dict[str, Any]) -> list[OrderParameter]:
    """|Cq| of each site of a nucleus, or of the one that was named."""
    nucleus = str(choice["nucleus"])
    factor = abs(MHZ_PER_BARN_AU * results["nuclei"][nucleus]["moment_mb"] * 1e-3)

    def size(row: Row) -> Magnitude | str:
        tensor = _tensor(row)
        if isinstance(tensor, str):
            return tensor
        mean, covariance, degrees = tensor
        # For eta = 0 the Frobenius norm is sqrt(3/2) |Vzz|.
        scale = factor * np.sqrt(2 / 3) * _FROBENIUS
        return Magnitude.of_vector(scale * mean, np.outer(scale, scale) * covariance, degrees)

    series = site_series(results, nucleus, resolved_rows)
    wanted = {name: found for name, found in series.items() if _is_wanted(found, choice.get("site"))}
    return [
        _make("coupling", nucleus, str(found[0][1]["site"]), f"|Cq| of {name}", "MHz", found, size)
        for name, found in wanted.items()
    ]


def _is_wanted(found: list[tuple[float, Row]], site: str | None) -> bool:
    return site is None or any(str(row["site"]) == site for _, row in found)


def _asymmetries(results: dict[str, Any], choice: dict[str, Any]) -> list[OrderParameter]:
    """Eta of the named site, or of the site where it is largest at the lowest temperature with several sites."""
    nucleus = str(choice["nucleus"])
    series = site_series(results, nucleus, resolved_rows)
    wanted = {name: found for name, found in series.items() if _is_wanted(found, choice.get("site"))}
    if not wanted:
        return []
    name = max(wanted, key=lambda key: (len(wanted[key]), wanted[key][0][1]["eta"]))
    found = wanted[name]
    return [_make("asymmetry", nucleus, str(found[0][1]["site"]), f"eta of {name}", "", found, _asymmetry)]


def _asymmetry(row: Row) -> Magnitude | str:
    """(Vxx - Vyy)/Vzz and 2 Vxy/Vzz in the mean's principal axes: two components that vanish for an axial tensor."""
    tensor = _tensor(row)
    if isinstance(tensor, str):
        return tensor
    if row["compatible_with_zero"]:
        return "the tensor is compatible with zero"
    mean, covariance, degrees = tensor
    axial = axial_part(mean, covariance)
    if axial is None:
        return "eta is zero by the symmetry of the site"
    part, spread = axial
    scale = 2 / float(principal_values(six_to_matrix(mean))[2])
    return Magnitude.of_vector(scale * part, scale**2 * spread, degrees)


def _splittings(results: dict[str, Any], choice: dict[str, Any]) -> list[OrderParameter]:
    """Difference of Cq between the sites of a nucleus; for more than two, their spread on the same scale."""
    nucleus = str(choice["nucleus"])
    factor = MHZ_PER_BARN_AU * results["nuclei"][nucleus]["moment_mb"] * 1e-3

    def size(rows: list[Row]) -> Magnitude | str:
        if len(rows) < 2:
            return "its sites cannot be told apart"
        values, variances, degrees = [], [], []
        for row in rows:
            tensor = _tensor(row)
            if isinstance(tensor, str):
                return tensor
            mean, covariance, freedom = tensor
            _, axes = principal_axes(six_to_matrix(mean))
            linear = matrix_to_six(np.outer(axes[:, 2], axes[:, 2])) * _FROBENIUS**2
            values.append(factor * (linear @ mean))
            variances.append(factor**2 * (linear @ covariance @ linear))
            degrees.append(freedom)
        return _spread(np.array(values), np.array(variances), np.sqrt(2), min(degrees))

    found = [(entry["temperature_K"], resolved_rows(entry, nucleus)) for entry in results["temperatures"]]
    names = dict.fromkeys(str(row["site"]) for _, rows in found if len(rows) > 1 for row in rows)
    listed = f" ({' and '.join(names)})" if len(names) == 2 else ""
    return [_make("splitting", nucleus, None, f"Cq splitting of {nucleus}{listed}", "MHz", found, size)]


def _strains(results: dict[str, Any], choice: dict[str, Any]) -> list[OrderParameter]:
    """How far the lengths of the pseudo-cubic cell are from equal; |c/a - 1| in a tetragonal cell, in per cent."""

    def size(entry: dict[str, Any]) -> Magnitude | str:
        lengths, errors = _lengths(entry)
        if not np.isfinite(errors).all():
            return "too few samples for an error"
        return _spread(lengths, errors**2, 100 * np.sqrt(3 / 2) / lengths.mean())

    found = [(entry["temperature_K"], entry) for entry in results["temperatures"]]
    return [_make("strain", None, None, "lattice strain |c/a - 1|", "%", found, size)]


def _lengths(entry: dict[str, Any]) -> tuple[FloatArray, FloatArray]:
    """Mean a, b, c per cell and their errors, of shape ``(3,)``; NaN for unknown errors."""
    parts = [entry["lattice"]["pseudocubic"][name] for name in "abc"]
    return np.array([part["mean"] for part in parts]), np.array([part["error"] or np.nan for part in parts])


def _spread(values: FloatArray, variances: FloatArray, scale: float, degrees: float = np.inf) -> Magnitude | str:
    """Length of the deviations from the mean of independent values, times ``scale``."""
    if not variances.sum() > 0:
        return "too few samples for an error"
    projector = np.eye(len(values)) - 1 / len(values)
    covariance = scale**2 * projector @ np.diag(variances) @ projector
    return Magnitude.of_vector(scale * projector @ values, covariance, degrees)


def _tensor(row: Row) -> tuple[FloatArray, FloatArray, float] | str:
    """Mean six-vector, its covariance (6, 6) and the degrees of freedom of that; or why there is none."""
    if row["covariance_au"] is None:
        return "too few samples for an error"
    covariance = np.array(row["covariance_au"])
    if not np.trace(covariance) > 0:
        return "zero by the symmetry of the site"
    return np.array(row["tensor_au"]), covariance, float(row["degrees_of_freedom"])


def _make(
    kind: str,
    nucleus: str | None,
    site: str | None,
    name: str,
    unit: str,
    found: list[tuple[float, Any]],
    size: Callable[[Any], Magnitude | str],
) -> OrderParameter:
    temperatures, points, left_out = [], [], []
    for temperature, content in sorted(found, key=lambda pair: pair[0]):
        point = size(content)
        if isinstance(point, str):
            left_out.append(f"{temperature:g} K: {point}")
        else:
            temperatures.append(float(temperature))
            points.append(point)
    return OrderParameter(kind, nucleus, site, name, unit, tuple(temperatures), tuple(points), tuple(left_out))


_MAKERS: dict[str, Callable[[dict[str, Any], dict[str, Any]], list[OrderParameter]]] = {
    "coupling": _couplings,
    "splitting": _splittings,
    "asymmetry": _asymmetries,
    "strain": _strains,
}
