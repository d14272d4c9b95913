"""How far a centre's features are from those of the atoms that a model was trained on."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import torch
from torch import nn

_FLOOR = 1e-4  # smallest variance that counts, in units of the features' mean variance
_NEVER_SEEN = 1e-6  # limit of an element that no training atom belongs to: every grade is huge


class TrainingRange(nn.Module):
    """Grade of extrapolation: Mahalanobis distance of features from the training atoms, over the largest that was seen.

    For features x of an element with mean m and covariance C among its training atoms, the distance is
    d = sqrt((x - m)^T C^-1 (x - m) / F) with F features. A grade of 1 is as far as the farthest atom of the training
    and validation frames. (The latter count because the covariance of few atoms fits them too well.)

    Parameters
    ----------
    n_elements
        Number of elements.
    """

    means: torch.Tensor
    whitening: torch.Tensor
    limits: torch.Tensor

    def __init__(self, n_elements: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(n_elements, 0))
        self.register_buffer("whitening", torch.zeros(n_elements, 0, 0))
        self.register_buffer("limits", torch.zeros(n_elements))

    @property
    def known(self) -> bool:
        """Whether training atoms have been recorded."""
        return self.means.shape[1] > 0

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Take the sizes of the file: a model that has not recorded its training atoms stores empty arrays."""
        for name, buffer in list(self.named_buffers()):
            given = state_dict.get(prefix + name)
            if given is not None:
                setattr(self, name, buffer.new_zeros(given.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def record(
        self,
        training: Callable[[], Iterable[tuple[int, torch.Tensor]]],
        validation: Callable[[], Iterable[tuple[int, torch.Tensor]]],
        n_features: int,
    ) -> None:
        """Record the training atoms.

        Parameters
        ----------
        training, validation
            Each call gives all atoms of these frames, as index of the element and features ``(n, n_features)``.
        n_features
            Features of a centre.
        """
        n = len(self.limits)
        like: dict[str, Any] = {"dtype": torch.float64, "device": self.limits.device}
        counts, sums = [0] * n, torch.zeros(n, n_features, **like)
        squares = torch.zeros(n, n_features, n_features, **like)
        for s, features in training():
            x = features.double()
            counts[s] += len(x)
            sums[s] += x.sum(0)
            squares[s] += x.T @ x
        means, whitening = torch.zeros_like(sums), torch.eye(n_features, **like).repeat(n, 1, 1)
        for s, count in enumerate(counts):
            if count < 2:
                continue
            means[s] = sums[s] / count
            covariance = squares[s] / count - torch.outer(means[s], means[s])
            values, vectors = torch.linalg.eigh(covariance)
            floor = _FLOOR * float(values.mean()) + 1e-12
            whitening[s] = vectors / (values.clamp(min=0.0) + floor).sqrt()
        self.means, self.whitening = means.to(self.limits), whitening.to(self.limits)
        limits = torch.full((n,), _NEVER_SEEN, **like)
        for s, features in chain(training(), validation()):
            if counts[s] > 1:
                limits[s] = torch.maximum(limits[s], self._distances(s, features).max().double())
        self.limits = limits.to(self.limits)

    def _distances(self, s: int, features: torch.Tensor) -> torch.Tensor:
        return ((features - self.means[s]) @ self.whitening[s]).square().mean(1).sqrt()

    def forward(self, s: int, features: torch.Tensor) -> torch.Tensor:
        """Grades ``(n,)`` of centres of element ``s`` with features ``(n, F)``."""
        return self._distances(s, features) / self.limits[s]
