"""Quantities of a campaign that vanish at a transition, as lengths with their noise, against temperature."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from efgmd.analysis.couplings import axial_part
from efgmd.analysis.magnitude import Magnitude
from efgmd.analysis.series import Row, is_crystallographic, resolved_rows, rows_of, site_series, why_absent
from efgmd.errors import StoreError
from efgmd.nuclei import MHZ_PER_BARN_AU
from efgmd.tensors import matrix_to_six, principal_axes, principal_values, six_to_matrix

FloatArray = NDArray[np.float64]

# Acts on six-vectors xx yy zz xy xz yz as the Frobenius norm acts on matrices.
_FROBENIUS = np.sqrt(np.array([1.0, 1, 1, 2, 2, 2]))
# Lengths that scatter less than this share of them scatter by rounding only; angles likewise, in degrees.
_ROUNDING, _ROUNDING_DEGREES = 1e-7, 1e-5


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
        merge at some temperature, and the strain where the lengths of the cell vary and are equal within error, with
        right angles, at some temperature.

    Raises
    ------
    StoreError
        If the strain is asked for and the results are of an efgmd that did not write the covariance of the lengths.
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
    if any(map(_looks_cubic, results["temperatures"])):
        choices.append({"kind": "strain"})
    return choices


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

    return [
        _make("coupling", nucleus, site, f"|Cq| of {name}", "MHz", found, size)
        for name, site, found in _wanted(results, nucleus, choice.get("site"))
    ]


def _wanted(
    results: dict[str, Any], nucleus: str, site: str | None
) -> list[tuple[str, str | None, list[tuple[float, Row | str]]]]:
    """Name, site, and at all temperatures row or reason why there is none, of the named site or of all sites."""
    series = site_series(results, nucleus, resolved_rows)
    wanted = {name: found for name, found in series.items() if _is_wanted(found, site)}
    if not wanted:
        return [(f"{nucleus} {site or ''}".rstrip(), site, _completed(results, nucleus, []))]
    return [(name, str(found[0][1]["site"]), _completed(results, nucleus, found)) for name, found in wanted.items()]


def _completed(results: dict[str, Any], nucleus: str, found: list[tuple[float, Row]]) -> list[tuple[float, Row | str]]:
    known = {temperature for temperature, _ in found}
    absent = [entry for entry in results["temperatures"] if entry["temperature_K"] not in known]
    return [*found, *((entry["temperature_K"], why_absent(entry, nucleus)) for entry in absent)]


def _is_wanted(found: list[tuple[float, Row]], site: str | None) -> bool:
    return site is None or any(str(row["site"]) == site for _, row in found)


def _asymmetries(results: dict[str, Any], choice: dict[str, Any]) -> list[OrderParameter]:
    """Eta of the named site, or of the site where it is largest at the lowest temperature with several sites."""
    nucleus = str(choice["nucleus"])

    def rank(candidate: tuple[str, str | None, list[tuple[float, Row | str]]]) -> tuple[int, float]:
        rows = [row for _, row in candidate[2] if not isinstance(row, str)]
        return len(rows), rows[0]["eta"] if rows else 0.0

    name, site, found = max(_wanted(results, nucleus, choice.get("site")), key=rank)
    return [_make("asymmetry", nucleus, site, f"eta of {name}", "", found, _asymmetry)]


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

    at_each = [(entry, resolved_rows(entry, nucleus)) for entry in results["temperatures"]]
    names = dict.fromkeys(str(row["site"]) for _, rows in at_each if len(rows) > 1 for row in rows)
    found = [(entry["temperature_K"], rows or why_absent(entry, nucleus)) for entry, rows in at_each]
    listed = f" ({' and '.join(names)})" if len(names) == 2 else ""
    return [_make("splitting", nucleus, None, f"Cq splitting of {nucleus}{listed}", "MHz", found, size)]


def _strains(results: dict[str, Any], choice: dict[str, Any]) -> list[OrderParameter]:
    """How far the lengths of the pseudo-cubic cell are from equal; |c/a - 1| in a tetragonal cell, in per cent."""
    found = [(entry["temperature_K"], entry) for entry in results["temperatures"]]
    return [_make("strain", None, None, "lattice strain |c/a - 1|", "%", found, _strain)]


def _strain(entry: dict[str, Any]) -> Magnitude | str:
    """Deviation of a, b, c from their mean, with the covariance of the three: a cell breathes as a whole."""
    lattice = entry["lattice"]
    if "pseudocubic_covariance" not in lattice:
        raise StoreError("these results have no covariance of the cell's lengths: run `efgmd analyze` again")
    if lattice["pseudocubic_covariance"] is None:
        return "too few samples for an error"
    lengths = np.array([lattice["pseudocubic"][name]["mean"] for name in "abc"])
    projector = np.eye(3) - 1 / 3
    covariance = projector @ np.array(lattice["pseudocubic_covariance"]) @ projector
    if np.trace(covariance) <= (_ROUNDING * lengths.mean()) ** 2:
        return "the lengths of the cell are fixed, or vary only together"
    scale = 100 * np.sqrt(3 / 2) / lengths.mean()
    return Magnitude.of_vector(scale * projector @ lengths, scale**2 * covariance, lattice["pseudocubic_degrees"])


def _looks_cubic(entry: dict[str, Any]) -> bool:
    """Whether the lengths of a cell that can vary are equal within error (95 %), and its angles right."""
    strain = _strain(entry)
    if isinstance(strain, str) or not strain.is_zero:
        return False
    angles = [entry["lattice"]["supercell"][name] for name in ("alpha", "beta", "gamma")]
    wide = float(t.ppf(0.975, strain.degrees))
    return all(abs(angle["mean"] - 90) <= wide * angle["error"] + _ROUNDING_DEGREES for angle in angles)


def _spread(values: FloatArray, variances: FloatArray, scale: float, degrees: float) -> Magnitude | str:
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
        point = content if isinstance(content, str) else size(content)
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
