"""Starts one worker job per run, several side by side when cores allow, and follows their progress."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from efgmd.campaign.deck import LOG_FILE
from efgmd.campaign.job import ERROR_FILE, PROGRESS_FILE
from efgmd.campaign.provenance import usable_cores
from efgmd.campaign.spec import DynamicsSpec
from efgmd.errors import CouplingError, EfgmdError

WORKER_LOG = "worker.log"
_PR_SET_PDEATHSIG = 1
_MPIEXEC_VERDICT = "APPLICATION TERMINATED WITH THE EXIT STRING:"


@dataclass
class Job:
    """A run as the runner sees it.

    Attributes
    ----------
    spec, folder
        What runs, and where.
    worker
        Module that runs it.
    step, ns_per_day, phase
        Last progress reported by the worker.
    """

    spec: DynamicsSpec
    folder: Path
    worker: str = "efgmd.campaign.worker"
    step: int = 0
    ns_per_day: float = 0.0
    phase: str = "waiting"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def refresh(self) -> None:
        """Read the worker's progress file."""
        try:
            state = json.loads((self.folder / PROGRESS_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return  # not written yet
        self.step, self.ns_per_day, self.phase = state["step"], state["ns_per_day"], state["phase"]


class RunFailed(EfgmdError):
    """A worker ended with an error; the message names the run, the cause and the log."""


def mpiexec() -> str:
    """Path of the mpiexec that belongs to this environment's MPICH.

    Raises
    ------
    CouplingError
        If there is none beside this Python.
    """
    beside = Path(sys.executable).parent / "mpiexec"
    if beside.is_file():
        return str(beside)
    found = shutil.which("mpiexec")
    if found:
        return found
    raise CouplingError(
        "no mpiexec beside this Python; install the `mpich` package of constraints.txt in this environment"
    )


def _die_with_parent() -> None:
    """Let the kernel end mpiexec, and with it its ranks, when this process is killed (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def start_worker(job: Job, ranks: int) -> None:
    """Start the worker of one run on ``ranks`` MPI ranks, its output in ``worker.log``."""
    (job.folder / ERROR_FILE).unlink(missing_ok=True)
    (job.folder / PROGRESS_FILE).unlink(missing_ok=True)
    command = [mpiexec(), "-n", str(ranks), sys.executable, "-m", job.worker, str(job.folder)]
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    with open(job.folder / WORKER_LOG, "wb") as log:
        job.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    job.phase = "starting"


def stop_worker(job: Job) -> None:
    """End a worker and all its ranks, and wait for them."""
    process = job.process
    if process is None or process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_jobs(jobs: list[Job], ranks: int, on_progress: Callable[[list[Job]], None]) -> None:
    """Run all jobs to the end, as many at a time as there are cores for.

    Parameters
    ----------
    jobs
        Runs whose folders hold ``run.json`` and ``start.data``.
    ranks
        MPI ranks of each.
    on_progress
        Called a few times a second.

    Raises
    ------
    RunFailed
        When a worker fails; the others are stopped first (they resume from their restart files).
    """
    slots = max(1, usable_cores() // ranks)
    waiting, running = list(jobs), list[Job]()
    try:
        while waiting or running:
            while waiting and len(running) < slots:
                job = waiting.pop(0)
                start_worker(job, ranks)
                running.append(job)
            time.sleep(0.2)
            for job in list(running):
                status = job.process.poll() if job.process else None
                job.refresh()
                if status is None:
                    continue
                running.remove(job)
                if status != 0:
                    raise RunFailed(_failure(job, status))
                job.phase = "done"
            on_progress(jobs)
    finally:
        for job in running:
            stop_worker(job)


def _failure(job: Job, status: int) -> str:
    try:
        cause = (job.folder / ERROR_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        cause = _logged_error(job.folder) or _verdict(status)
    return f"{job.spec.label} failed: {cause} (log: {job.folder / WORKER_LOG})"


def _verdict(status: int) -> str:
    """Exit status of mpiexec in words."""
    if status < 0:
        return f"the worker was ended by signal {-status} ({signal.strsignal(-status)})"
    return f"the worker ended with status {status}"


def _logged_error(folder: Path) -> str | None:
    """What LAMMPS or mpiexec wrote last, for ends that Python did not see (a signal, an abort inside LAMMPS)."""
    logs = sorted(folder.glob(LOG_FILE + "*"), key=lambda path: path.stat().st_mtime)[-1:]
    for path in (folder / WORKER_LOG, *logs):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in reversed(lines):
            if line.startswith("ERROR"):
                return line
            if _MPIEXEC_VERDICT in line:
                return f"the worker was ended by {line.split(_MPIEXEC_VERDICT)[1].strip()}"
    return None
