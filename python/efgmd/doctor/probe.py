"""The questions that are put to Python in a process of its own, as ``python -m efgmd.doctor.probe QUESTION``.

Each answer is a line of JSON behind a mark, printed at once: what was told before a crash is not lost.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "efgmd-doctor: "
QUESTIONS: dict[str, Callable[..., None]] = {}


def question(ask: Callable[..., None]) -> Callable[..., None]:
    """Let a function be asked by its name."""
    QUESTIONS[ask.__name__] = ask
    return ask


def tell(**answers: Any) -> None:
    """Hand answers to the process that asks."""
    print(f"\n{MARK}{json.dumps(answers)}", flush=True)


@question
def liblammps() -> None:
    """Which MPI library LAMMPS' library is linked to."""
    from efgmd.coupling.mpi import lammps_mpi_library, library_name

    tell(library=library_name(lammps_mpi_library()))


@question
def mpi4py() -> None:
    """Which MPI library mpi4py has found."""
    from mpi4py import MPI

    from efgmd.coupling.mpi import library_name

    tell(library=library_name(MPI.Get_library_version()))


@question
def ranks() -> None:
    """How many ranks mpi4py sees, under an MPI launcher; told by the first of them after all have met."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if world.allreduce(1) == world.size and world.rank == 0:
        tell(ranks=world.size)


@question
def lammps() -> None:
    """Whether LAMMPS runs inside Python, with the plugin."""
    from efgmd.coupling import create_lammps

    instance = create_lammps(["-log", "none", "-screen", "none"])
    tell(version=instance.version(), styles=[s for s in ("efg/atom",) if instance.has_style("compute", s)])
    instance.close()


@question
def kernels() -> None:
    """Which compiled kernels this processor uses."""
    from efgmd import _kernels

    tell(instruction_set=_kernels.instruction_set())


@question
def model(folder: str) -> None:
    """What torch offers; writes two tiny models and a structure, and tells what the ASE calculators make of them."""
    import torch

    tell(torch=torch.__version__, threads=torch.get_num_threads(), cuda_build=torch.version.cuda or "")
    devices = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    tell(cuda=torch.cuda.is_available(), devices=devices)

    import ase
    import e3nn

    tell(e3nn=e3nn.__version__, ase=ase.__version__)

    from ase import Atoms

    from efgmd.calculators import EFGCalculator, EnergyCalculator
    from efgmd.models import EFGModel, EnergyModel
    from efgmd.models.io import save_model

    torch.manual_seed(0)
    sizes: Any = {"cutoff": 4.0, "n_radial": 4, "lmax": 2, "channels": 4, "hidden": 8}
    save_model(Path(folder) / "energy.safetensors", EnergyModel(("C", "H"), **sizes))
    save_model(Path(folder) / "efg.safetensors", EFGModel(("C", "H"), outputs=4, **sizes))
    tetrahedron = [(0.63, 0.61, 0.65), (-0.62, -0.64, 0.63), (-0.66, 0.62, -0.61), (0.60, -0.63, -0.64)]
    # Two molecules, far enough along x that each of two ranks owns one, near enough to be neighbours.
    places = [(x + dx, 3.0 + dy, 3.0 + dz) for x in (1.5, 4.7) for dx, dy, dz in [(0.0, 0.0, 0.0), *tetrahedron]]
    atoms = Atoms("CH4CH4", places, cell=[6.4, 6.0, 6.0], pbc=True)
    atoms.write(Path(folder) / "start.data", format="lammps-data", specorder=["C", "H"], masses=True)
    atoms.calc = EnergyCalculator(Path(folder) / "energy.safetensors", dtype="float64")
    energy, force = atoms.get_potential_energy(), float(abs(atoms.get_forces()).max())
    tensors = EFGCalculator(Path(folder) / "efg.safetensors", dtype="float64").get_property("efg", atoms)
    tell(energy=energy, force=force, efg=float((tensors**2).sum()))


def main() -> None:
    """Answer the question in the arguments; a failure is an answer, too."""
    # MPI of a job that this process is no part of would be confused by the answers' coming twice.
    name, *arguments = sys.argv[1:]
    try:
        QUESTIONS[name](*arguments)
        tell(finished=True)
    except BaseException as error:
        text = " ".join(str(error).split())
        own = type(error).__module__ == "efgmd.errors"
        tell(trouble=text if own else f"{type(error).__name__}: {text}")
        sys.stdout.flush()
        os._exit(1)


if __name__ == "__main__":
    main()
