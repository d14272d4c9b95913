"""Linear tensors of neighbours and of what surrounds these: one step of message passing, without activation.

With channels B_j of degree l1 from the densities of each neighbour j, and functions b_n(r_ij) Y_l2(r_ij), the tensor is

    V_i = sum_j sum_path sum_nq w_nq^path [B_jq^(l1) x b_n Y^(l2)]^(2).

These are terms of three atoms i, j, k with the angle and the distance taken at the neighbour j, where a density of the
centre i resolves atoms k bonded to j only coarsely; together with products of densities they describe the bonds of
neighbours as the first layers of message-passing networks do (Batzner et al., Nat. Commun. 13, 2453 (2022)).
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import cast

import torch
from torch import nn

from efgmd.errors import ModelFileError
from efgmd.models.density import CentreLayout, DensityBasis, density
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.products import Path, merged_table, mixed, paths, product, table

RADIAL = 6  # functions of a bond's length, and in the densities of neighbours
DEGREE = 3  # highest of the densities of neighbours; those of the bond go one further


@cache
def message_paths(degree: int = 2) -> tuple[Path, ...]:
    """Products of a neighbour's channels and the harmonics of the bond to it, into a degree."""
    return paths(DEGREE, DEGREE + 1, (degree,))


def cutoffs_of_centres(
    elements: tuple[str, ...], cutoff: float, shortest: float, overrides: Mapping[str, float]
) -> tuple[float, ...]:
    """Cutoff of each element's centres, angstrom.

    Parameters
    ----------
    elements, cutoff, shortest, overrides
        Of the model, its ``cutoff``, ``message_cutoff`` and ``centre_cutoffs``, see `efgmd.models.EFGModel`.

    Raises
    ------
    ModelFileError
        An element that the model does not have, a cutoff outside of ``message_cutoff`` to ``cutoff``, or shorter ones
        for all elements.
    """
    check_elements("centre_cutoffs", elements, overrides)
    for element, length in overrides.items():
        if not max(shortest, 0.1) <= length <= cutoff:
            least = f"the message_cutoff of {shortest:g}" if shortest else "0.1"
            raise ModelFileError(
                f"centre_cutoffs of {element}: {length:g} angstrom is not from {least} to the cutoff of {cutoff:g}, "
                "change it or these"
            )
    out = tuple(float(overrides.get(element, cutoff)) for element in elements)
    if max(out) < cutoff:
        raise ModelFileError(
            f"centre_cutoffs: no centre sees as far as the cutoff of {cutoff:g} angstrom, lower it to {max(out):g}"
        )
    return out


def pair_cutoffs(
    elements: tuple[str, ...],
    cutoffs: Sequence[float],
    default: float,
    overrides: Mapping[str, Mapping[str, float]],
) -> torch.Tensor:
    """Cutoffs of messages ``(elements, elements)``, angstrom, by the element of the centre and of the neighbour.

    Parameters
    ----------
    elements, cutoffs
        Of the model; the cutoffs of each element's centres, angstrom.
    default, overrides
        ``message_cutoff`` and ``message_cutoffs`` of `efgmd.models.EFGModel`.

    Returns
    -------
    Tensor of float64 on the CPU.

    Raises
    ------
    ModelFileError
        An element that the model does not have, a cutoff outside of 0 to that of the centre, or no messages at all.
    """
    if overrides and not default:
        raise ModelFileError("message_cutoffs: the model has no messages, set message_cutoff too")
    out = torch.full((len(elements), len(elements)), default, dtype=torch.float64)
    for centre, lengths in overrides.items():
        check_elements("message_cutoffs", elements, [centre, *lengths])
        longest = cutoffs[elements.index(centre)]
        for neighbour, length in lengths.items():
            if not 0 <= length <= longest:
                raise ModelFileError(
                    f"message_cutoffs, {centre} from {neighbour}: {length:g} angstrom is not from 0 to the cutoff of "
                    f"{longest:g} that {centre} has, change it, cutoff or centre_cutoffs"
                )
            out[elements.index(centre), elements.index(neighbour)] = length
    return out


def check_elements(name: str, elements: tuple[str, ...], named: Iterable[str]) -> None:
    """Refuse a hyperparameter that names elements which a model does not have.

    Raises
    ------
    ModelFileError
        Names the element.
    """
    for element in named:
        if element not in elements:
            raise ModelFileError(f"{name}: {element} is no element of the model, which has {' '.join(elements)}")


