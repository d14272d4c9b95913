"""The Python half of ``compute efg/atom``."""

from typing import ClassVar

import numpy as np

from efgmd.coupling.native import Floats, Integers, NativeModel

# xx yy zz xy xz yz, LAMMPS' order of symmetric tensors.
ROWS, COLUMNS = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)


class NativeEFG(NativeModel):
    """Electric field gradients of an efgmd EFG model."""

    kind: ClassVar[str] = "efg"

    def evaluate(self, species: Integers, first: Integers, neighbour_species: Integers, vectors: Floats) -> Floats:
        """Tensors ``(N, 6)`` as xx yy zz xy xz yz, atomic units Hartree/(e bohr^2).

        The arguments are those of :meth:`NativeModel.portions`.
        """
        import torch

        model = self.model()
        tensors = np.empty((len(species), 6))
        with torch.no_grad():
            for centres, _, neighbourhoods in self.portions(species, first, neighbour_species, vectors):
                tensors[centres] = model(neighbourhoods)[:, ROWS, COLUMNS].double().cpu().numpy()
        return tensors
