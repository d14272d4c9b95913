"""Compiled evaluation of the products of own densities with messages."""

from collections.abc import Sequence

import torch

from efgmd.models.kernel_calls import addresses, filling, kernel_class
from efgmd.models.message_products import MessageProducts, product_paths
from efgmd.models.messages import DEGREE
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.products import table


def product_message_weights(products: MessageProducts) -> list[torch.Tensor]:
    """Weights for `efgmd.models.fused_messages.FusedMessages` of the messages of degrees 0 to 3, float64."""
    elements = len(products.offset)
    out = []
    for mixing in products.mixing:
        weight = mixing.new_zeros(elements, products.rank, elements, *mixing.shape[2:], dtype=torch.float64)
        for number, (centre, neighbour) in enumerate(products.pairs):
            weight[centre, :, neighbour] = mixing[number].double()
        out.append(weight)
    return out


class FusedProducts:
    """Products of own densities with messages to the centres of some elements, compiled into the kernels' form.

    Parameters
    ----------
    products
        Of the model.
    scales
        Unit of each element's tensors, a.u.; where it is NaN nothing is added.
    dtype
        ``torch.float32`` or ``torch.float64``.
    mean
        Whether to give the mean of the committee in place of its members.
    """

    def __init__(self, products: MessageProducts, scales: torch.Tensor, dtype: torch.dtype, mean: bool):
        self.dtype, self._rank = dtype, products.rank
        units = torch.zeros(len(scales), dtype=torch.float64)
        units[products.centres] = scales.detach().double().nan_to_num(nan=0.0)[products.centres]
        weight = products.weight.detach().double() * units[:, None, None, None, None]
        weight = weight.mean(1, keepdim=True) if mean else weight
        weight = torch.nn.functional.pad(weight, (0, filling(products.rank)))
        terms = table((DEGREE + 1) ** 2, (DEGREE + 1) ** 2, product_paths())
        weights: dict[str, object] = {
            "degree": torch.tensor([path.l1 for path in product_paths()], dtype=torch.int32).numpy(),
            "weight": weight.contiguous().numpy(),
            "offset": products.offset.detach().double().numpy(),
            "start": terms.start.numpy(),
            "index_a": terms.index_a.numpy(),
            "index_b": terms.index_b.numpy(),
            "coefficient": terms.values.numpy(),
        }
        self._kernel = kernel_class("Products", dtype)(weights, len(scales), weight.shape[1], products.rank)

    def sums(self, nb: Neighbourhoods) -> list[torch.Tensor]:
        """Zeros ``(N, rank, 2 l + 1)`` for the messages of each degree, to be added to."""
        return [nb.vectors.new_zeros(len(nb.species), self._rank, 2 * degree + 1) for degree in range(DEGREE + 1)]

    def add(
        self, nb: Neighbourhoods, own: torch.Tensor, sums: Sequence[torch.Tensor], components: torch.Tensor
    ) -> None:
        """Add to tensor components ``(N, members, 5)``, a.u.

        Parameters
        ----------
        nb
            The neighbourhoods.
        own
            Channels of the centres' densities, ``(N, lm, rank)`` with rank filled up for the kernels.
        sums
            Messages of degrees 0 to 3, ``(N, rank, 2 l + 1)``.
        components
            What to add to.

        Raises
        ------
        ValueError
            If arrays are not contiguous on the CPU or not of the model's dtype.
        """
        self._kernel.evaluate(len(nb.species), *addresses(self.dtype, [nb.species], (own, *sums, components)))