class Bonds:
    """The pairs that messages go along.

    Parameters
    ----------
    nb
        Neighbourhoods of the centres.
    cutoffs
        Of messages, ``(elements, elements)``, angstrom.
    r0
        Length of the radial map, angstrom.

    Attributes
    ----------
    centre, neighbour, species
        ``(P,)``, rows of the centre and of the neighbour, and the neighbour's element.
    functions
        ``(lm, P, n)``, b_n(r) Y_lm.
    """

    def __init__(self, nb: Neighbourhoods, cutoffs: torch.Tensor, r0: float):
        if nb.neighbour is None:
            raise ValueError("neighbourhoods do not say which rows the neighbours are, which messages need")
        cutoffs = cutoffs.to(nb.vectors)
        near = nb.within(cutoffs[nb.species[nb.centres()], nb.neighbour_species])
        self.neighbour, self.species = cast(torch.Tensor, near.neighbour), near.neighbour_species
        self.centre = near.centres()
        cutoff = cutoffs[nb.species[self.centre], self.species]
        rows, parts = [], []
        for one in cutoff.unique():
            rows.append((cutoff == one).nonzero()[:, 0])
            parts.append(_alone(near.vectors[rows[-1]], DensityBasis((float(one),), r0, RADIAL, DEGREE + 1)))
        # Without any pair there is no cutoff either.
        ordered = torch.cat([nb.vectors.new_zeros((DEGREE + 2) ** 2, 0, RADIAL), *parts], 1)
        order = torch.cat([self.centre[:0], *rows])
        self.functions = torch.empty_like(ordered).index_copy(1, order, ordered)
        self._count = len(nb.species)

    def rows_among(self, centres: torch.Tensor) -> torch.Tensor:
        """Place ``(P,)`` of each bond's centre among the given ones, -1 for bonds of other centres."""
        places = torch.arange(len(centres), device=centres.device)
        return centres.new_full((self._count,), -1).index_copy(0, centres, places)[self.centre]


def _alone(vectors: torch.Tensor, shape: DensityBasis) -> torch.Tensor:
    """Functions of bonds ``(lm, P, n)``: a bond alone is a density of one neighbour, of one kind."""
    kind = vectors.new_zeros(len(vectors), dtype=torch.int64)
    nb = Neighbourhoods(kind, torch.arange(len(kind) + 1, device=kind.device), kind, vectors)
    layout = CentreLayout.build(kind, shape)
    return layout.blocks(density(nb, shape, layout), shape)[0]


class Surroundings(nn.Module):
    """Channels of every atom from its density, to be sent to its neighbours.

    Parameters
    ----------
    cutoffs, r0
        Of densities, angstrom; the former of each element.
    rank
        Channels of each degree.

    Attributes
    ----------
    mean
        ``(elements, K)``, of the densities of degree 0.
    maps
        ``(elements, degrees, K, rank)``.
    """

    mean: torch.Tensor
    maps: torch.Tensor

    def __init__(self, cutoffs: tuple[float, ...], r0: float, rank: int):
        super().__init__()
        self.basis, self.rank = DensityBasis(cutoffs, r0, RADIAL, DEGREE), rank
        self.register_buffer("mean", torch.zeros(len(cutoffs), self.basis.width))
        self.register_buffer("maps", torch.zeros(len(cutoffs), DEGREE + 1, self.basis.width, rank))

    def densities(self, nb: Neighbourhoods) -> tuple[list[torch.Tensor], CentreLayout]:
        """Density block of each element and the layout that leads back to the order of the atoms."""
        layout = CentreLayout.build(nb.species, self.basis)
        return layout.blocks(density(nb, self.basis, layout), self.basis), layout

    def forward(self, nb: Neighbourhoods) -> torch.Tensor:
        """Channels ``(lm, N, rank)``."""
        blocks, layout = self.densities(nb)
        parts = []
        for block, mean, maps in zip(blocks, self.mean, self.maps, strict=True):
            scalars = torch.matmul(block[:1] - mean, maps[0])
            higher = [torch.matmul(block[l * l : (l + 1) ** 2], maps[l]) for l in range(1, DEGREE + 1)]
            parts.append(torch.cat([scalars, *higher]))
        rows = torch.cat(parts, 1)
        return torch.empty_like(rows).index_copy(1, layout.order, rows)

    def fit(self, nb: Neighbourhoods) -> None:
        """Set the maps to the directions in which the densities of given atoms vary most, element by element."""
        for s, block in enumerate(self.densities(nb)[0]):
            if not block.shape[1]:
                continue
            self.mean[s] = block[0].mean(0)
            for l in range(DEGREE + 1):
                part = block[l * l : (l + 1) ** 2] - (self.mean[s] if l == 0 else 0)
                flat = part.reshape(-1, part.shape[2]).double()
                self.maps[s, l] = leading_directions(flat, self.rank).to(self.maps)


