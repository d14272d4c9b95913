"""Third-party ML-IAP "unified" objects, driven through the data object that LAMMPS' own coupling offers them.

Such objects are Python pickles, and unpickling executes code, so they are loaded only when EFGMD_ALLOW_PICKLE=1.
"""

import os
import pickle
from pathlib import Path
from typing import Any

from efgmd.coupling.mliap_data import MliapData, as_numbers
from efgmd.coupling.native import Floats
from efgmd.errors import ModelFileError

PERMISSION = "EFGMD_ALLOW_PICKLE"


class ThirdPartyModel:
    """A pickled unified object.

    Parameters
    ----------
    path
        Pickle, or torch's form of one if the name ends in ``.pt`` or ``.pth``.

    Raises
    ------
    ModelFileError
        If pickles are not allowed, or the file holds no unified object.
    """

    def __init__(self, path: str) -> None:
        if os.environ.get(PERMISSION) != "1":
            raise ModelFileError(
                f"{path} is not an efgmd model file: give a .safetensors file of `efgmd train energy`; if it is a "
                f"pickled ML-IAP object from a source you trust (unpickling executes code), set {PERMISSION}=1"
            )
        self.unified = _unpickle(path)
        try:
            self.elements = [str(element) for element in self.unified.element_types]
            self.cutoff = 2.0 * float(self.unified.rcutfac)
        except (AttributeError, TypeError, ValueError):
            raise ModelFileError(
                f"{path} holds a {type(self.unified).__name__}, not an ML-IAP unified object: it needs element_types, "
                "rcutfac and compute_forces(data)"
            ) from None

    def evaluate_mliap(self, *arguments: Any) -> tuple[Floats, Floats, float]:
        """Energies ``(N,)``, pair forces ``(P, 3)`` and total energy, in eV and angstrom.

        The arguments are those of `efgmd.coupling.mliap_data.MliapData`.
        """
        data = MliapData(*arguments)
        try:
            self.unified.compute_gradients(data)
            self.unified.compute_descriptors(data)
            self.unified.compute_forces(data)
        finally:
            data.close()
        energy = data.eatoms.sum() if data.energy is None else as_numbers(data.energy)
        return data.eatoms[data.iatoms], data.pair_forces, float(energy)


def _unpickle(path: str) -> Any:
    try:
        if Path(path).suffix in (".pt", ".pth"):
            import torch

            return torch.load(path, map_location="cpu", weights_only=False)
        with open(path, "rb") as file:
            return pickle.load(file)
    except (AttributeError, ImportError) as error:
        raise ModelFileError(
            f"{path} cannot be unpickled ({error}): its class must be importable, not defined in __main__; put its "
            "module on PYTHONPATH"
        ) from None
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError, IndexError) as error:
        raise ModelFileError(
            f"{path} is neither an efgmd model file nor a pickle ({type(error).__name__}): give a .safetensors file of "
            "`efgmd train energy`"
        ) from None
