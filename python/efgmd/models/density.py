"""Neighbour densities A[i, z n, lm] = sum_j b_n(r_ij) Y_lm(r_ij): reference in torch and e3nn, and the compiled kernel.

Radial functions: b_n(r) = T_n(x(r)) (1 - (r / rc)^2)^3 with Chebyshev polynomials T_n of
x = 2 (s(r) - s(rc)) / (1 - s(rc)) - 1, s(r) = 1 / (1 + r / r0); the envelope makes the value and the first two
derivatives vanish at the cutoff rc, the map s resolves short bonds more finely than long distances.
Angular functions: e3nn's real spherical harmonics in "component" normalisation.
"""

from dataclasses import dataclass

import torch

from efgmd import _kernels
from efgmd.models.kernel_calls import addresses
from efgmd.models.neighbourhoods import Neighbourhoods


@dataclass(frozen=True)
class DensityBasis:
    """Shape of the density features; cutoffs, by the element of the centre, and map length r0 in angstrom."""

    cutoffs: tuple[float, ...]
    r0: float
    n_radial: int
    lmax: int

    @property
    def n_species(self) -> int:
        """Number of elements."""
        return len(self.cutoffs)

    @property
    def width(self) -> int:
        """Number of (element, radial) features for each spherical harmonic."""
        return self.n_species * self.n_radial

    @property
    def harmonics(self) -> int:
        """Number of spherical harmonics, (lmax + 1)^2."""
        return (self.lmax + 1) ** 2


@dataclass(frozen=True)
class CentreLayout:
    """Where the features of each centre lie in one flat buffer that holds a block (lm, centres, width) per element.

    ``order`` (N,) sorts the centres by element, ``counts`` gives the number of each element, ``base`` and ``stride``
    (N,) the offset of a centre's first feature and the distance between its rows lm.
    """

    order: torch.Tensor
    counts: list[int]
    base: torch.Tensor
    stride: torch.Tensor

    @classmethod
    def build(cls, species: torch.Tensor, basis: DensityBasis) -> "CentreLayout":
        """Lay out centres of the given element indices, int64 of shape ``(N,)``."""
        counts = torch.bincount(species, minlength=basis.n_species)
        order = torch.argsort(species, stable=True)
        starts = torch.cumsum(counts, 0) - counts
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=species.device)
        rank = rank - starts[species]
        base = starts[species] * basis.harmonics * basis.width + rank * basis.width
        return cls(order, counts.tolist(), base.contiguous(), (counts[species] * basis.width).contiguous())

    def blocks(self, flat: torch.Tensor, basis: DensityBasis) -> list[torch.Tensor]:
        """Split the flat buffer into one view of shape ``(lm, centres, width)`` per element."""
        sizes = [count * basis.harmonics * basis.width for count in self.counts]
        parts = torch.split(flat, sizes)
        return [p.view(basis.harmonics, c, basis.width) for p, c in zip(parts, self.counts, strict=True)]


def radial_functions(distance: torch.Tensor, cutoff: torch.Tensor | float, r0: float, count: int) -> torch.Tensor:
    """Evaluate the first functions b_n, ``(P, count)``, at distances ``(P,)``.

    The cutoff is one for all or ``(P,)`` of each; all lengths are in angstrom.
    """
    s_cut = 1 / (1 + cutoff / r0)
    x = 2 * (1 / (1 + distance / r0) - s_cut) / (1 - s_cut) - 1
    polynomials = [torch.ones_like(x), x]
    for _ in range(2, count):
        polynomials.append(2 * x * polynomials[-1] - polynomials[-2])
    envelope = (1 - (distance / cutoff).clamp(max=1.0) ** 2) ** 3
    return torch.stack(polynomials[:count], dim=-1) * envelope[:, None]


def reference_density(nb: Neighbourhoods, basis: DensityBasis, layout: CentreLayout) -> torch.Tensor:
    """Density features by plain torch and e3nn operations, differentiable to any order and on any device.

    Returns the flat buffer described by ``layout``.
    """
    from e3nn import o3  # takes more than a second, and the compiled kernel does without

    distance = nb.vectors.norm(dim=1)
    centres = nb.centres()
    cutoffs = nb.vectors.new_tensor(basis.cutoffs)[nb.species[centres]]
    radial = radial_functions(distance, cutoffs, basis.r0, basis.n_radial)
    angular = o3.spherical_harmonics(list(range(basis.lmax + 1)), nb.vectors, normalize=True, normalization="component")
    slot = centres * basis.n_species + nb.neighbour_species
    summed = radial.new_zeros(len(nb.species) * basis.n_species, basis.harmonics, basis.n_radial)
    summed = summed.index_add(0, slot, angular[:, :, None] * radial[:, None, :])
    rows = summed.view(len(nb.species), basis.n_species, basis.harmonics, basis.n_radial)
    rows = rows.permute(2, 0, 1, 3).reshape(basis.harmonics, len(nb.species), basis.width)[:, layout.order]
    return torch.cat([part.reshape(-1) for part in torch.split(rows, layout.counts, dim=1)])


def _kernel(mode, nb, basis, layout, vectors, extra, out):
    """Call the compiled kernel on contiguous arrays of one floating type."""
    integers = nb.species, nb.first, layout.base, layout.stride, nb.neighbour_species
    kinds, first, base, stride, neighbours, x, given, result = addresses(vectors.dtype, integers, (vectors, extra, out))
    _kernels.density(
        mode,
        vectors.dtype == torch.float64,
        basis.lmax,
        kinds,
        first,
        base,
        stride,
        neighbours,
        len(nb.species),
        basis.cutoffs,
        basis.r0,
        basis.n_radial,
        x,
        given,
        result,
    )
    return out


class _Density(torch.autograd.Function):
    """Density features as a function of the pair vectors."""

    @staticmethod
    def forward(ctx, vectors, nb, basis, layout):
        ctx.save_for_backward(vectors)
        ctx.rest = (nb, basis, layout)
        out = vectors.new_empty(len(nb.species) * basis.harmonics * basis.width)
        return _kernel("forward", nb, basis, layout, vectors.contiguous(), vectors, out)

    @staticmethod
    def backward(ctx, grad):
        (vectors,) = ctx.saved_tensors
        return _DensityAdjoint.apply(grad, vectors.detach(), *ctx.rest), None, None, None


class _DensityAdjoint(torch.autograd.Function):
    """Gradient on the pair vectors, linear in the gradient on the features.

    Differentiable in that gradient, which is what training on forces needs. Second derivatives in the positions
    are not propagated (use the reference density for Hessians).
    """

    @staticmethod
    def forward(ctx, grad, vectors, nb, basis, layout):
        ctx.save_for_backward(vectors)
        ctx.rest = (nb, basis, layout)
        return _kernel("vjp", nb, basis, layout, vectors.contiguous(), grad.contiguous(), torch.empty_like(vectors))

    @staticmethod
    def backward(ctx, direction):
        (vectors,) = ctx.saved_tensors
        nb, basis, layout = ctx.rest
        out = vectors.new_empty(len(nb.species) * basis.harmonics * basis.width)
        grad = _kernel("jvp", nb, basis, layout, vectors.contiguous(), direction.contiguous(), out)
        return grad, None, None, None, None


def density(nb: Neighbourhoods, basis: DensityBasis, layout: CentreLayout) -> torch.Tensor:
    """Density features, by the compiled kernel on the CPU and by plain torch elsewhere.

    Returns the flat buffer described by ``layout``.
    """
    if nb.vectors.device.type == "cpu":
        return _Density.apply(nb.vectors, nb, basis, layout)
    return reference_density(nb, basis, layout)
