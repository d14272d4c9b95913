"""The input of every model: the neighbours of each centre, grouped by centre."""

from typing import NamedTuple

import torch


class Neighbourhoods(NamedTuple):
    """Neighbourhoods of ``N`` centres with ``P`` pairs in all, in compressed-row form.

    The models are strictly local, so a centre's own neighbours are all they need: no ghost atoms, no cell.

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
    """

    species: torch.Tensor
    first: torch.Tensor
    neighbour_species: torch.Tensor
    vectors: torch.Tensor
