"""The Python half of ``pair_style mliap unified`` for efgmd's own energy models."""

from typing import Any, ClassVar

from numpy.typing import NDArray

from efgmd.coupling.native import Floats, Integers, NativeModel


class NativeEnergy(NativeModel):
    """Energies and pair forces of an efgmd energy model."""

    kind: ClassVar[str] = "energy"

    def evaluate(
        self, species: Integers, first: Integers, neighbour_species: Integers, vectors: Floats
    ) -> tuple[Floats, NDArray[Any]]:
        """Energies ``(N,)`` in eV and dE_total/d(vectors) ``(P, 3)`` in eV/angstrom, in the model's dtype.

        The arguments are those of :meth:`NativeModel.neighbourhoods`. The plugin gives a block of centres at a time.
        """
        energies, gradient = self.model().energies_and_pair_forces(
            self.neighbourhoods(species, first, neighbour_species, vectors)
        )
        return energies.detach().numpy(), gradient.detach().numpy()
