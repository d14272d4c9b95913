"""The phase transition that a campaign's results reveal, with an interval and what speaks against it."""

from typing import Any

import numpy as np

from efgmd.analysis.change_point import ChangePoint, differs_somewhere, find_change, rises_from_zero
from efgmd.analysis.landau import FIRST_ORDER, POWER_LAW, TRICRITICAL, Family, LandauFit, fit, fixed
from efgmd.analysis.order_parameters import OrderParameter, order_parameters
from efgmd.analysis.transition_words import agreement, sentence, summary
from efgmd.errors import DataError

SCHEMA = 1
_CURVE_POINTS = 80


class TransitionAnalysis:
    """Transition temperature from order parameters that vanish on heating.

    Parameters
    ----------
    choices
        As in `efgmd.analysis.order_parameters.order_parameters`.
    law
        ``any``, ``power`` or ``first-order``: laws over which the interval is taken.
    exponent
        Fixes the exponent of the power law, which is then the only law.
    """

    def __init__(
        self, choices: list[dict[str, Any]] | None = None, law: str = "any", exponent: float | None = None
    ) -> None:
        self._choices, self._law, self._exponent = choices, law, exponent
        self._entry: dict[str, Any] | None = None

    @property
    def families(self) -> tuple[Family, ...]:
        """Laws over which the interval is taken."""
        if self._exponent is not None:
            return (fixed(self._exponent),)
        return {"any": (POWER_LAW, *FIRST_ORDER), "power": (POWER_LAW,), "first-order": FIRST_ORDER}[self._law]

    def compute(self, results: dict[str, Any]) -> "TransitionAnalysis":
        """Analyse results as they are in results.json."""
        found = [self.analyze(series) for series in order_parameters(results, self._choices)]
        temperatures = sorted(entry["temperature_K"] for entry in results["temperatures"])
        self._entry = {
            "schema": SCHEMA,
            "law": self._law,
            "exponent": self._exponent,
            "order_parameters": found,
            **summary(found, temperatures),
            "agreement": agreement(found, suggested=self._choices is None),
        }
        return self

    @property
    def entry(self) -> dict[str, Any]:
        """The entry ``transition`` of results.json.

        Raises
        ------
        DataError
            Before `compute`.
        """
        if self._entry is None:
            raise DataError("call compute(results) before asking for its results")
        return self._entry

    def analyze(self, series: OrderParameter) -> dict[str, Any]:
        """Change point and fits of one order parameter, JSON-able."""
        entry: dict[str, Any] = {
            "name": series.name,
            "kind": series.kind,
            "nucleus": series.nucleus,
            "site": series.site,
            "unit": series.unit,
            "points": [
                {
                    "temperature_K": temperature,
                    "size": point.size,
                    "noise": point.noise,
                    "components": point.components,
                    "degrees": point.degrees if np.isfinite(point.degrees) else None,
                    "debiased": point.debiased,
                    "interval95": list(point.interval),
                    "compatible_with_zero": point.is_zero,
                }
                for temperature, point in zip(series.temperatures, series.points, strict=True)
            ],
            "left_out": list(series.left_out),
            "state": "too few",
            "bayes_factor": None,
            "change_interval95_K": None,
            "tc_K": None,
            "interval95_K": None,
            "fits": [],
            "curve": None,
        }
        if len(series.points) >= 2:
            self._locate(entry, series)
        return entry | {"text": sentence(entry)}

    def _locate(self, entry: dict[str, Any], series: OrderParameter) -> None:
        change = find_change(series.temperatures, series.points)
        entry["state"] = _state(change, series)
        entry["bayes_factor"] = change.bayes_factor
        if entry["state"] not in ("transition", "open"):
            return
        entry["change_interval95_K"] = list(change.interval)
        inside = entry["state"] == "transition"
        best = fit(series.temperatures, series.points, self.families, inside)
        entry |= {"tc_K": best.tc, "interval95_K": list(best.interval)}
        entry["fits"] = [_fit_entry(best, "all laws", series)]
        if self._exponent is None:
            alone = self.families if len(self.families) > 1 else ()
            for family in (*alone, *map(fixed, TRICRITICAL)):
                alone_fit = fit(series.temperatures, series.points, [family], inside)
                entry["fits"].append(_fit_entry(alone_fit, "this law", series))
        lowest, highest = series.temperatures[0], series.temperatures[-1]
        kelvin = np.unique(np.append(np.linspace(lowest, highest, _CURVE_POINTS), np.clip(best.tc, lowest, highest)))
        entry["curve"] = {"temperature_K": kelvin.tolist(), "value": best.curve(kelvin, lowest).tolist()}


def _state(change: ChangePoint, series: OrderParameter) -> str:
    """What the change point shows; it knows falling series only, so whether the points are one is asked first."""
    if rises_from_zero(series.points) or (not change.any_order and differs_somewhere(series.points)):
        return "not falling"
    if not change.any_order:
        return "zero"
    if change.ordered_throughout:
        return "ordered"
    return "transition" if change.inside else "open"


def _fit_entry(found: LandauFit, role: str, series: OrderParameter) -> dict[str, Any]:
    return {
        "role": role,
        "law": found.family.name,
        "tc_K": found.tc,
        "interval95_K": list(found.interval),
        "exponent": found.parameter if found.family.exponents else None,
        "exponent_interval95": list(found.exponent_interval) if found.exponent_interval else None,
        "tc_minus_t0_K": None if found.family.exponents else found.parameter,
        "amplitude": found.amplitude,
        "deviance": found.deviance,
        "p_value": found.p_value,
        "error_scale": found.scale,
        "points": len(series.points),
    }
