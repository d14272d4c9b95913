"""Products of an atom's own density with messages from chosen neighbours.

With A_i a few channels of the centre's density and M_i messages of every degree from neighbours of chosen elements,
reduced to as many channels,

    V_i = sum_path sum_ab w_ab^path [A_ia^(l1) x M_ib^(l2)]^(2),
    M_ib^(l) = sum_j sum_path sum_nq u_bnq^path [B_jq^(l1) x b_n(r_ij) Y^(l2)(r_ij)]^(l),

with B_j, b_n and Y as in `efgmd.models.messages`. These are terms of up to four atoms: what the surroundings of a
bond partner do to the centre depends on the centre's own. In lead halides, where lead sits in its octahedron and where
iodine sits between two of them decide together on the tensor of iodine.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import nn

from efgmd.errors import ModelFileError
from efgmd.models.density import DensityBasis
from efgmd.models.messages import (
    DEGREE,
    RADIAL,
    Bonds,
    Surroundings,
    check_elements,
    leading_directions,
    message_features,
    message_paths,
)
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.products import Path, merged_table, mixed, paths, product, table

_ROWS = (DEGREE + 1) ** 2


@cache
def product_paths() -> tuple[Path, ...]:
    """Products of own channels and messages into l = 2."""
    return paths(DEGREE, DEGREE, (2,))


def _pairs(
    elements: tuple[str, ...], senders: Mapping[str, Sequence[str]], cutoffs: torch.Tensor
) -> list[tuple[int, int]]:
    """Indices of centres and neighbours, checked."""
    found: list[tuple[int, int]] = []
    for centre, names in senders.items():
        if isinstance(names, str) or not names:
            raise ModelFileError(f"message_products of {centre}: write a list of elements, got {names!r}")
        check_elements("message_products", elements, [centre, *names])
        for name in names:
            pair = elements.index(centre), elements.index(name)
            if pair in found:
                raise ModelFileError(f"message_products of {centre}: {name} is named twice")
            if not cutoffs[pair]:
                raise ModelFileError(
                    f"message_products of {centre}: {name} sends it nothing, leave it out or change message_cutoffs"
                )
            found.append(pair)
    return found


class MessageProducts(nn.Module):
    """Products of own densities with messages, for the centres of some elements.

    Parameters
    ----------
    elements
        Of the model.
    senders
        By the element of the centre, the elements of the neighbours whose messages are taken.
    cutoffs
        Of messages, ``(elements, elements)``, angstrom.
    basis
        Of the model's densities, which has the own densities' functions among its own.
    rank
        Channels of the own densities and of the messages, of each degree; no more than either have functions.
    message_rank
        Channels that neighbours send, of each degree.
    committee
        Number of members.

    Attributes
    ----------
    rank
        As given, or fewer.
    own
        The channels of the own densities; zero for other elements.
    pairs
        ``(centre, neighbour)``, indices of elements.
    mixing
        ``(pairs, rank, paths, n, message rank)`` for each degree: channels of messages.
    offset
        ``(elements, rank)``, taken from the messages of degree 0.
    weight
        ``(elements, committee, paths, rank, rank)``.

    Raises
    ------
    ModelFileError
        An element that the model does not have, no neighbours or one named twice, one that sends nothing there, no
        channels, or a basis of too few functions.
    """

    offset: torch.Tensor
    weight: torch.Tensor

    def __init__(
        self,
        elements: tuple[str, ...],
        senders: Mapping[str, Sequence[str]],
        cutoffs: torch.Tensor,
        basis: DensityBasis,
        rank: int,
        message_rank: int,
        committee: int,
    ):
        super().__init__()
        if rank < 1:
            raise ModelFileError(f"product_rank: {rank} channels are none, give 1 or more")
        if basis.lmax < DEGREE or basis.n_radial < RADIAL:
            raise ModelFileError(
                f"message_products need lmax of at least {DEGREE} and n_radial of at least {RADIAL}, got {basis.lmax} "
                f"and {basis.n_radial}: raise them, or leave the products out"
            )
        self.pairs = _pairs(elements, senders, cutoffs)
        fewest = min(len(message_paths(degree)) for degree in range(DEGREE + 1)) * RADIAL * message_rank
        self.rank = min(rank, RADIAL * len(elements), fewest)
        self.own = Surroundings(basis.cutoffs, basis.r0, self.rank)
        for degree in range(DEGREE + 1):
            shape = len(self.pairs), self.rank, len(message_paths(degree)), RADIAL, message_rank
            self.register_buffer(f"mixing{degree}", torch.zeros(shape))
        self.register_buffer("offset", torch.zeros(len(elements), self.rank))
        square = self.rank, self.rank
        self.register_buffer("weight", torch.zeros(len(elements), committee, len(product_paths()), *square))

    @property
    def mixing(self) -> list[torch.Tensor]:
        """Of each degree, see above."""
        return [self.get_buffer(f"mixing{degree}") for degree in range(DEGREE + 1)]

    @property
    def centres(self) -> list[int]:
        """Elements that have such products, as indices."""
        return sorted({centre for centre, _ in self.pairs})

    def messages(self, channels: torch.Tensor, bonds: Bonds, row: torch.Tensor, n: int, element: int) -> torch.Tensor:
        """Channels of messages ``(lm, n, rank)`` to the centres of one element; arguments as of `MessageTensor`."""
        parts = []
        for degree, mixing in enumerate(self.mixing):
            part = channels.new_zeros(n, 2 * degree + 1, self.rank)
            for number, (centre, neighbour) in enumerate(self.pairs):
                if centre == element:
                    features = message_features(channels, bonds, row, n, [neighbour], degree)
                    part = part + torch.matmul(features, mixing[number].flatten(1).T)
            parts.append((part if degree else part - self.offset[element]).transpose(0, 1))
        return torch.cat(parts)

    def tensors(self, own: torch.Tensor, messages: torch.Tensor, element: int, mean: bool) -> torch.Tensor:
        """Tensor components ``(n, members, 5)`` from channels ``(lm, n, rank)`` of centres of one element."""
        weight = self.weight[element].mean(0, keepdim=True) if mean else self.weight[element]
        both, messages = merged_table(product_paths(), _ROWS), messages.contiguous()
        out = []
        for part in weight:
            out.append(product(mixed(own, product_paths(), part), messages, both).sum(2).T)
        return torch.stack(out, 1)

    def forward(self, nb: Neighbourhoods, channels: torch.Tensor, bonds: Bonds, mean: bool) -> torch.Tensor:
        """Tensor components ``(N, members, 5)`` in units of each element's scale, by operations of torch."""
        own = self.own(nb)
        out = channels.new_zeros(len(nb.species), 1 if mean else self.weight.shape[1], 5)
        for element in self.centres:
            chosen = (nb.species == element).nonzero()[:, 0]
            if len(chosen):
                sent = self.messages(channels, bonds, bonds.rows_among(chosen), len(chosen), element)
                out[chosen] = self.tensors(own[:, chosen], sent, element, mean)
        return out

    def fit(self, nb: Neighbourhoods, channels: torch.Tensor, bonds: Bonds) -> None:
        """Set the channels to the directions in which densities and messages of given atoms vary most."""
        self.own.fit(nb)
        for element in set(range(len(self.offset))).difference(self.centres):
            self.own.maps[element] = 0.0
        for element in self.centres:
            chosen = (nb.species == element).nonzero()[:, 0]
            if not len(chosen):
                continue
            row, n = bonds.rows_among(chosen), len(chosen)
            numbers = [k for k, (centre, _) in enumerate(self.pairs) if centre == element]
            senders = [self.pairs[k][1] for k in numbers]
            for degree, mixing in enumerate(self.mixing):
                flat = message_features(channels, bonds, row, n, senders, degree).flatten(0, 1).double()
                mean = flat.mean(0) if degree == 0 else torch.zeros_like(flat[0])
                maps = leading_directions(flat - mean, self.rank)
                if degree == 0:
                    self.offset[element] = mean @ maps
                mixing[numbers] = maps.T.reshape(self.rank, len(numbers), *mixing.shape[2:]).transpose(0, 1).to(mixing)


def product_features(own: torch.Tensor, messages: torch.Tensor) -> torch.Tensor:
    """What the weights of `MessageProducts` multiply, ``(n, 5, paths * rank * rank)`` in their order."""
    rank = own.shape[2]
    left, right = own.repeat_interleave(rank, dim=2), messages.repeat(1, 1, rank)
    parts = [product(left, right, table(_ROWS, _ROWS, (path,))) for path in product_paths()]
    return torch.cat(parts, 2).transpose(0, 1)
