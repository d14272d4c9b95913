"""Environment variables that change what efgmd, LAMMPS, MPI or Python do."""

import os
from collections.abc import Iterator
from pathlib import Path

from efgmd.coupling.location import PLUGIN, plugin_directory
from efgmd.doctor.findings import Finding, Part

PART = Part("environment")
NAMES = (
    *("LAMMPS_PLUGIN_PATH", "EFGMD_PYTHON", "EFGMD_ALLOW_PICKLE", "OMP_NUM_THREADS", "PYTHONHOME", "PYTHONPATH"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "MPI4PY_LIBMPI", "MPI4PY_MPIABI", "HYDRA_LAUNCHER", "SLURM_JOB_ID"),
)
PREFIXES = ("MPI4PY_",)


def relevant() -> dict[str, str]:
    """The variables that matter and are set."""
    names = [*NAMES, *sorted(name for name in os.environ if name.startswith(PREFIXES) and name not in NAMES)]
    return {name: os.environ[name] for name in names if name in os.environ}


def examine() -> Iterator[Finding]:
    """Each variable that is set, and what follows from it."""
    found = relevant()
    for name, value in found.items():
        yield _judge(name, value)
    if "OMP_NUM_THREADS" not in found:
        yield PART.ok("OMP_NUM_THREADS", "not set: LAMMPS uses 1 thread per rank, torch in Python one per core")
    unset = [name for name in NAMES if name not in found and name != "OMP_NUM_THREADS"]
    if unset:
        yield PART.ok("not set", ", ".join(unset))


def _judge(name: str, value: str) -> Finding:
    if name == "LAMMPS_PLUGIN_PATH":
        return _plugin_path(name, value)
    if name == "EFGMD_PYTHON" and not os.access(value, os.X_OK):
        return PART.wrong(name, f"{value} is no program", "unset EFGMD_PYTHON, or name the Python that efgmd is in")
    if name == "EFGMD_ALLOW_PICKLE" and value == "1":
        return PART.note(name, "1: pickled models are loaded, which executes code from their files", f"unset {name}")
    if name == "OMP_NUM_THREADS" and value.isdigit() and int(value) > 1:
        return PART.note(name, f"{value} threads per rank; one per rank is the fastest for most systems")
    if name == "PYTHONHOME":
        return PART.note(name, f"{value}: Python takes its library from there", "unset PYTHONHOME unless it is meant")
    if name == "SLURM_JOB_ID":
        return PART.note(name, f"{value}: mpiexec starts ranks with srun", "to start them here: HYDRA_LAUNCHER=fork")
    if name in ("MPI4PY_LIBMPI", "LD_PRELOAD", "PYTHONPATH"):
        return PART.note(name, value)
    return PART.ok(name, value)


def _plugin_path(name: str, value: str) -> Finding:
    own = Path(plugin_directory()) / PLUGIN
    for folder in filter(None, value.split(":")):
        other = Path(folder) / PLUGIN
        if other.is_file() and not (own.is_file() and other.samefile(own)):
            text = f"{value} leads to another plugin of efgmd, {other}"
            return PART.note(name, text, "unset it unless that one is compiled for the LAMMPS that you run")
        if not Path(folder).is_dir():
            return PART.wrong(name, f"{folder} is no folder", f"unset {name}, or name the folder of the plugin")
    return PART.ok(name, value)
