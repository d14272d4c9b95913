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


class FusedMessages:
    """Weights of the messages to all elements, compiled into the kernel's form.

    Parameters
    ----------
    parts
        Of each element.
    surroundings
        Of the model, for the cutoffs and the radial functions.
    scales
        Unit of each element's tensors, a.u.; where it is NaN nothing is added.
    dtype
        ``torch.float32`` or ``torch.float64``.
    mean
        Whether to give the mean of the committee in place of its members.
    """

    def __init__(
        self,
        parts: Sequence[MessageTensor],
        surroundings: Surroundings,
        scales: torch.Tensor,
        dtype: torch.dtype,
        mean: bool,
    ):
        units = scales.detach().double().nan_to_num(nan=0.0).tolist()
        weight = torch.stack([unit * part.weight.detach().double() for part, unit in zip(parts, units, strict=True)])
        if mean:
            weight = weight.mean(1, keepdim=True)
        self.dtype, self.members = dtype, weight.shape[1]
        self._padding = -weight.shape[5] % CHUNK
        weight = torch.nn.functional.pad(weight, (0, self._padding))
        products = table((DEGREE + 1) ** 2, (DEGREE + 2) ** 2, message_paths())
        weights: dict[str, object] = {
            "weight": weight.transpose(1, 2).contiguous().numpy(),
            "cutoffs": surroundings.bond_cutoffs.numpy(),
            "start": products.start.numpy(),
            "index_a": products.index_a.numpy(),
            "index_b": products.index_b.numpy(),
            "coefficient": products.values.numpy(),
        }
        kernel = kernel_class("Messages", dtype)
        basis = surroundings.basis
        self._kernel = kernel(weights, basis.n_species, basis.n_radial, basis.r0, self.members, weight.shape[5])

    def add(self, nb: Neighbourhoods, channels: torch.Tensor, components: torch.Tensor) -> None:
        """Add to tensor components in e3nn's l = 2 basis, a.u.

        Parameters
        ----------
        nb
            With ``neighbour``, rows of ``channels``.
        channels
            ``(lm, atoms, rank)``.
        components
            ``(N, members, 5)``.

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
