"""The Python half of ``compute efg/atom``."""

from typing import ClassVar

import numpy as np

from efgmd.coupling.native import Floats, Integers, NativeModel
from efgmd.errors import ModelFileError

# xx yy zz xy xz yz, LAMMPS' order of symmetric tensors.
ROWS, COLUMNS = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)


class NativeEFG(NativeModel):
    """Electric field gradients of an efgmd EFG model.

    Parameters
    ----------
    path, dtype, threads, device
        As of `NativeModel`.
    uncertainty
        Whether to give the expected error of each tensor too.

    Raises
    ------
    ModelFileError
        If the file cannot be used, or the model is no committee but the expected error is wanted.
    """

    kind: ClassVar[str] = "efg"

    def __init__(self, path: str, dtype: str, threads: int = 1, device: str = "cpu", uncertainty: bool = False) -> None:
        super().__init__(path, dtype, threads, device)
        self.uncertainty = uncertainty
        if uncertainty and self.hyperparameters.get("committee", 1) < 2:
            raise ModelFileError(
                f"{path} is no committee, so its uncertainty is unknown: leave out uncertainty yes, or train it with "
                "--set committee=4"
            )

    def evaluate(self, species: Integers, first: Integers, neighbour_species: Integers, vectors: Floats) -> Floats:
        """Tensors ``(N, 6)`` as xx yy zz xy xz yz, atomic units Hartree/(e bohr^2).

        With uncertainty ``(N, 8)``: then the expected error of a component and the grade of extrapolation, see
        `efgmd.models.EFGModel.uncertainty` and ``extrapolation``. Arguments as of :meth:`NativeModel.portions`.
        """
        import torch

        model = self.model()
        tensors = np.empty((len(species), 8 if self.uncertainty else 6))
        with torch.inference_mode():
            for centres, _, neighbourhoods in self.portions(species, first, neighbour_species, vectors):
                if self.uncertainty:
                    members = model.members(neighbourhoods)
                    mean, expected = members.mean(1), model.uncertainty(neighbourhoods, members)
                    tensors[centres, 6] = expected.double().cpu().numpy()
                    tensors[centres, 7] = model.extrapolation(neighbourhoods, expected).double().cpu().numpy()
                else:
                    mean = model(neighbourhoods)
                tensors[centres, :6] = mean[:, ROWS, COLUMNS].double().cpu().numpy()
        return tensors
