"""Taking one EFG sample from a running LAMMPS, and averaging samples into blocks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efgmd.campaign.deck import EFG_COMPUTE, MEMBERS_COMPUTE
from efgmd.errors import DataError
from efgmd.tensors import principal_values, six_to_matrix

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One sampled configuration of N atoms, in the order of their ids.

    Attributes
    ----------
    efg
        Tensors xx yy zz xy xz yz in atomic units, of shape ``(N, 6)``.
    scaled
        Unwrapped fractional coordinates, of shape ``(N, 3)``.
    cell
        Lx ly lz xy xz yz in angstrom, of shape ``(6,)``.
    scalars
        Temperature (K), pressure (bar), potential_energy (eV), volume (angstrom^3).
    members
        Tensors of each of M members of the committee, of shape ``(N, M, 6)``, if they were asked for.
    """

    efg: FloatArray
    scaled: FloatArray
    cell: FloatArray
    scalars: dict[str, float]
    members: FloatArray | None = None


def cell_matrix(cell: Any) -> FloatArray:
    """Lattice vectors as rows, of shape ``(..., 3, 3)``, from lx ly lz xy xz yz of shape ``(..., 6)``."""
    lengths = np.asarray(cell, dtype=np.float64)
    matrix = np.zeros((*lengths.shape[:-1], 3, 3))
    matrix[..., (0, 1, 2, 1, 2, 2), (0, 1, 2, 0, 0, 1)] = lengths
    return matrix


def image_flags(packed: NDArray[np.integer[Any]], width: int) -> NDArray[np.int64]:
    """Periodic image counts, of shape ``(n, 3)``, from LAMMPS' packed flags of ``width`` bytes (4 or 8)."""
    bits, offset = (10, 512) if width == 4 else (21, 1 << 20)
    flags = np.asarray(packed).astype(np.int64)
    mask = (1 << bits) - 1
    return np.stack([flags & mask, flags >> bits & mask, flags >> 2 * bits & mask], axis=1) - offset


def read_scalars(lmp: Any) -> dict[str, float]:
    """Thermodynamic state of the last step; every rank must call it."""
    keywords = {"temperature": "temp", "pressure": "press", "potential_energy": "pe", "volume": "vol"}
    return {name: float(lmp.get_thermo(keyword)) for name, keyword in keywords.items()}


def departure(scalars: dict[str, float], temperature: float, start_volume: float) -> str:
    """Why a run has left physics (`read_scalars` of its state, K, angstrom^3), or nothing.

    Such a run must not go on filling files with nonsense.
    """
    found = scalars["temperature"]
    if not found < 10 * temperature + 500:  # also catches NaN
        return (
            f"the temperature is {found:.4g} K for a target of {temperature:g} K; "
            "use a smaller timestep_fs, or a force field trained for this state"
        )
    if start_volume and not 0.5 < scalars["volume"] / start_volume < 2.0:
        return (
            f"the volume went from {start_volume:.4g} to {scalars['volume']:.4g} angstrom^3; "
            "the force field does not hold this crystal together at this temperature and pressure"
        )
    return ""


def local_coordinates(lmp: Any) -> tuple[FloatArray, NDArray[np.int64], FloatArray]:
    """Cell lx ly lz xy xz yz ``(6,)``, ids ``(n,)`` and unwrapped fractional coordinates ``(n, 3)`` of this rank."""
    low, high, xy, yz, xz, *_ = lmp.extract_box()
    cell = np.array([*np.subtract(high, low), xy, xz, yz])
    n_local = lmp.extract_setting("nlocal")
    if not n_local:
        return cell, np.zeros(0, dtype=np.int64), np.zeros((0, 3))
    positions = np.array(lmp.numpy.extract_atom("x")[:n_local])
    images = image_flags(lmp.numpy.extract_atom("image")[:n_local], lmp.extract_setting("imageint"))
    scaled = (positions - np.asarray(low)) @ np.linalg.inv(cell_matrix(cell)) + images
    return cell, np.array(lmp.numpy.extract_atom("id")[:n_local], dtype=np.int64), scaled


def in_order(comm: Any, n_atoms: int, tags: NDArray[np.int64], *arrays: FloatArray) -> list[FloatArray] | None:
    """Arrays of all ranks' atoms, gathered in the order of the atoms' ids; every rank must call it.

    Parameters
    ----------
    comm
        Communicator.
    n_atoms
        Total number of atoms N; their ids must be 1..N.
    tags
        Ids of this rank's n atoms, ``(n,)``.
    arrays
        Values of this rank's atoms, each ``(n, ...)``.

    Returns
    -------
    list or None
        Each ``(N, ...)`` on rank 0, None on the others.

    Raises
    ------
    DataError
        On rank 0, when atoms are missing.
    """
    parts = comm.gather((tags, *arrays), root=0)
    if parts is None:
        return None
    joined, *values = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(joined, kind="stable")
    if not np.array_equal(joined[order], np.arange(1, n_atoms + 1)):
        raise DataError(f"{n_atoms - len(np.unique(joined))} of {n_atoms} atoms are lost; use a smaller timestep_fs")
    return [value[order] for value in values]


def take_sample(lmp: Any, comm: Any, n_atoms: int, committee: int = 0) -> Sample | None:
    """Evaluate the EFG compute on the current step and gather it; every rank must call it.

    Parameters
    ----------
    lmp
        Running LAMMPS, at the end of a run command.
    comm
        Its communicator.
    n_atoms
        Total number of atoms N; their ids must be 1..N.
    committee
        Members whose tensors are wanted too, all or none.

    Returns
    -------
    Sample or None
        The sample on rank 0, None on the others.

    Raises
    ------
    DataError
        On rank 0, when atoms are missing or tensors are not finite.
    """
    from lammps import LMP_STYLE_ATOM, LMP_TYPE_ARRAY

    scalars = read_scalars(lmp)
    n_local = lmp.extract_setting("nlocal")
    efg = np.zeros((0, 6 + 6 * committee))
    compute = MEMBERS_COMPUTE if committee else EFG_COMPUTE
    values = lmp.numpy.extract_compute(compute, LMP_STYLE_ATOM, LMP_TYPE_ARRAY)
    if n_local:
        efg = np.array(values[:n_local], dtype=np.float64)
    cell, tags, scaled = local_coordinates(lmp)
    gathered = in_order(comm, n_atoms, tags, efg, scaled)
    if gathered is None:
        return None
    efg, scaled = gathered
    if not np.isfinite(efg).all():
        raise DataError(
            "the EFG model returned values that are not finite: look at the last frames of the trajectory; a smaller "
            "timestep_fs or a force field that has learnt from such frames may help"
        )
    members = efg[:, 6:].reshape(n_atoms, committee, 6) if committee else None
    return Sample(efg[:, :6], scaled, cell, scalars, members)


class BlockMean:
    """Averages a fixed number of samples into one block.

    Parameters
    ----------
    size
        Samples per block.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._sums: dict[str, FloatArray] = {}
        self._count = 0

    def add(self, sample: Sample) -> dict[str, FloatArray] | None:
        """Add a sample; returns the block's means (keys of `efgmd.store.BLOCK_UNITS`) when it completes one."""
        values = {
            "efg": sample.efg,
            "abs_vzz": np.abs(principal_values(six_to_matrix(sample.efg))[:, 2]),
            "scaled": sample.scaled,
            "cell": sample.cell,
        }
        self._sums = {name: value + self._sums.get(name, 0.0) for name, value in values.items()}
        self._count += 1
        if self._count < self._size:
            return None
        means = {name: value / self._size for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return means
