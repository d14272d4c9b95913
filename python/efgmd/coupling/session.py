"""LAMMPS inside a Python process, with the plugin loaded and everything checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from efgmd.coupling.location import PLUGIN, plugin_directory
from efgmd.coupling.mpi import check_same_mpi, lammps_mpi_library
from efgmd.errors import CouplingError


def create_lammps(cmdargs: Sequence[str] | None = None, comm: Any = None) -> Any:
    """Create a LAMMPS instance that has the styles of efgmd.

    Parameters
    ----------
    cmdargs
        LAMMPS' command-line arguments, for example ``["-log", "none", "-screen", "none"]``.
    comm
        mpi4py communicator whose ranks run this instance together; all ranks of the process by default.

    Returns
    -------
    lammps.lammps
        The instance.

    Raises
    ------
    CouplingError
        If LAMMPS and mpi4py use different MPI libraries, or the plugin does not load.
    """
    import lammps

    # The lammps module would import it anyway, after liblammps: too late to notice a wrong MPI library.
    import mpi4py.MPI  # noqa: F401

    check_same_mpi(lammps_mpi_library())
    lmp = lammps.lammps(cmdargs=list(cmdargs or []), comm=comm)
    plugin = Path(plugin_directory()) / PLUGIN
    if not lmp.has_style("compute", "efg/atom"):
        lmp.command(f"plugin load {plugin}")
    if not lmp.has_style("compute", "efg/atom"):
        lmp.close()
        raise CouplingError(f"LAMMPS does not load the plugin {plugin}: reinstall efgmd in this environment")
    return lmp
