"""Compiled evaluation of the messages of an EFG model: what is sent, and what comes of it."""

from collections.abc import Sequence

import torch

from efgmd.models.kernel_calls import addresses, filling, kernel_class
from efgmd.models.messages import DEGREE, MessageTensor, Surroundings, message_paths
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.products import table


class FusedSurroundings:
    """The channels that atoms send, compiled into the kernel's form.

    Parameters
    ----------
    surroundings
        Of the model, with one cutoff for all elements.
    dtype
        ``torch.float32`` or ``torch.float64``.
    """

    def __init__(self, surroundings: Surroundings, dtype: torch.dtype):
        buffers = {"mean": surroundings.mean, "maps": surroundings.maps}
        weights: dict[str, object] = {name: buffer.detach().double().numpy() for name, buffer in buffers.items()}
        self.dtype, self._rank = dtype, surroundings.rank
        kernel = kernel_class("Channels", dtype)
        basis = surroundings.basis
        self._kernel = kernel(weights, basis.n_species, basis.n_radial, basis.cutoffs[0], basis.r0, self._rank)

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
    """Sums over messages to all elements, of one or several degrees, compiled into the kernel's form.

    Parameters
    ----------
    weights
        Of each sum, ``(elements, members, elements of the neighbour, paths, n, rank)``, float64.
    degrees
        Of each sum, 0 to 3.
    cutoffs
        Of messages, ``(elements, elements)``, angstrom; float64 on the CPU.
    r0
        Length of the radial map, angstrom.
    dtype
        ``torch.float32`` or ``torch.float64``.
    """

    def __init__(
        self,
        weights: Sequence[torch.Tensor],
        degrees: Sequence[int],
        cutoffs: torch.Tensor,
        r0: float,
        dtype: torch.dtype,
    ):
        self.dtype = dtype
        elements, _, _, _, radial, rank = weights[0].shape
        self._padding = filling(rank)
        sums = []
        for weight, degree in zip(weights, degrees, strict=True):
            products = table((DEGREE + 1) ** 2, (DEGREE + 2) ** 2, message_paths(degree))
            padded = torch.nn.functional.pad(weight, (0, self._padding))
            one: dict[str, object] = {
                "degree": degree,
                "members": weight.shape[1],
                "channel_degree": torch.tensor([path.l1 for path in message_paths(degree)], dtype=torch.int32).numpy(),
                "weight": padded.transpose(1, 2).contiguous().numpy(),
                "start": products.start.numpy(),
                "index_a": products.index_a.numpy(),
                "index_b": products.index_b.numpy(),
                "coefficient": products.values.numpy(),
            }
            sums.append(one)
        kernel = kernel_class("Messages", dtype)
        self._kernel = kernel({"cutoffs": cutoffs.numpy()}, sums, elements, radial, r0, rank + self._padding)

    def add(self, nb: Neighbourhoods, channels: torch.Tensor, sums: Sequence[torch.Tensor]) -> None:
        """Add to components in e3nn's basis, for l = 2 those of tensors in a.u.

        Parameters
        ----------
        nb
            With ``neighbour``, rows of ``channels``.
        channels
            ``(lm, atoms, rank)``.
        sums
            ``(N, members, 2 l + 1)`` for each of the sums.

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
        arrays = addresses(self.dtype, integers, (nb.vectors, sent, *sums))
        self._kernel.evaluate(len(nb.species), *arrays[: -len(sums)], arrays[-len(sums) :])
