"""The Python half of ``compute extrapolation/atom``."""

from typing import ClassVar

import numpy as np

from efgmd.coupling.native import Floats, Integers, NativeModel
from efgmd.errors import ModelFileError


class NativeExtrapolation(NativeModel):
    """How far the surroundings of atoms are from what an efgmd energy model was trained on.

    The parameters are those of :class:`NativeModel`.

    Raises
    ------
    ModelFileError
        If the file cannot be used, or the model did not record its training atoms.
    """

    kind: ClassVar[str] = "energy"
    columns = 1

    def __init__(self, path: str, dtype: str, threads: int = 1, device: str = "cpu") -> None:
        super().__init__(path, dtype, threads, device)
        if not self.metadata.get("training_range"):
            raise ModelFileError(
                f"{path} did not record the atoms that it was trained on: train it with this version of efgmd"
            )

    def evaluate(self, species: Integers, first: Integers, neighbour_species: Integers, vectors: Floats) -> Floats:
        """Grades ``(N,)``, see `efgmd.models.EnergyModel.extrapolation`.

        Arguments as of :meth:`NativeModel.portions`.
        """
        import torch

        model = self.model()
        grades = np.empty(len(species))
        with torch.inference_mode():
            for centres, _, neighbourhoods in self.portions(species, first, neighbour_species, vectors):
                grades[centres] = model.extrapolation(neighbourhoods).double().cpu().numpy()
        return grades
