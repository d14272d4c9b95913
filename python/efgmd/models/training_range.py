"""How far a centre's features are from those of the atoms that a model was trained on."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

_FLOOR = 0.01  # added to variances, in units of their mean: directions in which training atoms hardly differ
_WITHIN = 0.999  # share of atoms whose grade is below 1
_NEVER_SEEN = 1e-6  # unit of an element that no training atom belongs to: every grade is huge


class TrainingRange(nn.Module):
    """Grade of extrapolation: Mahalanobis distance of features from the training atoms, in units of what was seen.

    For F features x of an element with mean m and covariance C among its training atoms, the distance is
    d = sqrt((x - m)^T (C + c I)^-1 (x - m) / F), where c is a hundredth of the mean variance. A grade of 1 is the
    distance within which 999 of 1000 atoms of the training and validation frames are. (The farthest atom would be no
    unit: one broken frame in the data would set it. Validation frames count because the covariance of few atoms fits
    those too well.)

    Parameters
    ----------
    n_elements, n_features
        Number of elements, and of features of a centre.
    """

    means: torch.Tensor
    whitening: torch.Tensor
    units: torch.Tensor

    def __init__(self, n_elements: int, n_features: int) -> None:
        super().__init__()
        self._n_features = n_features
        self.register_buffer("means", torch.zeros(n_elements, 0))
        self.register_buffer("whitening", torch.zeros(n_elements, 0, 0))
        self.register_buffer("units", torch.zeros(n_elements))

    @property
    def known(self) -> bool:
        """Whether training atoms have been recorded."""
        return self.means.shape[1] > 0

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Take the sizes of the file if they fit: a model that did not record its training atoms has empty arrays."""
        n, f = len(self.units), self._n_features
        shapes = {"means": (n, f), "whitening": (n, f, f)}
        if all(getattr(state_dict.get(prefix + name), "shape", None) == shape for name, shape in shapes.items()):
            for name, shape in shapes.items():
                setattr(self, name, self.units.new_zeros(shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def record(
        self,
        training: Callable[[], Iterable[tuple[int, torch.Tensor]]],
        validation: Callable[[], Iterable[tuple[int, torch.Tensor]]],
    ) -> None:
        """Record the training atoms.

        Parameters
        ----------
        training, validation
            Each call gives all atoms of these frames, as index of the element and features ``(n, F)``.
        """
        n, f = len(self.units), self._n_features
        like: dict[str, Any] = {"dtype": torch.float64, "device": self.units.device}
        counts, sums, squares = [0] * n, torch.zeros(n, f, **like), torch.zeros(n, f, f, **like)
        for s, features in training():
            x = features.double()
            counts[s] += len(x)
            sums[s] += x.sum(0)
            squares[s] += x.T @ x
        means, whitening = torch.zeros_like(sums), torch.eye(f, **like).repeat(n, 1, 1)
        for s, count in enumerate(counts):
            if count > 1:
                means[s] = sums[s] / count
                variances, axes = torch.linalg.eigh(squares[s] / count - torch.outer(means[s], means[s]))
                floor = _FLOOR * float(variances.mean()) + 1e-12
                whitening[s] = axes / (variances.clamp(min=0.0) + floor).sqrt()
        self.means, self.whitening = means.to(self.units), whitening.to(self.units)
        distances: list[list[torch.Tensor]] = [[] for _ in range(n)]
        for s, features in chain(training(), validation()):
            distances[s].append(self._distances(s, features).cpu())
        for s, count in enumerate(counts):
            within = float(np.quantile(torch.cat(distances[s]).numpy(), _WITHIN)) if count > 1 else 0.0
            self.units[s] = max(within, _NEVER_SEEN)

    def _distances(self, s: int, features: torch.Tensor) -> torch.Tensor:
        return ((features - self.means[s]) @ self.whitening[s]).square().mean(1).sqrt()

    def forward(self, s: int, features: torch.Tensor) -> torch.Tensor:
        """Grades ``(n,)`` of centres of element ``s`` with features ``(n, F)``."""
        return self._distances(s, features) / self.units[s]
