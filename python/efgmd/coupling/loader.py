"""Opens models for the LAMMPS styles: efgmd's own, or third-party ML-IAP objects when the user allows it."""

from typing import Any

from efgmd.coupling.device import DeviceEnergy, torch_device
from efgmd.coupling.efg import NativeEFG
from efgmd.coupling.extrapolation import NativeExtrapolation
from efgmd.coupling.header import read_header
from efgmd.coupling.mliap import NativeEnergy
from efgmd.coupling.mpi import check_same_mpi
from efgmd.coupling.third_party import ThirdPartyModel
from efgmd.errors import ModelFileError


def open_model(
    path: str,
    kind: str,
    dtype: str = "float32",
    device: str = "cpu",
    uncertainty: bool = False,
    members: bool = False,
    threads: int = 1,
    local_rank: int = 0,
    mpi_library: str = "",
) -> Any:
    """Open a model for LAMMPS; called by the plugin on every rank.

    Parameters
    ----------
    path
        Model file.
    kind
        ``"energy"``, ``"efg"`` or ``"extrapolation"`` (of an energy model).
    dtype
        ``"float32"`` or ``"float64"``.
    device
        ``"cpu"``, or ``"cuda"``: ranks of one machine share its GPUs in turn.
    uncertainty
        Whether the expected error of each tensor is wanted.
    members
        Whether the tensors of each member of a committee are wanted.
    threads
        Number of threads for torch.
    local_rank
        Number of this rank among those of its machine.
    mpi_library
        What LAMMPS' MPI library says it is; empty to skip the comparison with mpi4py's.

    Returns
    -------
    NativeEnergy, DeviceEnergy, NativeEFG, NativeExtrapolation or ThirdPartyModel
        An object with ``elements``, ``cutoff`` (angstrom), ``sha256`` and the methods the plugin calls.

    Raises
    ------
    ModelFileError
        If the file cannot be used.
    CouplingError
        If mpi4py and LAMMPS use different MPI libraries, or there is no such device.
    """
    if mpi_library:
        check_same_mpi(mpi_library)
    if kind == "energy" and read_header(path) is None:
        if device != "cpu":
            raise ModelFileError(
                f"{path} is a third-party object, which chooses its device itself: leave out device {device}"
            )
        return ThirdPartyModel(path)
    where = torch_device(device, local_rank)
    if kind == "efg":
        return NativeEFG(path, dtype, threads, where, uncertainty, members)
    if kind == "extrapolation":
        return NativeExtrapolation(path, dtype, threads, where)
    if device == "cpu":
        return NativeEnergy(path, dtype, threads, where)
    return DeviceEnergy(path, dtype, threads, where)
