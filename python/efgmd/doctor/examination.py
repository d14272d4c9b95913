"""The whole examination, in the order of the page."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from typing import Any

from efgmd import __version__
from efgmd.doctor import environment, installed, lammps, models, mpi
from efgmd.doctor.findings import Finding, Part, Verdict, to_terminal
from efgmd.errors import CouplingError

LIMIT = 60.0
RANK_VARIABLES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK")


def examine(limit: float = LIMIT) -> Iterator[Finding]:
    """All findings, one after the other.

    Parameters
    ----------
    limit
        Seconds that each check may take.

    Raises
    ------
    CouplingError
        If this process is itself a rank of an MPI job.
    """
    for name in RANK_VARIABLES:
        if name in os.environ:
            raise CouplingError(f"efgmd doctor starts its own ranks: run it without mpiexec ({name} is set)")
    program = lammps.Program()
    for name, findings in (
        ("installed", installed.examine()),
        ("LAMMPS", lammps.examine(program, limit)),
        ("MPI", mpi.examine(program, limit)),
        ("models", models.examine(program, limit)),
        ("environment", environment.examine()),
    ):
        yield from _surviving(name, findings)


def _surviving(part: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings of a part; what goes wrong in the looking is a finding, too."""
    try:
        yield from findings
    except Exception as error:
        text = f"the examination itself failed: {type(error).__name__}: {' '.join(str(error).split())}"
        yield Part(part).wrong("this part", text, "please report it")


def doctor(as_json: bool = False, limit: float = LIMIT) -> int:
    """Print the examination; the exit status, 1 if something is wrong."""
    found: list[Finding] = []

    def noting() -> Iterator[Finding]:
        for finding in examine(limit):
            found.append(finding)
            yield finding

    if as_json:
        print(json.dumps(record(list(noting())), indent=1))
    else:
        to_terminal(noting(), min(shutil.get_terminal_size((120, 24)).columns, 160))
    return int(any(finding.verdict is Verdict.WRONG for finding in found))


def record(findings: list[Finding]) -> dict[str, Any]:
    """The examination as it goes into a bug report."""
    return {
        "efgmd": __version__,
        "system": platform.platform(),
        "healthy": all(finding.verdict is not Verdict.WRONG for finding in findings),
        "environment": environment.relevant(),
        "findings": [vars(finding) for finding in findings],
    }
