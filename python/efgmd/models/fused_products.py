"""Compiled evaluation of the products of own densities with messages."""

import torch

from efgmd.models.fused_linear import CHUNK
from efgmd.models.fused_messages import FusedMessages, FusedSurroundings
from efgmd.models.kernel_calls import addresses, kernel_class
from efgmd.models.message_products import MessageProducts, product_paths
from efgmd.models.messages import DEGREE
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.products import table


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
        self._own = FusedSurroundings(products.own, dtype)
        elements = len(scales)
        self._sums = []
        for degree, mixing in enumerate(products.mixing):
            weight = mixing.new_zeros(elements, products.rank, elements, *mixing.shape[2:], dtype=torch.float64)
            for number, (centre, neighbour) in enumerate(products.pairs):
                weight[centre, :, neighbour] = mixing[number].double()
            self._sums.append(FusedMessages(weight, products.cutoffs, products.own.basis.r0, dtype, degree))
        units = torch.zeros(elements, dtype=torch.float64)
        units[products.centres] = scales.detach().double().nan_to_num(nan=0.0)[products.centres]
        weight = products.weight.detach().double() * units[:, None, None, None, None]
        weight = weight.mean(1, keepdim=True) if mean else weight
        weight = torch.nn.functional.pad(weight, (0, -products.rank % CHUNK))
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
        self._kernel = kernel_class("Products", dtype)(weights, elements, weight.shape[1], products.rank)

    def add(self, nb: Neighbourhoods, channels: torch.Tensor, components: torch.Tensor) -> None:
        """Add to tensor components ``(N, members, 5)``, a.u.; arguments and errors as of `FusedMessages.add`."""
        own = self._own(nb).transpose(0, 1)
        sums = []
        for degree, messages in enumerate(self._sums):
            sums.append(nb.vectors.new_zeros(len(nb.species), self._rank, 2 * degree + 1))
            messages.add(nb, channels, sums[-1])
        self._kernel.evaluate(len(nb.species), *addresses(self.dtype, [nb.species], (own, *sums, components)))