def leading_directions(features: torch.Tensor, rank: int) -> torch.Tensor:
    """Maps ``(F, rank)`` to the directions in which features ``(n, F)`` vary most, in units of the largest spread."""
    values, vectors = torch.linalg.eigh(features.T @ features / len(features))
    return vectors.flip(1)[:, :rank] / values[-1].sqrt().clamp(min=1e-12)


class MessageTensor(nn.Module):
    """Tensors from messages to the centres of one element.

    Attributes
    ----------
    weight
        ``(committee, elements, paths, n, rank)``, by the element of the neighbour.
    """

    weight: torch.Tensor

    def __init__(self, n_species: int, rank: int, committee: int):
        super().__init__()
        shape = committee, n_species, len(message_paths()), RADIAL, rank
        self.register_buffer("weight", torch.zeros(shape))

    def forward(
        self, channels: torch.Tensor, bonds: Bonds, row: torch.Tensor, n: int, mean: bool = False
    ) -> torch.Tensor:
        """Tensor components ``(n, members, 5)`` in e3nn's l = 2 basis.

        Parameters
        ----------
        channels
            ``(lm, N, rank)`` of all atoms.
        bonds
            Of all centres.
        row
            ``(P,)``: row of the result for each bond, -1 for bonds of other elements' centres.
        n
            Number of this element's centres.
        mean
            Average the weights first, which is exact.
        """
        weight = self.weight.mean(0, keepdim=True) if mean else self.weight
        both = merged_table(message_paths(), (DEGREE + 2) ** 2)
        out = channels.new_zeros(n, len(weight), 5)
        for s in range(weight.shape[1]):
            chosen = ((row >= 0) & (bonds.species == s)).nonzero()[:, 0]
            if not len(chosen):
                continue
            senders, place = torch.unique(bonds.neighbour[chosen], return_inverse=True)
            sent = channels[:, senders]
            functions = bonds.functions[:, chosen]
            for m, part in enumerate(weight[:, s]):
                left = mixed(sent, message_paths(), part.transpose(1, 2))
                tensors = product(left[:, place].contiguous(), functions.contiguous(), both).sum(2).T
                out[:, m].index_add_(0, row[chosen], tensors)
        return out


def message_features(
    channels: torch.Tensor, bonds: Bonds, row: torch.Tensor, n: int, senders: Sequence[int], degree: int = 2
) -> torch.Tensor:
    """What the weights of `MessageTensor` multiply, ``(n, 2 l + 1, senders * paths * n_radial * rank)`` in their order.

    Messages from the elements ``senders``, of degree l; the other arguments as of `MessageTensor.forward`.
    """
    rank, count, width = channels.shape[2], len(message_paths(degree)), 2 * degree + 1
    out = channels.new_zeros(len(senders), n, count * width, RADIAL * rank)
    for s, sender in enumerate(senders):
        every = ((row >= 0) & (bonds.species == sender)).nonzero()[:, 0]
        for chosen in every.split(2000):
            left = channels[:, bonds.neighbour[chosen]].repeat(1, 1, RADIAL)
            right = bonds.functions[:, chosen].repeat_interleave(rank, dim=2)
            t = table((DEGREE + 1) ** 2, (DEGREE + 2) ** 2, message_paths(degree))
            out[s].index_add_(0, row[chosen], product(left, right, t).transpose(0, 1))
    parts = out.view(len(senders), n, count, width, RADIAL * rank)
    return parts.permute(1, 3, 0, 2, 4).reshape(n, width, -1)
