"""Compiled evaluation of the products of own densities with messages."""

import torch

from efgmd.models.fused_messages import FusedMessages, FusedSurroundings
from efgmd.models.message_products import MessageProducts
from efgmd.models.neighbourhoods import Neighbourhoods


class FusedProducts:
    """Sums over densities and messages by compiled kernels; their few products by operations of torch.

    Parameters
    ----------
    products
        Of the model.
    scales
        Unit of each element's tensors, a.u.; where it is NaN nothing is added.
    dtype
        ``torch.float32`` or ``torch.float64``.
    """

    def __init__(self, products: MessageProducts, scales: torch.Tensor, dtype: torch.dtype):
        self._products, self._own = products, FusedSurroundings(products.own, dtype)
        self._units = [(s, scales[s]) for s in products.centres if not scales[s].isnan()]
        elements = len(scales)
        self._sums = []
        for degree, mixing in enumerate(products.mixing):
            weight = mixing.new_zeros(elements, products.rank, elements, *mixing.shape[2:], dtype=torch.float64)
            for number, (centre, neighbour) in enumerate(products.pairs):
                weight[centre, :, neighbour] = mixing[number].double()
            cutoffs, r0 = products.bond_cutoffs, products.own.basis.r0
            self._sums.append(FusedMessages(weight, cutoffs, r0, dtype, degree))

    def add(self, nb: Neighbourhoods, channels: torch.Tensor, components: torch.Tensor, mean: bool) -> None:
        """Add to tensor components ``(N, members, 5)``, a.u.; arguments as of `FusedMessages.add`.

        With ``mean`` there is one member, the mean of all.
        """
        own = self._own(nb)
        sums = []
        for degree, messages in enumerate(self._sums):
            part = own.new_zeros(len(nb.species), self._products.rank, 2 * degree + 1)
            messages.add(nb, channels, part)
            sums.append(part)
        every = torch.cat(sums, 2)
        for element, unit in self._units:
            chosen = (nb.species == element).nonzero()[:, 0]
            sent = every[chosen].permute(2, 0, 1).contiguous()
            sent[0] -= self._products.offset[element]
            components[chosen] += unit * self._products.tensors(own[:, chosen], sent, element, mean)
