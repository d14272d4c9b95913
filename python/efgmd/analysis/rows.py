"""One line of the table: Cq and eta of a nucleus on a site, with their errors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from efgmd.analysis.averaging import NucleusAverage, SiteSeries
from efgmd.analysis.convergence import Convergence, ConvergenceCheck, longer_factor
from efgmd.analysis.couplings import Coupling, compatible_with_zero, coupling
from efgmd.analysis.model_error import model_estimate, total_estimate
from efgmd.analysis.sites import Site
from efgmd.analysis.statistics import BlockAverage, Estimate, combine, mean_over_members
from efgmd.nuclei import Nucleus
from efgmd.tensors import principal_values, six_rotation, six_to_matrix

FloatArray = NDArray[np.float64]

_RUNNING_POINTS = 60


class SiteRows:
    """Turns the averages of a run into lines of the table.

    Parameters
    ----------
    average
        Mean tensors of the nuclei.
    series
        Series of the sites.
    block_ps
        Time between the frames that were averaged.
    impose_symmetry
        Whether what a site's symmetry forbids is removed from its tensors.
    instantaneous
        Whether the tensors of single frames are known.
    members
        Mean tensors of the nuclei (less those of the committee) of each of M members, ``(M, N, 6)``, if any.
    member_scales
        By element, error over spread of the committee.
    molecules
        Number of the molecule of each atom, of shape ``(N,)``: nuclei of one molecule move together, and count as one
        where the spread over nuclei tells the error. None if each nucleus has its own.
    """

    def __init__(
        self,
        average: NucleusAverage,
        series: SiteSeries,
        block_ps: float,
        *,
        impose_symmetry: bool = False,
        instantaneous: bool = True,
        members: FloatArray | None = None,
        member_scales: dict[str, float] | None = None,
        molecules: NDArray[np.int64] | None = None,
    ) -> None:
        self._average, self._series = average, series.series
        self._point_ps = block_ps * series.frames_per_point
        self._impose, self._instantaneous = impose_symmetry, instantaneous
        self._members, self._scales = members, member_scales or {}
        self._molecules = np.arange(len(average.mean)) if molecules is None else molecules

    def row(self, nucleus: Nucleus, number: int, site: Site, target: float | None = None) -> dict[str, Any]:
        """JSON-able fields of a nucleus on site ``number``; ``target`` is the error of Cq to reach, MHz."""
        projector = site.projector
        free = self._series[:, number]
        series = free @ projector if self._impose else free
        oriented = (self._average.mean[site.indices][:, None] @ six_rotation(site.rotations))[:, 0]
        oriented = oriented @ projector if self._impose else oriented
        over_time = BlockAverage().compute(series).estimate
        numbers, molecule = np.unique(self._molecules[site.indices], return_inverse=True)
        together = np.array([oriented[molecule == number].mean(axis=0) for number in range(len(numbers))])
        estimate, origin = combine(over_time, mean_over_members(together))
        found = coupling(nucleus, estimate)
        convergence = ConvergenceCheck().compute(series, over_time).found
        model = self._model(site, estimate)
        return {
            "nucleus": nucleus.name,
            "site": site.label,
            "count": len(site.indices),
            "atom_ids": [int(index) + 1 for index in site.indices],
            **_coupling_fields(found),
            "error_is_rough": not estimate.reliable,
            **_model_fields(nucleus, estimate, model),
            "error_from": origin,
            "tensor_au": [float(value) for value in estimate.mean],
            "covariance_au": estimate.covariance.tolist() if estimate.has_error else None,
            "degrees_of_freedom": estimate.degrees,
            "abs_cq_instant_MHz": self._instant(nucleus, site),
            "spread_over_nuclei_au": float(np.sqrt(np.trace(np.cov(oriented, rowvar=False))))
            if len(site.indices) > 1
            else None,
            "correlation_ps": float(over_time.inefficiency * self._point_ps / 2),
            "independent_samples": float(over_time.n_independent),
            "too_short": convergence.too_short,
            "too_short_reasons": list(convergence.reasons),
            "drift_p": convergence.drift_p,
            "run_longer": self._run_longer(found, convergence, target),
            "symmetrised": _symmetrised(nucleus, estimate, projector),
            "running": _running(nucleus, series, self._point_ps),
        }

    def _instant(self, nucleus: Nucleus, site: Site) -> float | None:
        if not self._instantaneous:
            return None
        return float(np.abs(nucleus.coupling_mhz(self._average.abs_vzz[site.indices].mean())))

    def _model(self, site: Site, estimate: Estimate) -> Estimate | None:
        if self._members is None:
            return None
        turned = (self._members[:, site.indices][:, :, None] @ six_rotation(site.rotations))[:, :, 0].mean(axis=1)
        turned = turned @ site.projector if self._impose else turned
        return model_estimate(estimate.mean, turned, self._scales.get(site.element, 1.0))

    def _run_longer(self, found: Coupling, convergence: Convergence, target: float | None) -> dict[str, Any] | None:
        if target is None or found.cq_error is None:
            return None
        factor = longer_factor(found.cq_error, target)
        return {
            "target_cq_error_MHz": target,
            "factor": factor,
            "production_ps": factor * len(self._series) * self._point_ps,
            "is_rough": convergence.too_short,
        }


def _symmetrised(nucleus: Nucleus, estimate: Estimate, projector: FloatArray) -> dict[str, Any]:
    """Cq and eta of the part of the tensor that the site's symmetry allows, and a test of the part that it forbids."""
    allowed = Estimate(
        estimate.mean @ projector,
        projector.T @ estimate.covariance @ projector,
        estimate.degrees,
        estimate.inefficiency,
        estimate.n_independent,
    )
    rejector = np.eye(6) - projector
    forbidden = Estimate(
        estimate.mean @ rejector, rejector.T @ estimate.covariance @ rejector, estimate.degrees, 1.0, 1.0
    )
    found = coupling(nucleus, allowed)
    values = (found.cq, found.cq_error, found.cq_interval, found.eta, found.eta_error, found.eta_interval)
    names = ("cq_MHz", "cq_error_sampling_MHz", "cq_interval95_MHz", "eta", "eta_error_sampling", "eta_interval95")
    return {
        "free_components": round(float(np.trace(projector))),
        "tensor_au": [float(value) for value in allowed.mean],
        **dict(zip(names, values, strict=True)),
        "forbidden_au": float(np.linalg.norm(six_to_matrix(forbidden.mean))),
        "forbidden_is_noise": bool(compatible_with_zero(forbidden)) if estimate.has_error else None,
    }


