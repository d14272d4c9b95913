"""Energy models as ML-IAP "unified" objects, for a LAMMPS whose own ``pair_style mliap`` has Python.

The file is a pickle of a :class:`UnifiedEnergy`, which holds the bytes of the model file. LAMMPS' Python must be able
to import efgmd; only numbers and text are read from the file beyond that.
"""

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efgmd.coupling.mliap import NativeEnergy
from efgmd.errors import CouplingError, ModelFileError

_DTYPES = ("float32", "float64")


def export_mliap(model: str | Path, output: str | Path, dtype: str = "float32") -> None:
    """Write an energy model as a file for ``pair_style mliap unified`` of a LAMMPS with Python-enabled ML-IAP.

    Parameters
    ----------
    model
        Energy model, a ``.safetensors`` file of efgmd.
    output
        File to write. LAMMPS reads names that end in ``.pt`` or ``.pth`` with torch and all others as a plain pickle,
        and so they are written.
    dtype
        Precision of the model's arithmetic, ``"float32"`` or ``"float64"``.

    Raises
    ------
    ModelFileError
        If the model cannot be used, the precision is unknown, or the file cannot be written.
    """
    if dtype not in _DTYPES:
        raise ModelFileError(f"dtype {dtype!r} is not supported: use float32 or float64")
    exported = UnifiedEnergy(str(model), dtype)
    target = Path(output)
    try:
        if target.suffix in (".pt", ".pth"):
            import torch

            torch.save(exported, target)
        else:
            target.write_bytes(pickle.dumps(exported))
    except (OSError, RuntimeError) as error:
        raise ModelFileError(f"{output} cannot be written ({error}): choose another place") from None


class UnifiedEnergy:
    """An efgmd energy model behind the interface of ML-IAP's unified objects.

    Parameters
    ----------
    path
        Energy model file.
    dtype
        ``"float32"`` or ``"float64"``.

    Attributes
    ----------
    element_types : list[str]
        Elements, in the order of the indices that LAMMPS gives.
    rcutfac : float
        Half the cutoff, angstrom.
    ndescriptors, nparams : int
        Sizes that LAMMPS asks for; nothing is stored in them.

    Raises
    ------
    ModelFileError
        If the file is no energy model of efgmd.
    """

    def __init__(self, path: str, dtype: str) -> None:
        energy = NativeEnergy(path, dtype)
        self.element_types = energy.elements
        self.rcutfac = 0.5 * energy.cutoff
        self.ndescriptors = self.nparams = 1
        self.dtype = dtype
        self.content = Path(path).read_bytes()
        self.interface: Any = None  # set by LAMMPS
        self._energy: NativeEnergy | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What the file holds: the model as it was stored, nothing that was made from it."""
        return {**self.__dict__, "interface": None, "_energy": None}

    def compute_gradients(self, data: Any) -> None:
        """Nothing: LAMMPS calls this before :meth:`compute_forces`."""

    def compute_descriptors(self, data: Any) -> None:
        """Nothing: LAMMPS calls this before :meth:`compute_forces`."""

    def compute_forces(self, data: Any) -> None:
        """Energies and forces of one step.

        Parameters
        ----------
        data
            ML-IAP's data object. Atoms of types mapped to NULL carry the element -1 there and are left out.

        Raises
        ------
        CouplingError
            If the arrays are on a GPU.
        """
        # LAMMPS keeps the energy of the step before, and has no arrays where there is nothing to put into them.
        data.energy = 0.0
        if data.nlistatoms == 0:
            return
        elements, atoms = _on_host(data.elems), _on_host(data.iatoms)
        known = np.flatnonzero(elements[atoms] >= 0)
        energies = np.zeros(len(atoms))
        forces = np.zeros((data.npairs, 3))
        if len(known):
            centre = np.full(data.ntotal, -1)
            centre[atoms[known]] = np.arange(len(known))
            pairs, neighbours, vectors = _pairs(data, centre, elements)
            first = np.searchsorted(pairs[1], np.arange(len(known) + 1))
            species = elements[atoms[known]].astype(np.int64)
            energies[known], forces[pairs[0]] = self._model().evaluate(species, first, neighbours, vectors)
        data.energy = float(energies.sum())
        _set_energies(data, energies)
        if data.npairs:
            data.update_pair_forces(forces)

    def _model(self) -> NativeEnergy:
        """The model, read at the first step, with as many threads as OMP_NUM_THREADS says."""
        if self._energy is None:
            threads = os.environ.get("OMP_NUM_THREADS", "1")
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "energy.safetensors"
                path.write_bytes(self.content)
                energy = NativeEnergy(str(path), self.dtype, int(threads) if threads.isdecimal() else 1)
                energy.model()
            self._energy = energy
        return self._energy


def _on_host(values: Any) -> NDArray[Any]:
    """An array of the data object, which must be in ordinary memory.

    Raises
    ------
    CouplingError
        If it is on a GPU.
    """
    if not isinstance(values, np.ndarray):
        raise CouplingError(
            f"LAMMPS hands over {type(values).__module__} arrays, but efgmd models in pair_style mliap run on the CPU: "
            "run without the suffix kk for this pair style, or with Kokkos on the host"
        )
    return values


def _pairs(
    data: Any, centre: NDArray[np.int64], elements: NDArray[np.int32]
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64], NDArray[np.float64]]:
    """The pairs of known atoms in the order of their centres: (places among all pairs, centres), elements, vectors."""
    if data.npairs == 0:
        none = np.zeros(0, np.int64)
        return (none, none), none, np.zeros((0, 3))
    of, to = centre[_on_host(data.pair_i)], elements[_on_host(data.pair_j)]
    kept = np.flatnonzero((of >= 0) & (to >= 0))
    kept = kept[np.argsort(of[kept], kind="stable")]
    return (kept, of[kept]), to[kept].astype(np.int64), np.ascontiguousarray(_on_host(data.rij)[kept], dtype=float)


def _set_energies(data: Any, energies: NDArray[np.float64]) -> None:
    """Energies of the centres, in the order of ``iatoms``; the two forms of the data object take them differently."""
    try:
        target = data.eatoms
    except AttributeError:
        data.eatoms = energies
    else:
        _on_host(target)[: len(energies)] = energies
