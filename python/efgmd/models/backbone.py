"""The strictly local equivariant backbone that the energy and the EFG model share.

For each centre the neighbour density is mixed into channels a (order 1), channel-wise Clebsch-Gordan products of a with
itself are mixed into t (order 2), and contractions of a and t give invariants up to order 4, as in the first layer of
ACE and MACE. Every chemical element has weights of its own; centres are processed element by element.
"""

from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import nn

from efgmd.models.density import CentreLayout, DensityBasis, density
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.products import Path, ProductTable, paths, product, table

LIMIT = 8.0  # standard deviations


class Features(NamedTuple):
    """Features of the ``n`` centres of one element, with ``C`` channels.

    Attributes
    ----------
    stack
        ``(rows, n, C)``: the rows lm of a, then those of t.
    invariants
        ``(n, F)``, standardised and softly limited.
    """

    stack: torch.Tensor
    invariants: torch.Tensor


def mlp(sizes: list[int]) -> nn.Sequential:
    """Perceptron with SiLU between linear layers of the given sizes."""
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(n_in, n_out)] + ([nn.SiLU()] if i < len(sizes) - 2 else [])
    return nn.Sequential(*layers)


def soft_limit(x: torch.Tensor) -> torch.Tensor:
    """x / sqrt(1 + (x/8)^2): the identity for |x| of order 1, at most 8.

    Products of order 4 grow fast outside the training data; a network fed with them unbounded would extrapolate wildly.
    """
    return x * torch.rsqrt(1 + (x / LIMIT) ** 2)