def _model_fields(nucleus: Nucleus, sampling: Estimate, model: Estimate | None) -> dict[str, Any]:
    """Errors of the EFG model, and of both together; null without a committee."""
    names = [
        field.format(kind)
        for kind in ("model", "total")
        for field in ("cq_error_{}_MHz", "cq_interval95_{}_MHz", "eta_error_{}", "eta_interval95_{}")
    ]
    if model is None:
        return dict.fromkeys(names)
    alone = coupling(nucleus, model)
    both = coupling(nucleus, total_estimate(sampling, model)) if sampling.has_error else None
    values: list[Any] = []
    for found in (alone, both):
        values += [found.cq_error, found.cq_interval, found.eta_error, found.eta_interval] if found else [None] * 4
    return dict(zip(names, values, strict=True))


def _running(nucleus: Nucleus, series: FloatArray, block_ps: float) -> dict[str, list[float]]:
    """|Cq| of the tensor averaged from the start to growing times, at most `_RUNNING_POINTS` of them."""
    means = np.cumsum(series, axis=0) / np.arange(1, len(series) + 1)[:, None]
    chosen = np.unique(np.linspace(0, len(series) - 1, min(_RUNNING_POINTS, len(series))).astype(int))
    values = np.abs(nucleus.coupling_mhz(principal_values(six_to_matrix(means[chosen]))[:, 2]))
    return {"time_ps": [float(time) for time in (chosen + 1) * block_ps], "abs_cq_MHz": [float(v) for v in values]}


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
        "pq_squared_MHz2": found.pq_squared,
        "pq_squared_error_MHz2": found.pq_squared_error,
        "nqr_MHz": list(found.nqr),
        "nqr_error_sampling_MHz": None if found.nqr_error is None else list(found.nqr_error),
        "notes": list(found.notes),
    }
