"""Equivariant models of energies and electric field gradients."""

from efgmd.models.efg import EFGModel
from efgmd.models.energy import EnergyModel
from efgmd.models.neighbourhoods import Neighbourhoods

__all__ = ["EFGModel", "EnergyModel", "Neighbourhoods"]
