"""The EFG model's own error from its committee, kept apart from the sampling error."""

import numpy as np
from numpy.typing import ArrayLike

from efgmd.analysis.statistics import Estimate
from efgmd.errors import DataError


def model_estimate(mean: ArrayLike, deviations: ArrayLike, scale: float) -> Estimate:
    """Error of a site's mean tensor that comes from the EFG model.

    The error of a model at a site is partly the same in all frames, and that part does not average out. So each
    member's tensors are averaged over frames and nuclei first, and the members' means compared.

    Parameters
    ----------
    mean
        Mean six-vector of the committee, a.u.
    deviations
        Mean six-vector of each of M members less that of the committee, of shape ``(M, 6)``.
    scale
        Error over spread of the committee, calibrated on held-out data (`efgmd.models.EFGModel.uncertainty`).

    Raises
    ------
    DataError
        For fewer than two members.
    """
    members = np.asarray(deviations, dtype=np.float64)
    if len(members) < 2:
        raise DataError(f"a committee has at least two members, got {len(members)}")
    covariance = scale**2 * np.cov(members, rowvar=False, ddof=1)
    return Estimate(np.asarray(mean, dtype=np.float64), covariance, len(members) - 1, 1.0, float(len(members)))


def total_estimate(sampling: Estimate, model: Estimate) -> Estimate:
    """Mean of ``sampling`` with both errors, taken as independent; degrees of freedom after Welch and Satterthwaite."""
    sizes = np.array([np.trace(sampling.covariance), np.trace(model.covariance)])
    degrees = np.array([sampling.degrees, model.degrees])
    total = sizes.sum()
    effective = total**2 / np.sum(sizes**2 / degrees) if total > 0.0 else degrees.min()
    return Estimate(
        sampling.mean,
        sampling.covariance + model.covariance,
        max(1, int(effective)),
        sampling.inefficiency,
        sampling.n_independent,
    )
