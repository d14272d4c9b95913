"""Third-party ML-IAP "unified" objects, driven through the data object that LAMMPS' own coupling offers them.

Such objects are Python pickles, and unpickling executes code, so they are loaded only when EFGMD_ALLOW_PICKLE=1.
"""

import os
import pickle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efgmd.coupling.native import Floats, Integers
from efgmd.errors import CouplingError, ModelFileError

PERMISSION = "EFGMD_ALLOW_PICKLE"


class MliapData:
    """What a unified object sees of a step, and where it puts its results.

    Attribute names are those of LAMMPS' ML-IAP package. N centres, P pairs, T owned and ghost atoms.

    Attributes
    ----------
    nlocal, ntotal, nlistatoms, natomneigh, npairs : int
        Owned atoms, owned and ghost atoms, centres, centres again (no ghost has neighbours), pairs.
    iatoms, ielems, numneighs : int arrays ``(N,)``
        Atom index, element and number of neighbours of each centre.
    elems : int array ``(T,)``
        Element of each atom.
    pair_i, jatoms, pair_j, jelems : int arrays ``(P,)``
        Atom index of the centre, of the neighbour (twice), and the neighbour's element.
    rij : float array ``(P, 3)``
        From centre to neighbour, angstrom.
    f : float array ``(T, 3)``
        LAMMPS' forces.
    eatoms : float array ``(N,)``
        Energies of the centres, to be filled.
    energy : float
        Total energy, to be set; the sum of eatoms if it is not.
    eflag, vflag : int
        Non-zero if LAMMPS wants energies or the virial.
    """

    def __init__(
        self,
        species: Integers,
        first: Integers,
        neighbour_species: Integers,
        vectors: Floats,
        centres: NDArray[np.int32],
        neighbours: NDArray[np.int32],
        nlocal: int,
        elements: NDArray[np.int32],
        forces: Floats,
        eflag: int,
        vflag: int,
    ) -> None:
        self.nlocal, self.ntotal = nlocal, len(elements)
        self.nlistatoms = self.natomneigh = len(centres)
        self.npairs = len(neighbours)
        self.iatoms, self.ielems = centres, species
        self.numneighs = np.diff(first)
        self.elems = elements
        self._row = np.repeat(np.arange(len(centres)), self.numneighs)
        self.pair_i = centres[self._row]
        self.jatoms = self.pair_j = neighbours
        self.jelems = neighbour_species
        self.rij = vectors
        self.f = forces
        self.eflag, self.vflag = eflag, vflag
        self.energy: float | None = None
        self._eatoms = np.zeros(len(centres))
        self.pair_forces = np.zeros((self.npairs, 3))

    @property
    def eatoms(self) -> Floats:
        """Energies of the centres, shape ``(N,)``; can be assigned or filled."""
        return self._eatoms

    @eatoms.setter
    def eatoms(self, values: ArrayLike) -> None:
        self._eatoms[:] = np.asarray(values).reshape(-1)

    def update_pair_energy(self, eij: ArrayLike) -> None:
        """Add half of each pair's energy ``(P,)`` to its centre."""
        weights = 0.5 * np.asarray(eij, dtype=float).reshape(-1)
        self._eatoms += np.bincount(self._row, weights=weights, minlength=self.nlistatoms)
        self.energy = float(self._eatoms.sum())

    def update_pair_forces(self, fij: ArrayLike) -> None:
        """Add ``fij`` ``(P, 3)`` to the force of each pair's centre and take it from the neighbour's."""
        self.pair_forces += np.asarray(fij, dtype=float).reshape(self.npairs, 3)

    def forward_exchange(self, *_: Any) -> NoReturn:
        """Ghost features are not exchanged."""
        raise CouplingError(
            "this model exchanges features of ghost atoms (message passing), which pair_style mliap unified of efgmd "
            "does not offer: use a strictly local model"
        )

    reverse_exchange = forward_exchange


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

        The arguments are those of `MliapData`.
        """
        data = MliapData(*arguments)
        self.unified.compute_gradients(data)
        self.unified.compute_descriptors(data)
        self.unified.compute_forces(data)
        energy = float(data.eatoms.sum()) if data.energy is None else float(data.energy)
        return data.eatoms, data.pair_forces, energy


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
