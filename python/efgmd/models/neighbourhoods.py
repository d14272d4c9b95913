"""The input of every model: the neighbours of each centre, grouped by centre."""

from typing import NamedTuple

import torch


class Neighbourhoods(NamedTuple):
    """Neighbourhoods of ``N`` centres with ``P`` pairs in all, in compressed-row form.

    A centre's own neighbours are all that most models need: no ghost atoms, no cell. Those that pass messages also ask
    which atoms the neighbours are.

    Attributes
    ----------
    species
        int64 of shape ``(N,)``: index of each centre's element in ``model.elements``.
    first
        int64 of shape ``(N + 1,)``: the pairs of centre ``k`` are rows ``first[k]`` to ``first[k + 1]``.
    neighbour_species
        int64 of shape ``(P,)``: index of each neighbour's element.
    vectors
        float of shape ``(P, 3)``: from centre to neighbour, angstrom. Rows at or beyond the model's cutoff
        contribute exactly nothing.
    neighbour
        int64 of shape ``(P,)``: row of each neighbour among the atoms that have channels; None if unknown.
    """

    species: torch.Tensor
    first: torch.Tensor
    neighbour_species: torch.Tensor
    vectors: torch.Tensor
    neighbour: torch.Tensor | None = None

    def centres(self) -> torch.Tensor:
        """Row ``(P,)`` of each pair's centre."""
        return torch.repeat_interleave(torch.arange(len(self.species), device=self.first.device), self.first.diff())

    def within(self, distance: float | torch.Tensor) -> "Neighbourhoods":
        """Without the pairs that are at least this distance apart, angstrom: one for all, or ``(P,)`` of each pair."""
        near = (self.vectors.square().sum(1) < distance**2).nonzero()[:, 0]
        return Neighbourhoods(
            self.species,
            torch.searchsorted(near, self.first),
            self.neighbour_species[near],
            self.vectors[near],
            None if self.neighbour is None else self.neighbour[near],
        )

    def to(self, device: str | torch.device) -> "Neighbourhoods":
        """Copy on another device."""
        return Neighbourhoods(
            self.species.to(device),
            self.first.to(device),
            self.neighbour_species.to(device),
            self.vectors.to(device),
            None if self.neighbour is None else self.neighbour.to(device),
        )
