"""The Python half of ``pair_style mliap unified`` for efgmd's own energy models."""

from typing import ClassVar

import numpy as np

from efgmd.coupling.native import Floats, Integers, NativeModel


class NativeEnergy(NativeModel):
    """Energies and pair forces of an efgmd energy model."""

    kind: ClassVar[str] = "energy"

    def evaluate(
        self, species: Integers, first: Integers, neighbour_species: Integers, vectors: Floats
    ) -> tuple[Floats, Floats]:
        """Energies ``(N,)`` in eV and dE_total/d(vectors) ``(P, 3)`` in eV/angstrom.

        The arguments are those of :meth:`NativeModel.portions`.
        """
        model = self.model()
        energies = np.empty(len(species))
        pair_forces = np.empty((len(vectors), 3))
        for centres, pairs, neighbourhoods in self.portions(species, first, neighbour_species, vectors):
            energy, gradient = model.energies_and_pair_forces(neighbourhoods)
            energies[centres] = energy.detach().numpy()
            pair_forces[pairs] = gradient.detach().numpy()
        return energies, pair_forces
