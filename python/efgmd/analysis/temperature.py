"""Analysis of one temperature: from its store to couplings per site, lattice and traces."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from efgmd.analysis.couplings import Coupling, coupling
from efgmd.analysis.lattice import LatticeAverage, unique_axes
from efgmd.analysis.sites import Site, SiteFinder, expand, fold
from efgmd.analysis.statistics import BlockAverage, Estimate, mean_over_members
from efgmd.campaign.sampling import cell_matrix
from efgmd.campaign.spec import RunSpec
from efgmd.campaign.worker import STORE_FILE
from efgmd.errors import StoreError
from efgmd.nuclei import Nucleus
from efgmd.store import Store
from efgmd.tensors import matrix_to_six, principal_values, rotate, six_to_matrix

FloatArray = NDArray[np.float64]

_RUNNING_POINTS = 60
_TRACE_POINTS = 50


class TemperatureAnalysis:
    """Couplings and lattice of one run.

    Parameters
    ----------
    nuclei
        Nuclei to report.
    framework, tolerance
        As in `SiteFinder`.
    cells
        Pseudo-cubic cells along the axes of the simulated cell.
    supercell
        Repeats of the structure file's cell. They are taken as equivalent: the symmetry search works on their average.
    """

    def __init__(
        self,
        nuclei: list[Nucleus],
        framework: tuple[str, ...] | None,
        tolerance: float,
        cells: tuple[int, int, int],
        supercell: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        self._nuclei, self._framework, self._tolerance = nuclei, framework, tolerance
        self._cells, self._supercell = cells, supercell

    def compute(self, folder: Path, start: Atoms) -> dict[str, Any]:
        """Analyse the store in a run's folder.

        Parameters
        ----------
        folder
            Folder of one temperature.
        start
            One repeat of the starting structure, with molecules intact.

        Returns
        -------
        dict
            JSON-able results of this temperature; see docs for its fields.

        Raises
        ------
        StoreError
            When the store is missing, or holds no block yet.
        """
        spec = RunSpec.read(folder)
        store = Store(folder / STORE_FILE)
        if store.identity != spec.identity:
            raise StoreError(f"{store.path} and {folder / 'run.json'} belong to different runs; run in a new folder")
        if len(store.block_steps) == 0:
            raise StoreError(f"{store.path} holds no complete block of samples yet; let the run continue")
        finder = self._find_sites(store, start)
        sites = expand(finder.sites, len(start), len(store.symbols) // len(start))
        efg, magnitude = store.block("efg"), store.block("abs_vzz")
        block_ps = spec.sampling_steps * spec.samples_per_block * spec.timestep_fs / 1000
        rows = [
            self._row(nucleus, site, efg[:, site.indices], magnitude[:, site.indices], block_ps)
            for nucleus in self._nuclei
            for site in sites
            if site.element == nucleus.element
        ]
        symmetry = finder.symmetry
        return {
            "temperature_K": spec.temperature,
            "folder": folder.name,
            "complete": len(store.sample_steps) >= spec.n_samples,
            "samples": len(store.sample_steps),
            "samples_planned": spec.n_samples,
            "blocks": len(store.block_steps),
            "block_ps": block_ps,
            "seed": spec.seed,
            "versions_of_run": store.header.get("versions", {}),
            "measured": {
                name: _scalar(BlockAverage().compute(store.sample(name)).estimate)
                for name in ("temperature", "pressure", "potential_energy")
            },
            "lattice": self._lattice(store),
            "symmetry": {
                "space_group": symmetry.space_group,
                "tolerance_angstrom": symmetry.tolerance,
                "tolerance_widened": symmetry.widened,
                "assumed_from_start": symmetry.assumed,
                "rms_deviation_angstrom": symmetry.rms_deviation,
                "max_deviation_angstrom": symmetry.max_deviation,
                "framework": list(self._framework or []),
            },
            "traces": _traces(store, spec),
            "sites": rows,
        }

    def _find_sites(self, store: Store, start: Atoms) -> SiteFinder:
        """Sites of one repeat of the mean structure."""
        scaled = fold(store.block("scaled").mean(axis=0), self._supercell)
        single = cell_matrix(store.block("cell").mean(axis=0)) / np.array(self._supercell)[:, None]
        mean = Atoms(start.numbers, scaled_positions=scaled, cell=single, pbc=True)
        return SiteFinder(self._framework, self._tolerance).compute(mean, start)

    def _lattice(self, store: Store) -> dict[str, Any]:
        means = LatticeAverage(self._cells).compute(store.sample("cell")).means
        names = ("a", "b", "c", "alpha", "beta", "gamma")
        return {
            "supercell": _named(names, means.parameters),
            "pseudocubic": _named(names[:3], means.per_cell),
            "volume": _scalar(means.volume),
            "cells": list(self._cells),
            "unique_axes": unique_axes(store.sample("cell"), self._cells),
        }

    def _row(
        self, nucleus: Nucleus, site: Site, efg: FloatArray, magnitude: FloatArray, block_ps: float
    ) -> dict[str, Any]:
        """One line of the table: a nucleus on a site; ``efg`` of shape ``(blocks, n, 6)``."""
        oriented = matrix_to_six(rotate(six_to_matrix(efg), site.rotations))
        over_time = BlockAverage().compute(oriented.mean(axis=1)).estimate
        over_nuclei = mean_over_members(oriented.mean(axis=0))
        estimate, origin = _larger(over_time, over_nuclei)
        found = coupling(nucleus, estimate)
        return {
            "nucleus": nucleus.name,
            "site": site.label,
            "count": len(site.indices),
            "atom_ids": [int(index) + 1 for index in site.indices],
            **_coupling_fields(found),
            "error_is_rough": not estimate.reliable,
            "cq_error_model_MHz": None,
            "eta_error_model": None,
            "error_from": origin,
            "tensor_au": [float(value) for value in over_time.mean],
            "abs_cq_instant_MHz": float(np.abs(nucleus.coupling_mhz(magnitude.mean()))),
            "spread_over_nuclei_au": float(np.sqrt(np.trace(np.cov(oriented.mean(axis=0), rowvar=False))))
            if len(site.indices) > 1
            else None,
            "correlation_ps": float(over_time.inefficiency * block_ps / 2),
            "independent_samples": float(over_time.n_independent),
            "running": _running(nucleus, oriented.mean(axis=1), block_ps),
        }


def _larger(over_time: Estimate, over_nuclei: Estimate) -> tuple[Estimate, str]:
    """Of the two error estimates, the larger one.

    Time blocks miss motions slower than the run; the spread over nuclei misses what all nuclei of a small cell do
    together. Each is a lower bound when its blind spot matters.
    """
    time_size = np.trace(over_time.covariance) if over_time.has_error else -1.0
    nuclei_size = np.trace(over_nuclei.covariance) if over_nuclei.has_error else -1.0
    if nuclei_size > time_size:
        independent = over_time.n_independent if over_time.has_error else over_nuclei.n_independent
        chosen = Estimate(
            over_time.mean, over_nuclei.covariance, over_nuclei.degrees, over_time.inefficiency, independent
        )
        return chosen, "spread over nuclei"
    return over_time, "time blocks" if over_time.has_error else "none"


def _running(nucleus: Nucleus, series: FloatArray, block_ps: float) -> dict[str, list[float]]:
    """|Cq| of the tensor averaged from the start to growing times, at most `_RUNNING_POINTS` of them."""
    means = np.cumsum(series, axis=0) / np.arange(1, len(series) + 1)[:, None]
    chosen = np.unique(np.linspace(0, len(series) - 1, min(_RUNNING_POINTS, len(series))).astype(int))
    values = np.abs(nucleus.coupling_mhz(principal_values(six_to_matrix(means[chosen]))[:, 2]))
    return {"time_ps": [float(time) for time in (chosen + 1) * block_ps], "abs_cq_MHz": [float(v) for v in values]}


def _traces(store: Store, spec: RunSpec) -> dict[str, list[float]]:
    """Temperature and volume against time since the start of production, averaged into at most `_TRACE_POINTS` bins."""
    time = (store.sample_steps - spec.equilibration_steps) * spec.timestep_fs / 1000
    series = {"time_ps": time, "temperature_K": store.sample("temperature"), "volume": store.sample("volume")}
    bins = np.array_split(np.arange(len(time)), min(_TRACE_POINTS, len(time)))
    return {name: [float(values[part].mean()) for part in bins] for name, values in series.items()}


def _coupling_fields(found: Coupling) -> dict[str, Any]:
    return {
        "cq_MHz": found.cq,
        "cq_error_sampling_MHz": found.cq_error,
        "cq_interval95_MHz": found.cq_interval,
        "cq_debiased_MHz": found.cq_debiased,
        "eta": found.eta,
        "eta_error_sampling": found.eta_error,
        "eta_interval95": found.eta_interval,
        "vzz_au": found.vzz,
        "sign_known": found.sign_known,
        "compatible_with_zero": found.is_zero,
        "nqr_MHz": list(found.nqr),
        "notes": list(found.notes),
    }


def _scalar(estimate: Estimate) -> dict[str, float | None]:
    error = float(estimate.error[0])
    return {"mean": float(estimate.mean[0]), "error": error if np.isfinite(error) else None}


def _named(names: tuple[str, ...], estimate: Estimate) -> dict[str, dict[str, float | None]]:
    return {
        name: {"mean": float(mean), "error": float(error) if np.isfinite(error) else None}
        for name, mean, error in zip(names, estimate.mean, estimate.error, strict=True)
    }
