"""Linear part of the EFG model: sums over pairs and over pairs of neighbours, exact and cheap.

With neighbour densities A of width K, the tensor is

    V = sum_k p_k A_k^(l=2) + sum_paths sum_kq W_kq^(l1 l2) [A_k^(l1) x A_q^(l2)]^(2),

every two-body and three-body term that the densities can express: what lambda-SOAP regression (Grisafi et al.,
Phys. Rev. Lett. 120, 036002 (2018)) learns, evaluated without ever forming its K^2 features.
"""

from functools import cache

import torch
from torch import nn

from efgmd.models.density import DensityBasis
from efgmd.models.products import Path, merged_table, mixed, paths, product


@cache
def triple_paths(lmax: int) -> tuple[Path, ...]:
    """Products l1 x l2 -> 2 of densities with themselves, l1 <= l2."""
    return paths(lmax, lmax, (2,), symmetric=True)


class LinearTensor(nn.Module):
    """Two-body and three-body tensors of the centres of one element.

    Parameters
    ----------
    basis
        Of the densities.
    committee
        Number of weight sets.

    Attributes
    ----------
    pair
        ``(committee, K)``.
    triple
        ``(committee, paths, K, K)``.
    """

    pair: torch.Tensor
    triple: torch.Tensor

    def __init__(self, basis: DensityBasis, committee: int):
        super().__init__()
        self.lmax, width = basis.lmax, basis.width
        self.register_buffer("pair", torch.zeros(committee, width))
        self.register_buffer("triple", torch.zeros(committee, len(triple_paths(basis.lmax)), width, width))

    def forward(self, block: torch.Tensor, mean: bool = False) -> torch.Tensor:
        """Tensor components ``(n, members, 5)`` in e3nn's l = 2 basis from densities ``(lm, n, K)``.

        With ``mean`` there is one member: the weight sets are averaged first, which is exact and as cheap as one.
        """
        pair, triple = self.pair, self.triple
        if mean:
            pair, triple = pair.mean(0, keepdim=True), triple.mean(0, keepdim=True)
        table = merged_table(triple_paths(self.lmax), (self.lmax + 1) ** 2)
        members = []
        for two, three in zip(pair, triple, strict=True):
            left = mixed(block, triple_paths(self.lmax), three)
            members.append(product(left, block, table).sum(2) + torch.matmul(block[4:9], two))
        return torch.stack(members).permute(2, 0, 1)
