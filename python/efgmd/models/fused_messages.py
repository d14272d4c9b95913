"""Compiled evaluation of the messages of an EFG model: what is sent, and the tensors of all members from it."""

from collections.abc import Sequence

import torch

from efgmd import _kernels
from efgmd.models.density import DensityBasis
from efgmd.models.fused_linear import CHUNK
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
        kernel = _kernels.ChannelsDouble if dtype == torch.float64 else _kernels.ChannelsFloat
        basis = surroundings.basis
        self._kernel = kernel(weights, basis.n_species, basis.n_radial, basis.cutoff, basis.r0, self._rank)

    def __call__(self, nb: Neighbourhoods) -> torch.Tensor:
        """Channels ``(lm, N, rank)``.

        Raises
        ------
        ValueError
            If arrays are not contiguous on the CPU or not of the model's dtype.
        """
        arrays = (nb.species, nb.first, nb.neighbour_species, nb.vectors)
        if nb.vectors.dtype != self.dtype or not all(t.is_contiguous() and t.device.type == "cpu" for t in arrays):
            raise ValueError("fused channels: arrays must be contiguous, on the CPU and in the model's dtype")
        channels = nb.vectors.new_empty(len(nb.species), (DEGREE + 1) ** 2, self._rank)
        self._kernel.evaluate(len(nb.species), *(t.data_ptr() for t in (*arrays, channels)))
        return channels.transpose(0, 1)


class FusedMessages:
    """Weights of the messages to all elements, compiled into the kernel's form.

    Parameters
    ----------
    parts
        Of each element.
    basis
        Of the neighbours' densities, for the cutoff and the radial functions.
    dtype
        ``torch.float32`` or ``torch.float64``.
    mean
        Whether to give the mean of the committee in place of its members.
    """

    def __init__(self, parts: Sequence[MessageTensor], basis: DensityBasis, dtype: torch.dtype, mean: bool):
        weight = torch.stack([part.weight.detach().double() for part in parts])
        if mean:
            weight = weight.mean(1, keepdim=True)
        self.dtype, self.members = dtype, weight.shape[1]
        self._padding = -weight.shape[5] % CHUNK
        weight = torch.nn.functional.pad(weight, (0, self._padding))
        products = table((DEGREE + 1) ** 2, (DEGREE + 2) ** 2, message_paths())
        weights: dict[str, object] = {
            "weight": weight.transpose(1, 2).contiguous().numpy(),
            "start": products.start.numpy(),
            "index_a": products.index_a.numpy(),
            "index_b": products.index_b.numpy(),
            "coefficient": products.values.numpy(),
        }
        kernel = _kernels.MessagesDouble if dtype == torch.float64 else _kernels.MessagesFloat
        sizes = basis.n_species, basis.n_radial, basis.cutoff, basis.r0
        self._kernel = kernel(weights, *sizes, self.members, weight.shape[5])

    def __call__(self, nb: Neighbourhoods, channels: torch.Tensor) -> torch.Tensor:
        """Tensor components ``(N, members, 5)`` in e3nn's l = 2 basis, in units of each element's scale.

        Parameters
        ----------
        nb
            With ``neighbour``, rows of ``channels``.
        channels
            ``(lm, atoms, rank)``.

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
        arrays = (nb.species, nb.first, nb.neighbour_species, nb.neighbour, nb.vectors)
        alike = nb.vectors.dtype == sent.dtype == self.dtype
        if not alike or not all(t.is_contiguous() and t.device.type == "cpu" for t in arrays):
            raise ValueError("fused messages: arrays must be contiguous, on the CPU and in the model's dtype")
        components = nb.vectors.new_empty(len(nb.species), self.members, 5)
        addresses = [t.data_ptr() for t in (*arrays, sent, components)]
        self._kernel.evaluate(len(nb.species), *addresses)
        return components
