"""Read-outs of an EFG model's network: tensors of one element from its features."""

import torch
from torch import nn

from efgmd.models.backbone import ElementBackbone, mlp
from efgmd.models.products import ProductTable, paths, product, table

_LIMIT = 5.0  # largest norm of a feature, in units of the root mean square of its components (a typical norm is 2.2)


class TensorHead(nn.Module):
    """l = 2 read-outs of one element: products up to order 4, mixed linearly and gated by invariants.

    Parameters
    ----------
    backbone
        The element's backbone, for the shapes of its features.
    outputs
        Number of gated l = 2 channels.
    hidden
        Width of the gate's hidden layer.
    committee
        Number of read-outs that share the features.
    """

    feature_scale: torch.Tensor

    def __init__(self, backbone: ElementBackbone, outputs: int, hidden: int, committee: int):
        super().__init__()
        rows, lmax = backbone.basis.harmonics, backbone.basis.lmax
        second = paths(lmax, lmax, (2,), symmetric=True)
        mixed = tuple(p for p in paths(lmax, lmax, (2,)) if p.l1 > 0)
        fourth = tuple(p for p in second if p.l1 > 0)
        self.paths = second + tuple(p.shifted(rows, 0) for p in mixed) + tuple(p.shifted(rows, rows) for p in fourth)
        self.rows = backbone.rows
        self.lm = rows
        features = backbone.channels * (2 + len(self.paths))
        self.committee = committee
        self.mix = nn.Parameter(torch.randn(features, committee * outputs) / features**0.5)
        self.gate = mlp([backbone.n_invariants, hidden, committee * outputs])
        self.register_buffer("feature_scale", torch.ones(features))

    def _table(self) -> ProductTable:
        return table(self.rows, self.rows, self.paths)

    def features(self, stack: torch.Tensor) -> torch.Tensor:
        """All l = 2 features ``(5, n, features)`` of a stack ``(rows, n, C)``."""
        n = stack.shape[1]
        products = product(stack, stack, self._table()).view(len(self.paths), 5, n, -1)
        products = products.permute(1, 2, 0, 3).reshape(5, n, -1)
        return torch.cat([stack[4:9], stack[self.lm + 4 : self.lm + 9], products], dim=2)

    def calibrate(self, stack: torch.Tensor) -> None:
        """Set the constants that bring features to unit variance on the given stack."""
        spread = self.features(stack).square().mean((0, 1)).sqrt()
        self.feature_scale.copy_(1 / (spread + 1e-6))

    def forward(self, stack: torch.Tensor, invariants: torch.Tensor, mean: bool = False) -> torch.Tensor:
        """Tensor components ``(n, members, 5)`` in e3nn's l = 2 basis, in units of the element's scale.

        With ``mean`` there is one member, the mean of all.
        """
        features = self.features(stack) * self.feature_scale
        features = features * torch.rsqrt(1 + features.square().sum(0, keepdim=True) / _LIMIT**2)
        channels = torch.matmul(features, self.mix) * (1 + self.gate(invariants))
        channels = channels.unflatten(2, (self.committee, -1))
        members = channels.sum(3) / channels.shape[3] ** 0.5
        return (members.mean(2, keepdim=True) if mean else members).permute(1, 2, 0)
