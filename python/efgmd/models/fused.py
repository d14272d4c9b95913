"""Compiled evaluation of an energy model of fixed weights: energy and derivative in one pass over the centres."""

from typing import Any, cast

import torch

from efgmd.models.backbone import LIMIT, ElementBackbone
from efgmd.models.kernel_calls import addresses, kernel_class
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.products import ProductTable
from efgmd.models.repulsion import ShortRangeRepulsion


def _table(t: ProductTable) -> dict[str, Any]:
    return {
        "start": t.start.numpy(),
        "index_a": t.index_a.numpy(),
        "index_b": t.index_b.numpy(),
        "coefficient": t.values.numpy(),
    }


def _weights(backbone: ElementBackbone, head: torch.nn.Sequential) -> dict[str, Any]:
    """Weights of one element in the layout of ``kernels_network_impl.h``, float64."""
    c, lmax = backbone.channels, backbone.basis.lmax
    scaled = [backbone.density_scale[l].T.double() * backbone.mix[l].double() for l in range(lmax + 1)]
    square = [w.double().view(-1, c, c) for w in backbone.remix]
    first, second, last = (layer for layer in head if isinstance(layer, torch.nn.Linear))
    pairs, contractions = backbone.pair_table(), backbone.contraction_table()
    tensors = {
        "density_mean": backbone.density_mean,
        "mix": torch.stack(scaled),
        "mix_back": torch.stack([w.T for w in scaled]),
        "remix": torch.cat(square),
        "remix_back": torch.cat([w.transpose(1, 2) for w in square]),
        "invariant_mean": backbone.invariant_mean,
        "invariant_scale": backbone.invariant_scale,
        "w1": first.weight.T,
        "w1_back": first.weight,
        "b1": first.bias,
        "w2": second.weight.T,
        "w2_back": second.weight,
        "b2": second.bias,
        "w3": last.weight,
        "b3": last.bias,
    }
    return {
        **{name: tensor.detach().double().contiguous().numpy() for name, tensor in tensors.items()},
        "paths_per_degree": [sum(p.l3 == l for p in backbone.pair_paths) for l in range(lmax + 1)],
        "pairs": _table(pairs),
        "pairs_back": _table(pairs.square_adjoint()),
        "contractions": _table(contractions),
        "contractions_back": _table(contractions.square_adjoint()),
    }


class FusedEnergy:
    """The networks and the repulsion of an energy model, compiled into the kernels' form.

    Parameters
    ----------
    backbones, heads
        Backbone and perceptron (two hidden layers of one width) of each element.
    repulsion
        Of close nuclei.
    dtype
        ``torch.float32`` or ``torch.float64``.
    """

    def __init__(
        self,
        backbones: list[ElementBackbone],
        heads: list[torch.nn.Sequential],
        repulsion: ShortRangeRepulsion,
        dtype: torch.dtype,
    ):
        self.dtype = dtype
        kernel = kernel_class("ElementEnergy", dtype)
        self._repulsion = repulsion.compiled(dtype)
        self._elements = [
            kernel(
                _weights(b, h),
                b.basis.lmax,
                b.channels,
                cast(torch.nn.Linear, h[0]).out_features,
                b.basis.n_species,
                b.basis.n_radial,
                cutoff,
                b.basis.r0,
                LIMIT,
            )
            for b, h, cutoff in zip(backbones, heads, backbones[0].basis.cutoffs, strict=True)
        ]

    def __call__(self, nb: Neighbourhoods) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies ``(N,)``, float64, and their derivative with respect to the vectors, ``(P, 3)``.

        Raises
        ------
        ValueError
            If arrays are not contiguous on the CPU or the vectors have another dtype than the model.
        """
        energies = torch.empty(len(nb.species), dtype=torch.float64)
        gradient = torch.empty_like(nb.vectors)
        *arrays, slope = addresses(self.dtype, (nb.species, nb.first, nb.neighbour_species), (nb.vectors, gradient))
        results = energies.data_ptr(), slope
        for s, element in enumerate(self._elements):
            element.evaluate(len(nb.species), s, *arrays, *results)
        self._repulsion.add(len(nb.species), *arrays, *results)
        return energies, gradient
