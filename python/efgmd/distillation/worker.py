"""One run of the student: ``mpiexec -n 1 python -m efgmd.distillation.worker FOLDER``.

The working folder holds ``run.json`` and ``start.data``. The run ends where the student leaves physics; that is what it
is here to find out, so it is an outcome and not an error.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from efgmd.campaign.deck import LOG_FILE, ensemble_commands, start_commands, system_commands
from efgmd.campaign.job import Progress, telling_failures
from efgmd.campaign.sampling import cell_matrix, departure, local_coordinates, read_scalars
from efgmd.distillation.spec import FRAMES_FILE, OUTCOME_FILE, StudentSpec
from efgmd.distillation.structures import fault, write_all
from efgmd.errors import first_line
from efgmd.files import write_whole


def configuration(lmp: Any, spec: StudentSpec) -> Atoms:
    """The present configuration, atoms in the order of their ids, inside the cell."""
    cell, ids, scaled = local_coordinates(lmp)
    sorted_scaled = np.full((len(spec.symbols), 3), np.nan)  # a lost atom must not go unnoticed
    sorted_scaled[ids - 1] = scaled % 1.0
    return Atoms(spec.symbols, scaled_positions=sorted_scaled, cell=cell_matrix(cell), pbc=True)


def excess(lmp: Any, spec: StudentSpec) -> str:
    """What is wrong with the forces, or nothing."""
    forces = lmp.numpy.extract_atom("f")[: lmp.extract_setting("nlocal")]
    largest = float(np.linalg.norm(forces, axis=1).max())
    if largest <= spec.largest_force:
        return ""
    return f"a force of {largest:.3g} eV/angstrom"


def run_student(folder: Path, comm: Any) -> None:
    """Run until the end, or until the student breaks, and write the sane frames and the outcome."""
    from efgmd.coupling.session import create_lammps

    spec = StudentSpec.read(folder)
    progress = Progress(folder, spec)
    lmp = create_lammps(["-screen", "none", "-nocite", "-log", LOG_FILE], comm=comm)
    lmp.commands_list([*system_commands(spec), *start_commands(spec), *ensemble_commands(spec)])
    frames: list[Atoms] = []
    broken, volume = "", 0.0
    for step in range(0, spec.total_steps + 1, spec.interval_steps):
        try:
            lmp.command(f"run {spec.interval_steps} pre no post no" if step else "run 0 post no")
        except Exception as error:  # lost atoms, forces that are not finite
            broken = first_line(error)
            break
        frame, scalars = configuration(lmp, spec), read_scalars(lmp)
        volume = volume or scalars["volume"]
        broken = fault(frame, spec.closest) or departure(scalars, spec.temperature, volume) or excess(lmp, spec)
        if broken:
            break
        frame.info.update(tag=spec.name, step=step)
        frames.append(frame)
        progress.report(step, "dynamics")
    write_all(folder / FRAMES_FILE, frames)
    share = max(0, len(frames) - 1) / spec.n_frames
    write_whole(folder / OUTCOME_FILE, json.dumps({"share": share, "broken": broken}))


def main(arguments: list[str]) -> None:
    """Run the worker; a failure writes ``error.txt``."""
    from mpi4py import MPI

    folder = Path(arguments[0]).resolve()
    os.chdir(folder)
    with telling_failures(folder, MPI.COMM_WORLD):
        run_student(folder, MPI.COMM_WORLD)


if __name__ == "__main__":
    main(sys.argv[1:])
