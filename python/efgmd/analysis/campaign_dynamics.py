"""Dynamics of a campaign: correlation times, T1 and T2 of every site and temperature, in dynamics.json."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efgmd.analysis.correlation_time import CorrelationTime
from efgmd.analysis.dynamics import RelaxationTimes, SiteDynamics, Value
from efgmd.analysis.relaxation import Decay
from efgmd.analysis.run_sites import RunSites
from efgmd.analysis.spectra import MAX_RATIO, quadrupole_frequency
from efgmd.analysis.store_series import StoreSeries
from efgmd.analysis.table import MANY_SITES
from efgmd.campaign.config import NucleusChoice
from efgmd.campaign.provenance import machine, versions
from efgmd.errors import ConfigError, DataError, StoreError
from efgmd.files import replacing, write_whole
from efgmd.larmor import larmor_mhz
from efgmd.nuclei import Nucleus

FloatArray = NDArray[np.float64]

DYNAMICS_FILE = "dynamics.json"
CSV_FILE = "dynamics.csv"
FORMAT = "efgmd-dynamics"
SCHEMA = 1
_POINTS = 160
_DENSITY_POINTS = 60
_COLUMNS = (
    "temperature_K",
    "nucleus",
    "site",
    "count",
    "tau_ps",
    "tau_error_ps",
    "tau_resolved",
    "fluctuating_cq_MHz",
    "narrowing",
    "fast_motion",
    "larmor_MHz",
    "T1_s",
    "T1_error_s",
    "T2_s",
    "T2_error_s",
    "T2_resolved_s",
    "T2_resolved_error_s",
    "notes",
)


class CampaignDynamics:
    """Correlation times and relaxation of all sites of a campaign.

    Parameters
    ----------
    nuclei
        Names to treat; None for all of the campaign.
    field_tesla
        Magnetic field; 0 for extreme narrowing.
    direction
        Of the field in the frame of the simulated cell, at the first atom of each site; None for the powder average.
    max_lag_ps
        Longest lag; None for an eighth of the run.
    """

    def __init__(
        self,
        nuclei: list[str] | None = None,
        field_tesla: float = 0.0,
        direction: tuple[float, float, float] | None = None,
        max_lag_ps: float | None = None,
    ) -> None:
        self._names, self._field, self._direction, self._max_lag = nuclei, field_tesla, direction, max_lag_ps
        self._results: dict[str, Any] | None = None

    def compute(self, output: Path, record: dict[str, Any]) -> "CampaignDynamics":
        """Analyse all temperatures that have samples.

        Parameters
        ----------
        output
            Output folder of `efgmd run`.
        record
            Its campaign.json.

        Raises
        ------
        ConfigError
            For nuclei that are not in the campaign.
        DataError
            When the stores hold means over several samples, or too few frames.
        StoreError
            When no temperature has samples.
        """
        nuclei = self._chosen(
            [NucleusChoice.model_validate(choice).nucleus() for choice in record["campaign"]["nuclei"]]
        )
        temperatures, missing = [], []
        for name in record["folders"]:
            try:
                run = RunSites(output, record, name)
            except StoreError as error:
                missing.append(str(error))
                continue
            temperatures.append(self._temperature(run, nuclei))
        if not temperatures:
            raise StoreError(missing[0])
        temperatures.sort(key=lambda entry: entry["temperature_K"])
        self._results = {
            "format": FORMAT,
            "schema": SCHEMA,
            "missing": missing,
            "field_T": self._field,
            "direction": list(self._direction) if self._direction else None,
            "nuclei": {name: record["nuclei"][name] for name in (nucleus.name for nucleus in nuclei)},
            "versions": versions(),
            "machine": machine(),
            "temperatures": temperatures,
        }
        return self

    def _chosen(self, nuclei: list[Nucleus]) -> list[Nucleus]:
        if self._names is None:
            return nuclei
        known = {nucleus.name: nucleus for nucleus in nuclei}
        for name in self._names:
            if name not in known:
                raise ConfigError(f"{name} is not among the nuclei of the campaign: {', '.join(known)}")
        return [known[name] for name in dict.fromkeys(self._names)]

    def _temperature(self, run: RunSites, nuclei: list[Nucleus]) -> dict[str, Any]:
        run.require_frames()
        lag = None if self._max_lag is None else max(1, round(self._max_lag / run.interval_ps))
        sites = []
        for nucleus in nuclei:
            larmor = larmor_mhz(nucleus.name, self._field) if self._field else 0.0
            found = [site for site in run.sites if site.element == nucleus.element]
            if len(found) > MANY_SITES:
                # No usable symmetry: what all nuclei do on average, each about its own mean.
                everyone = np.sort(np.concatenate([site.indices for site in found]))
                dynamics = SiteDynamics(nucleus, run.interval_ps, self._direction, lag, mean="nucleus")
                dynamics.compute(StoreSeries(run.store, everyone, run.followed.apply))
                head = {"nucleus": nucleus.name, "site": "", "count": len(everyone)}
                sites.append(head | site_fields(nucleus, dynamics, larmor))
                continue
            for site in found:
                dynamics = SiteDynamics(nucleus, run.interval_ps, self._direction, lag)
                dynamics.compute(StoreSeries(run.store, site.indices, run.followed.apply), site.rotations)
                head = {"nucleus": nucleus.name, "site": site.label, "count": len(site.indices)}
                sites.append(head | site_fields(nucleus, dynamics, larmor))
        return {
            "temperature_K": run.run.temperature,
            "folder": run.store.path.parent.name,
            "interval_ps": run.interval_ps,
            "frames": len(run.store.block_steps),
            "space_group": run.symmetry.space_group,
            "sites": sites,
        }

    @property
    def results(self) -> dict[str, Any]:
        """What dynamics.json holds.

        Raises
        ------
        DataError
            Before `compute`.
        """
        if self._results is None:
            raise DataError("call compute(output, record) before asking for its results")
        return self._results

    def write(self, folder: Path) -> None:
        """Write dynamics.json and dynamics.csv."""
        write_whole(folder / DYNAMICS_FILE, json.dumps(self.results, indent=1, allow_nan=False) + "\n")
        with replacing(folder / CSV_FILE) as unfinished, open(unfinished, "w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, _COLUMNS, extrasaction="ignore")
            writer.writeheader()
            for entry in self.results["temperatures"]:
                for site in entry["sites"]:
                    row = site | (site["relaxation"] or {}) | {"notes": "; ".join(site["notes"])}
                    writer.writerow({"temperature_K": entry["temperature_K"]} | row)


def site_fields(nucleus: Nucleus, dynamics: SiteDynamics, larmor: float) -> dict[str, Any]:
    """JSON-able results of one site."""
    time = dynamics.time
    notes = _notes(dynamics, larmor)
    if larmor and quadrupole_frequency(nucleus.spin, dynamics.mean_cq_mhz) > MAX_RATIO * larmor:
        notes.append(
            "the mean coupling is not small against the Larmor frequency: the levels are not those of the field, and "
            "T1 and T2 of this high-field theory are estimates of their size only"
        )
    try:
        relaxation = _relaxation_fields(dynamics.relaxation(larmor))
    except DataError as error:
        relaxation = None
        notes.append(str(error))
    fluctuating = dynamics.fluctuating_cq_mhz
    return {
        "tau_ps": time.tau_ps,
        "tau_error_ps": _number(time.error_ps),
        "tau_resolved": time.resolved,
        "tau_window_ps": time.window_ps,
        "tau_by_order_ps": [_number(value.value) for value in dynamics.order_times],
        "fit": _fit(time, stretched=False),
        "stretched_fit": _fit(time, stretched=True),
        "fluctuating_cq_MHz": fluctuating.value,
        "fluctuating_cq_error_MHz": _number(fluctuating.error),
        "mean_cq_MHz": dynamics.mean_cq_mhz,
        "narrowing": dynamics.narrowing,
        "fast_motion": dynamics.fast_motion,
        "relaxation": relaxation,
        "correlation": _correlation_fields(dynamics),
        "spectral_density": _density_fields(dynamics),
        "notes": notes,
    }


def _notes(dynamics: SiteDynamics, larmor: float) -> list[str]:
    time, notes = dynamics.time, []
    if not time.resolved:
        notes.append(
            f"correlations do not decay within {dynamics.correlation.lags_ps[-1]:.3g} ps: motion is slower than the "
            "run, or nuclei of the site differ; tau and 1/T1 are lower bounds at low field"
        )
    elif not dynamics.fast_motion:
        notes.append(
            f"2 pi Cq tau = {dynamics.narrowing:.2g}: motion is not fast against the coupling, so neither the averaged "
            "tensor nor this relaxation theory holds"
        )
    if not time.sampled_finely:
        notes.append("much of the fluctuation is lost within one sampling interval; sample more often")
    if larmor and time.resolved and larmor * 1e6 * time.tau_ps * 1e-12 * 2 * np.pi > 0.1:
        notes.append("motion is not fast against the Larmor period: T1 depends on the field")
    return notes


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _fit(time: CorrelationTime, stretched: bool) -> dict[str, float] | None:
    try:
        fit = time.fit(stretched)
    except DataError:
        return None
    fields = {"amplitude": fit.amplitude, "tau_ps": fit.tau_ps}
    return fields | {"beta": fit.beta, "mean_tau_ps": fit.mean_tau_ps} if stretched else fields


def _timed(value: Value, name: str) -> dict[str, float | None]:
    return {f"{name}_s": _number(value.value), f"{name}_error_s": _number(value.error)}


def _decay(decay: Decay) -> dict[str, list[float]]:
    return {"rates_per_s": decay.rates.tolist(), "weights": decay.weights.tolist()}


def _relaxation_fields(found: RelaxationTimes) -> dict[str, Any]:
    central = None
    if found.central_longitudinal is not None and found.central_t2 is not None:
        central = {"recovery": _decay(found.central_longitudinal)} | _timed(found.central_t2, "T2")
    return {
        "larmor_MHz": found.larmor_mhz,
        "densities_rad2_per_s": found.densities.tolist(),
        **_timed(found.t1, "T1"),
        **_timed(found.t2, "T2"),
        **_timed(found.t2_resolved, "T2_resolved"),
        "recovery": _decay(found.longitudinal),
        "decay": _decay(found.transverse),
        "central_transition": central,
    }


def _correlation_fields(dynamics: SiteDynamics) -> dict[str, Any]:
    """Correlation functions at up to `_POINTS` lags, dense at short ones; normalised to the fluctuating part at 0."""
    correlation = dynamics.correlation
    lags = correlation.lags_ps
    chosen = np.unique(np.append(0, np.geomspace(1, len(lags) - 1, _POINTS).astype(int)))
    value, error = correlation.estimate(lambda matrix: np.einsum("taa->t", matrix[chosen]) / np.trace(matrix[0]))
    by_order = dynamics.irreducible[chosen]
    plateau = float(np.trace(correlation.mean_matrix) / np.trace(correlation.matrix[0]))
    return {
        "lag_ps": lags[chosen].tolist(),
        "invariant": value.tolist(),
        "invariant_error": [_number(item) for item in error],
        "by_order": (by_order / by_order[0]).T.tolist(),
        "mean_part": plateau,
    }


def _density_fields(dynamics: SiteDynamics) -> dict[str, Any]:
    """Spectral densities on a logarithmic grid of frequencies that the window resolves, and at zero."""
    window, interval = dynamics.time.window_ps, dynamics.correlation.lags_ps[1]
    highest = 1e6 / (4 * interval)  # MHz
    frequencies = np.append(0.0, np.geomspace(min(1e4 / window, highest / 100), highest, _DENSITY_POINTS))
    return {
        "frequency_MHz": frequencies.tolist(),
        "J_rad2_per_s": dynamics.spectral_density(frequencies).T.tolist(),
    }
