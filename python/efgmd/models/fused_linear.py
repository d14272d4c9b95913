"""Compiled evaluation of an EFG model that has a linear part only: tensors of all members in one pass."""

import math
from typing import Any

import torch

from efgmd.models.density import DensityBasis
from efgmd.models.kernel_calls import addresses, filling, kernel_class
from efgmd.models.linear import LinearTensor, triple_paths
from efgmd.models.messages import DEGREE, Surroundings
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.products import merged_table


def _reductions(triples: torch.Tensor, lmax: int) -> list[torch.Tensor]:
    """Orthonormal columns ``(K, rank)``, one matrix for each degree, that span what weights ``(m, paths, K, K)`` use.

    Directions below 1e-7 of the largest weight are rounding of weights stored in single precision.
    """
    width = triples.shape[-1]
    out = []
    for l in range(lmax + 1):
        gram = triples.new_zeros(width, width)
        for number, path in enumerate(triple_paths(lmax)):
            weights = triples[:, number]
            if path.l1 == l:
                gram += torch.einsum("mkq,mjq->kj", weights, weights)
            if path.l2 == l:
                gram += torch.einsum("mqk,mqj->kj", weights, weights)
        values, vectors = torch.linalg.eigh(gram)
        out.append(vectors[:, values > 1e-14 * values[-1].clamp(min=1e-300)])
    return out


def _weights(linear: LinearTensor, scale: float, mean: bool) -> tuple[dict[str, Any], int, int]:
    """Weights in the layout of ``kernels_tensor_impl.h``, float64; members and rank."""
    pair, triple = scale * linear.pair.detach().double(), scale * linear.triple.detach().double()
    if mean:
        pair, triple = pair.mean(0, keepdim=True), triple.mean(0, keepdim=True)
    members = len(pair)
    maps = _reductions(triple, linear.lmax)
    rank = max(1, *(part.shape[1] for part in maps))
    rank += filling(rank)
    reduce = torch.stack([torch.nn.functional.pad(part, (0, rank - part.shape[1])) for part in maps])
    cores = []
    for number, path in enumerate(triple_paths(linear.lmax)):
        cores.append(torch.einsum("kr,mkq,qs->rms", reduce[path.l1], triple[:, number], reduce[path.l2]))
    table = merged_table(triple_paths(linear.lmax), (linear.lmax + 1) ** 2)
    weights = {
        "path_l1": [path.l1 for path in triple_paths(linear.lmax)],
        "reduce": reduce.numpy(),
        "pair": pair.T.contiguous().numpy(),
        "cores": torch.stack(cores).contiguous().numpy(),
        "start": table.start.numpy(),
        "index_a": table.index_a.numpy(),
        "index_b": table.index_b.numpy(),
        "coefficient": table.values.numpy(),
    }
    return weights, members, rank


def _channels(own: Surroundings | None, element: int, basis: DensityBasis) -> dict[str, Any]:
    """Weights of the channels that are asked for, none if there are none; float64."""
    if own is None:
        return {"maps": torch.zeros(0).numpy(), "offset": torch.zeros(0).numpy()}
    maps, mean = own.maps[element].detach().double(), own.mean[element].detach().double()
    offset = mean @ maps[0]
    # Its functions are the first of the model's of each element.
    more = 0, filling(own.rank)
    maps = maps.view(DEGREE + 1, basis.n_species, own.basis.n_radial, own.rank)
    maps = torch.nn.functional.pad(maps, (*more, 0, basis.n_radial - own.basis.n_radial))
    return {"maps": maps.contiguous().numpy(), "offset": torch.nn.functional.pad(offset, more).numpy()}


class FusedLinear:
    """Linear parts of all elements, compiled into the kernels' form.

    Parameters
    ----------
    parts
        Of each element.
    basis
        Of the densities.
    scales
        Unit of each element's tensors, a.u.; NaN makes them NaN.
    dtype
        ``torch.float32`` or ``torch.float64``.
    mean
        Whether to give the mean of the committee in place of its members; it is as cheap as one.
    own
        Channels of the same densities that are wanted as well, if any.
    """

    def __init__(
        self,
        parts: list[LinearTensor],
        basis: DensityBasis,
        scales: torch.Tensor,
        dtype: torch.dtype,
        mean: bool,
        own: Surroundings | None = None,
    ):
        self.dtype = dtype
        self._channels = own.rank + filling(own.rank) if own else 0
        self.members = 1 if mean else len(parts[0].pair)
        kernel = kernel_class("ElementTensor", dtype)
        self._elements: list[Any] = []
        for s, (part, scale) in enumerate(zip(parts, scales.tolist(), strict=True)):
            if math.isnan(scale):
                self._elements.append(None)
                continue
            weights, members, rank = _weights(part, scale, mean)
            wanted = own if own and own.maps[s].any() else None
            sizes = basis.lmax, basis.n_species, basis.n_radial, basis.cutoffs[s], basis.r0
            self._elements.append(kernel(weights | _channels(wanted, s, basis), *sizes, members, rank))

    def __call__(self, nb: Neighbourhoods) -> tuple[torch.Tensor, torch.Tensor]:
        """Tensor components ``(N, members, 5)`` in e3nn's l = 2 basis, a.u., and own channels ``(N, lm, rank)``.

        The rank of the channels is filled up for the kernels, and 0 if none are wanted; channels of other elements than
        they are for are zero.

        Raises
        ------
        ValueError
            If arrays are not contiguous on the CPU or the vectors have another dtype than the model.
        """
        components = nb.vectors.new_full((len(nb.species), self.members, 5), math.nan)
        own = nb.vectors.new_zeros(len(nb.species), (DEGREE + 1) ** 2, self._channels)
        integers = nb.species, nb.first, nb.neighbour_species
        arrays = addresses(self.dtype, integers, (nb.vectors, components, own))
        for s, element in enumerate(self._elements):
            if element is not None:
                element.evaluate(len(nb.species), s, *arrays)
        return components, own
