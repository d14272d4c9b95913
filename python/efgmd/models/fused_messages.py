"""Compiled evaluation of the messages of an EFG model: what is sent, and the tensors of all members from it."""

from collections.abc import Sequence

import torch

from efgmd.models.fused_linear import CHUNK
from efgmd.models.kernel_calls import addresses, kernel_class
from efgmd.models.messages import DEGREE, MessageTensor, Surroundings, message_paths
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.products import table


class FusedSurroundings:
    """The channels that atoms send, compiled into the kernel's form.

    Parameters
    ----------
    surroundings
        Of the model.
    dtype
        ``torch.float32`` or ``torch.float64``.
    """

    def __init__(self, surroundings: Surroundings, dtype: torch.dtype):
        buffers = {"mean": surroundings.mean, "maps": surroundings.maps}
        weights: dict[str, object] = {name: buffer.detach().double().numpy() for name, buffer in buffers.items()}
        self.dtype, self._rank = dtype, surroundings.rank
        kernel = kernel_class("Channels", dtype)
        basis = surroundings.basis
        self._kernel = kernel(weights, basis.n_species, basis.n_radial, basis.cutoff, basis.r0, self._rank)

    def __call__(self, nb: Neighbourhoods) -> torch.Tensor:
        """Channels ``(lm, N, rank)``.

        Raises
        ------
        ValueError
            If arrays are not contiguous on the CPU or not of the model's dtype.
        """
        channels = nb.vectors.new_empty(len(nb.species), (DEGREE + 1) ** 2, self._rank)
        integers = nb.species, nb.first, nb.neighbour_species
        self._kernel.evaluate(len(nb.species), *addresses(self.dtype, integers, (nb.vectors, channels)))
        return channels.transpose(0, 1)


def message_weights(parts: Sequence[MessageTensor], scales: torch.Tensor, mean: bool) -> torch.Tensor:
    """Weights ``(elements, members, elements of the neighbour, paths, n, rank)``, float64, of tensors in a.u.

    Parameters
    ----------
    parts
        Of each element.
    scales
        Unit of each element's tensors, a.u.; where it is NaN the weights are zero.
    mean
        Whether to give the mean of the committee in place of its members.
    """
    units = scales.detach().double().nan_to_num(nan=0.0).tolist()
    weight = torch.stack([unit * part.weight.detach().double() for part, unit in zip(parts, units, strict=True)])
    return weight.mean(1, keepdim=True) if mean else weight


class FusedMessages:
    """Sums over messages of one degree to all elements, compiled into the kernel's form.

    Parameters
    ----------
    weight
        ``(elements, members, elements of the neighbour, paths, n, rank)``, float64.
    cutoffs
        Of messages, ``(elements, elements)``, angstrom; float64 on the CPU.
    r0
        Length of the radial map, angstrom.
    dtype
        ``torch.float32`` or ``torch.float64``.
    degree
        Of the sums, 0 to 3.
    """

    def __init__(self, weight: torch.Tensor, cutoffs: torch.Tensor, r0: float, dtype: torch.dtype, degree: int = 2):
        self.dtype = dtype
        self._padding = -weight.shape[5] % CHUNK
        weight = torch.nn.functional.pad(weight, (0, self._padding))
        products = table((DEGREE + 1) ** 2, (DEGREE + 2) ** 2, message_paths(degree))
        weights: dict[str, object] = {
            "weight": weight.transpose(1, 2).contiguous().numpy(),
            "cutoffs": cutoffs.numpy(),
            "start": products.start.numpy(),
            "index_a": products.index_a.numpy(),
            "index_b": products.index_b.numpy(),
            "coefficient": products.values.numpy(),
        }
        elements, members, _, _, radial, rank = weight.shape
        self._kernel = kernel_class("Messages", dtype)(weights, elements, radial, r0, members, rank, degree)

    def add(self, nb: Neighbourhoods, channels: torch.Tensor, components: torch.Tensor) -> None:
        """Add to components in e3nn's basis, for l = 2 those of tensors in a.u.

        Parameters
        ----------
        nb
            With ``neighbour``, rows of ``channels``.
        channels
            ``(lm, atoms, rank)``.
        components
            ``(N, members, 2 l + 1)``.

        Raises
        ------
        ValueError
            If arrays are not contiguous on the CPU or not of the model's dtype, or the neighbours are unknown.
        """
        if nb.neighbour is None:
            raise ValueError("fused messages: the neighbourhoods do not say which rows the neighbours are")
        sent = channels.permute(1, 0, 2)
        if self._padding:
            sent = torch.nn.functional.pad(sent, (0, self._padding))
        sent = sent.contiguous()
        integers = nb.species, nb.first, nb.neighbour_species, nb.neighbour
        self._kernel.evaluate(len(nb.species), *addresses(self.dtype, integers, (nb.vectors, sent, components)))
