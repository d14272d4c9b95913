"""The data object that a third-party ML-IAP "unified" object works on: what it sees of a step and how it answers."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efgmd.coupling.native import Floats, Integers
from efgmd.errors import CouplingError

# exchange(from, to, bytes per atom, forward): collective; returns what went wrong, or nothing.
Exchange = Callable[[NDArray[Any], NDArray[Any], int, bool], str]


def as_numbers(values: Any) -> NDArray[Any]:
    """A numpy array of what a model hands over: an array, or a torch tensor of any device, with or without gradient."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


class MliapData:
    """What a unified object sees of a step, and where it puts its results.

    Attribute names are those of LAMMPS' ML-IAP package, of its plain and of its Kokkos form. There are N centres, P
    pairs, L owned atoms, T owned and ghost atoms. Only atoms of elements that the model knows are there: types mapped
    to NULL have no row. Arrays are numpy views of the plugin's memory, valid during one call; ``torch.as_tensor`` and
    ``torch.from_dlpack`` take them without a copy.

    Attributes
    ----------
    nlocal, ntotal, nlistatoms, natomneigh, npairs : int
        L, T, N, N again (no ghost has neighbours), and P.
    iatoms, ielems, numneighs : int arrays ``(N,)``
        Row, element and number of neighbours of each centre.
    elems : int array ``(T,)``
        Element of each atom, an index into ``element_types`` of the object.
    pair_i, jatoms, pair_j, jelems : int arrays ``(P,)``
        Row of the centre, of the neighbour (twice), and the neighbour's element.
    rij : float array ``(P, 3)``
        From centre to neighbour, angstrom.
    f : float array ``(T, 3)``
        Forces, eV/angstrom, that can be added to; those of LAMMPS if every atom has a row.
    eatoms : float array ``(L,)``
        Energies of the owned atoms, eV, to be filled or assigned.
    energy : float
        Total energy, eV, to be set; the sum of eatoms if it is not.
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
        exchange: Exchange,
    ) -> None:
        self.nlocal, self.ntotal = nlocal, len(elements)
        self.nlistatoms = self.natomneigh = len(centres)
        self.npairs = len(neighbours)
        self.iatoms, self.ielems = centres, species
        self.numneighs = np.diff(first)
        self._first = first
        self.elems = elements
        self.jatoms = self.pair_j = neighbours
        self.jelems = neighbour_species
        self.rij = vectors
        self.f = forces
        self.eflag, self.vflag = eflag, vflag
        self.energy: Any = None
        self._eatoms = np.zeros(nlocal)
        self._pair_forces: Floats | None = None
        self._exchange: Exchange | None = exchange

    @property
    def eatoms(self) -> Floats:
        """Energies of the owned atoms, shape ``(L,)``, eV; can be assigned or filled."""
        return self._eatoms

    @eatoms.setter
    def eatoms(self, values: Any) -> None:
        self._eatoms[:] = self._of_size("eatoms", values, self.nlocal)

    @cached_property
    def pair_i(self) -> NDArray[np.int32]:
        """Row of the centre of each pair, shape ``(P,)``."""
        return np.repeat(self.iatoms, self.numneighs)

    @property
    def pair_forces(self) -> Floats | None:
        """The sum of what :meth:`update_pair_forces` was given, shape ``(P, 3)``, eV/angstrom; None before."""
        return self._pair_forces

    def update_pair_energy(self, eij: Any) -> None:
        """Add half of each pair's energy ``(P,)`` to its centre, eV."""
        energies = self._of_size("update_pair_energy", eij, self.npairs)
        if self.npairs:
            # The pairs of a centre follow each other: those of a centre with none would sum to the next one's first.
            paired = self.numneighs > 0
            self._eatoms[self.iatoms[paired]] += 0.5 * np.add.reduceat(energies, self._first[:-1][paired])
        self.energy = float(self._eatoms.sum())

    def update_pair_forces(self, fij: Any) -> None:
        """Add ``fij`` ``(P, 3)``, eV/angstrom, to the force of each pair's centre and take it from the neighbour's."""
        forces = self._of_size("update_pair_forces", fij, 3 * self.npairs).reshape(-1, 3)
        self._pair_forces = forces if self._pair_forces is None else self._pair_forces + forces

    # The Kokkos form has two names for this, one for each side of the bus.
    update_pair_forces_gpu = update_pair_forces
    update_pair_forces_cpu = update_pair_forces

    def forward_exchange(self, copy_from: Any, copy_to: Any, vec_len: int) -> None:
        """Give ghosts the rows of their owners, on whichever rank those are. Collective.

        Parameters
        ----------
        copy_from
            Rows of the owned atoms: at least ``L * vec_len`` numbers, float32 or float64; torch tensor or numpy array.
        copy_to
            Filled with the rows of all atoms, ``T * vec_len`` numbers of the same type; may be `copy_from`.
        vec_len
            Numbers per atom.

        Raises
        ------
        CouplingError
            If the arrays do not fit, or the exchange failed on any rank.
        """
        self._move("forward_exchange", copy_from, copy_to, vec_len, self.nlocal)

    def reverse_exchange(self, copy_from: Any, copy_to: Any, vec_len: int) -> None:
        """Add the rows of ghosts to those of their owners, the adjoint of :meth:`forward_exchange`. Collective.

        Parameters
        ----------
        copy_from
            Rows of all atoms, ``T * vec_len`` numbers, float32 or float64; torch tensor or numpy array.
        copy_to
            Filled with the sums for owned atoms and zero for ghosts, ``T * vec_len`` numbers of the same type.
        vec_len
            Numbers per atom.

        Raises
        ------
        CouplingError
            If the arrays do not fit, or the exchange failed on any rank.
        """
        self._move("reverse_exchange", copy_from, copy_to, vec_len, self.ntotal)

    def total_energy(self) -> float:
        """Total energy, eV: as set, or the sum of `eatoms` where it was not set or only in single precision."""
        energy = None if self.energy is None else as_numbers(self.energy)
        if energy is None or (energy.dtype == np.float32 and self._eatoms.any()):
            return float(self._eatoms.sum())
        return float(energy.reshape(()))

    def close(self) -> None:
        """End the step: a model that kept the object can exchange nothing more."""
        self._exchange = None

    @staticmethod
    def _of_size(name: str, values: Any, size: int) -> Floats:
        """The values as a flat float64 array of their own."""
        numbers = as_numbers(values).reshape(-1).astype(float)
        if len(numbers) != size:
            raise CouplingError(f"{name} was given {len(numbers)} numbers where {size} are needed")
        return numbers

    def _move(self, name: str, copy_from: Any, copy_to: Any, vec_len: int, rows_needed: int) -> None:
        if self._exchange is None:
            raise CouplingError(f"{name} was called after the step had ended: call it within compute_forces")
        source = np.ascontiguousarray(as_numbers(copy_from))
        if source.dtype not in (np.float32, np.float64):
            raise CouplingError(f"{name} carries float32 or float64, not {source.dtype}")
        if str(copy_from.dtype) != str(copy_to.dtype):
            raise CouplingError(f"{name} was given {copy_from.dtype} to put into {copy_to.dtype}")
        if source.size < rows_needed * vec_len or _size(copy_to) != self.ntotal * vec_len:
            raise CouplingError(
                f"{name} was given {source.size} and {_size(copy_to)} numbers, where {self.ntotal} atoms of {vec_len} "
                f"numbers need {self.ntotal * vec_len}"
            )
        target = _shared(copy_to)
        filled = np.empty(self.ntotal * vec_len, source.dtype) if target is None else target
        problem = self._exchange(source, filled, vec_len * source.itemsize, name == "forward_exchange")
        if problem:
            raise CouplingError(problem)
        if target is None and hasattr(copy_to, "detach"):
            import torch

            copy_to.detach().copy_(torch.from_numpy(filled).reshape(copy_to.shape))
        elif target is None:
            np.copyto(copy_to, filled.reshape(copy_to.shape))


def _shared(values: Any) -> NDArray[Any] | None:
    """The memory of an array or tensor, None where it is not in order or belongs to another device."""
    if hasattr(values, "detach"):
        return values.detach().numpy() if values.device.type == "cpu" and values.is_contiguous() else None
    return values if values.flags.c_contiguous else None


def _size(values: Any) -> int:
    return int(values.numel()) if hasattr(values, "numel") else int(np.size(values))
