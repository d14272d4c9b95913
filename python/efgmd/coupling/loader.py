"""Opens models for the LAMMPS styles: efgmd's own, or third-party ML-IAP objects when the user allows it."""

from typing import Any

from efgmd.coupling.efg import NativeEFG
from efgmd.coupling.header import read_header
from efgmd.coupling.mliap import NativeEnergy
from efgmd.coupling.mpi import check_same_mpi
from efgmd.coupling.third_party import ThirdPartyModel


def open_model(path: str, kind: str, dtype: str = "float32", threads: int = 1, mpi_library: str = "") -> Any:
    """Open a model for LAMMPS; called by the plugin on every rank.

    Parameters
    ----------
    path
        Model file.
    kind
        ``"energy"`` or ``"efg"``.
    dtype
        ``"float32"`` or ``"float64"``.
    threads
        Number of threads for torch.
    mpi_library
        What LAMMPS' MPI library says it is; empty to skip the comparison with mpi4py's.

    Returns
    -------
    NativeEnergy, NativeEFG or ThirdPartyModel
        An object with ``elements``, ``cutoff`` (angstrom) and the method the plugin calls each step.

    Raises
    ------
    ModelFileError
        If the file cannot be used.
    CouplingError
        If mpi4py and LAMMPS use different MPI libraries.
    """
    if mpi_library:
        check_same_mpi(mpi_library)
    if kind == "efg":
        return NativeEFG(path, dtype, threads)
    if read_header(path) is None:
        return ThirdPartyModel(path)
    return NativeEnergy(path, dtype, threads)
