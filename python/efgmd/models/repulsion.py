"""Screened nuclear repulsion at distances far inside a bond, where no training data exist."""

from typing import Any

import numpy as np
import torch
from ase.data import covalent_radii
from torch import nn

from efgmd.models.kernel_calls import kernel_class
from efgmd.models.neighbourhoods import Neighbourhoods

# Ziegler, Biersack, Littmark universal screening function: phi(x) = sum_k c_k exp(-d_k x), and e^2/(4 pi eps0), eV A.
_COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
_DECAYS = (3.19980, 0.94229, 0.40290, 0.20162)
_COULOMB = 14.399645
_REACH = 0.8  # of the sum of covalent radii


class ShortRangeRepulsion(nn.Module):
    """ZBL repulsion times (1 - (r/R)^2)^3, zero beyond R = 0.8 times the sum of covalent radii.

    Parameters
    ----------
    numbers
        Atomic numbers in the order of the species indices.
    """

    reach: torch.Tensor
    charge: torch.Tensor
    screening: torch.Tensor

    def __init__(self, numbers: list[int]):
        super().__init__()
        z = torch.tensor(numbers, dtype=torch.float64)
        radius = torch.tensor([covalent_radii[n] for n in numbers])
        power = z**0.23
        self.register_buffer("reach", (_REACH * (radius[:, None] + radius)).float(), persistent=False)
        self.register_buffer("charge", (_COULOMB * z[:, None] * z).float(), persistent=False)
        self.register_buffer("screening", (0.46850 / (power[:, None] + power)).float(), persistent=False)
        self.longest = float(self.reach.max())

    def compiled(self, dtype: torch.dtype) -> Any:
        """The same function with its derivative as a kernel for vectors of this dtype; it works in double precision."""
        tables = {"reach": self.reach, "charge": self.charge, "screening": self.screening}
        return kernel_class("Repulsion", dtype)(
            len(self.reach),
            {
                **{name: table.double().numpy() for name, table in tables.items()},
                "coefficients": np.array(_COEFFICIENTS),
                "decays": np.array(_DECAYS),
            },
        )

    def forward(self, nb: Neighbourhoods) -> torch.Tensor:
        """Energies ``(N,)`` in eV, half of each pair's to either atom."""
        out = nb.vectors.new_zeros(len(nb.species))
        squared = nb.vectors.detach().square().sum(1)
        near = (squared < self.longest**2).nonzero()[:, 0]
        if not len(near):
            return out
        centre = torch.searchsorted(nb.first, near, right=True) - 1
        kinds = nb.species[centre], nb.neighbour_species[near]
        inside = squared[near] < self.reach[kinds] ** 2
        near, centre, kinds = near[inside], centre[inside], (kinds[0][inside], kinds[1][inside])
        if not len(near):
            return out
        distance = nb.vectors[near].norm(dim=1)
        x = distance / self.screening[kinds]
        phi = sum(c * torch.exp(-d * x) for c, d in zip(_COEFFICIENTS, _DECAYS, strict=True))
        envelope = (1 - (distance / self.reach[kinds]) ** 2) ** 3
        return out.index_add(0, centre, 0.5 * self.charge[kinds] / distance * phi * envelope)