class ElementBackbone(nn.Module):
    """Channels and invariants of the centres of one element."""

    density_mean: torch.Tensor
    density_scale: torch.Tensor
    invariant_mean: torch.Tensor
    invariant_scale: torch.Tensor

    def __init__(self, basis: DensityBasis, channels: int):
        super().__init__()
        self.basis, self.channels = basis, channels
        degrees = tuple(range(basis.lmax + 1))
        self.pair_paths = paths(basis.lmax, basis.lmax, degrees, symmetric=True)
        self.mix = nn.ParameterList(
            [nn.Parameter(torch.randn(basis.width, channels) / basis.width**0.5) for _ in degrees]
        )
        self.degrees = degrees[1:]
        counts = {l: sum(p.l3 == l for p in self.pair_paths) for l in degrees}
        self.remix = nn.ParameterList(
            [
                nn.Parameter(torch.randn(counts[l] * channels, channels) / (counts[l] * channels) ** 0.5)
                for l in degrees[1:]
            ]
        )
        self.scalar_paths = counts[0]
        n_invariants = channels * (1 + counts[0] + 2 * len(self.degrees))
        self.register_buffer("density_mean", torch.zeros(basis.width))
        self.register_buffer("density_scale", torch.ones(len(degrees), 1, basis.width))
        self.register_buffer("invariant_mean", torch.zeros(n_invariants))
        self.register_buffer("invariant_scale", torch.ones(n_invariants))

    @property
    def n_invariants(self) -> int:
        """Number of invariants per centre."""
        return len(self.invariant_mean)

    @property
    def rows(self) -> int:
        """Number of rows of the stack: those of a, then those of t (its l = 0 row is zero, t starts at l = 1)."""
        return 2 * self.basis.harmonics

    def _channels(self, block: torch.Tensor) -> torch.Tensor:
        """Mix densities ``(lm, n, width)`` into channels ``(lm, n, C)``."""
        out = [torch.matmul(block[0:1] - self.density_mean, self.density_scale[0].T * self.mix[0])]
        for l in range(1, self.basis.lmax + 1):
            out.append(torch.matmul(block[l * l : (l + 1) ** 2], self.density_scale[l].T * self.mix[l]))
        return torch.cat(out)

    def _pairs(self, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Order-2 features: invariants ``(n, paths * C)`` and the stack of a and t ``(rows, n, C)``."""
        n = a.shape[1]
        pairs = product(a, a, self.pair_table())
        stack = [a, a.new_zeros(1, n, self.channels)]
        row = self.scalar_paths
        for l, weight in zip(self.degrees, self.remix, strict=True):
            size = len(weight) // self.channels
            part = pairs[row : row + size * (2 * l + 1)].view(size, 2 * l + 1, n, self.channels)
            row += size * (2 * l + 1)
            stack.append(part.permute(1, 2, 0, 3).reshape(2 * l + 1, n, -1) @ weight)
        scalars = pairs[: self.scalar_paths].transpose(0, 1).reshape(n, -1)
        return scalars, torch.cat(stack)

    def pair_table(self) -> ProductTable:
        """Table of the order-2 products a x a."""
        return table(self.basis.harmonics, self.basis.harmonics, self.pair_paths)

    def contraction_table(self) -> ProductTable:
        """Table of the invariants t.a (order 3) and t.t (order 4) on the stack."""
        rows = self.basis.harmonics
        scalar = [Path(l, l, 0) for l in self.degrees]
        contractions = tuple([p.shifted(rows, 0) for p in scalar] + [p.shifted(rows, rows) for p in scalar])
        return table(self.rows, self.rows, contractions)

    def raw(self, block: torch.Tensor) -> Features:
        """Features with invariants that are not standardised yet."""
        a = self._channels(block)
        scalars, stack = self._pairs(a)
        higher = product(stack, stack, self.contraction_table())
        n = block.shape[1]
        invariants = torch.cat([a[0], scalars, higher.transpose(0, 1).reshape(n, -1)], dim=1)
        return Features(stack, invariants)

    def forward(self, block: torch.Tensor) -> Features:
        """Features of centres with densities ``(lm, n, width)``."""
        stack, invariants = self.raw(block)
        return Features(stack, soft_limit((invariants - self.invariant_mean) * self.invariant_scale))

    @torch.no_grad()
    def calibrate(self, block: torch.Tensor) -> None:
        """Set the constants that bring densities and invariants to zero mean and unit variance on given centres.

        A feature that hardly occurs is scaled as if it had a hundredth of the largest spread of its degree, so that
        rare neighbours are not blown up.
        """
        if block.shape[1] < 2:
            return
        self.density_mean.copy_(block[0].mean(0))
        for l in range(self.basis.lmax + 1):
            part = block[l * l : (l + 1) ** 2] - (self.density_mean if l == 0 else 0)
            spread = part.square().mean((0, 1)).sqrt()
            self.density_scale[l, 0] = 1 / spread.clamp(min=float(spread.max()) * 0.01 + 1e-12)
        invariants = self.raw(block).invariants
        self.invariant_mean.copy_(invariants.mean(0))
        self.invariant_scale.copy_(1 / (invariants.std(0) + 1e-6))


class Backbone(nn.Module):
    """Densities and per-element features for all centres of a batch.

    Parameters
    ----------
    cutoffs
        Cutoff radius of each element's centres, angstrom, in the order of the species indices.
    r0
        Length of the radial map, angstrom (see :mod:`efgmd.models.density`).
    n_radial, lmax, channels
        Radial functions, highest degree of the harmonics (1 to 4), channels per centre (0: densities only).
    """

    def __init__(self, cutoffs: tuple[float, ...], r0: float, n_radial: int, lmax: int, channels: int):
        super().__init__()
        self.basis = DensityBasis(cutoffs, r0, n_radial, lmax)
        self.networks = nn.ModuleList([ElementBackbone(self.basis, channels) for _ in cutoffs if channels])

    def elements(self) -> list[ElementBackbone]:
        """The network of each element."""
        return cast(list[ElementBackbone], list(self.networks))

    def densities(self, nb: Neighbourhoods) -> tuple[list[torch.Tensor], CentreLayout]:
        """Return the density block of each element and the layout that leads back to the centres' own order."""
        layout = CentreLayout.build(nb.species, self.basis)
        return layout.blocks(density(nb, self.basis, layout), self.basis), layout

    def calibrate(self, nb: Neighbourhoods) -> None:
        """Set all standardising constants from representative neighbourhoods, before training."""
        for block, network in zip(self.densities(nb)[0], self.elements(), strict=True):
            network.calibrate(block)
