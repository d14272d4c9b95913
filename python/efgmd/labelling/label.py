"""Label frames with GPAW on all cores: one process per frame, results kept as they come."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console

from efgmd.errors import ConfigError, DataError
from efgmd.frames import gpaw
from efgmd.frames.readers import read_frames
from efgmd.frames.writers import write_frames, written_format
from efgmd.labelling.interpreter import gpaw_python
from efgmd.labelling.kpoints import FloatArray, Mesh, folded, supercell_matrix
from efgmd.progress import Counter

#: Of GPAW, in its units. The density decides: ten times finer, the tensors of CH3NH3PbI3 change by less than 1 %.
CONVERGENCE = {"density": 1e-3, "eigenstates": 1e-2, "energy": 1e-3, "bands": "occupied"}

_WORKER = Path(__file__).with_name("gpaw_worker.py")


@dataclass(frozen=True)
class Settings:
    """Settings of the calculations.

    Attributes
    ----------
    mesh
        k-points of the primitive cell.
    primitive
        Primitive cell of shape ``(3, 3)``, angstrom; None: each frame is its own, and all must be of one size.
    cutoff
        Of the plane waves, Hartree.
    xc
        Exchange-correlation functional, a name that GPAW knows.
    """

    mesh: Mesh
    primitive: FloatArray | None = None
    cutoff: float = 20.0
    xc: str = "PBE"


def label(
    source: Path,
    output: Path,
    settings: Settings,
    *,
    processes: int | None = None,
    python: str | None = None,
    console: Console | None = None,
) -> None:
    """Label every frame of a file with EFG tensors, energy and forces, and write them as extended XYZ.

    Each finished frame is a file in the folder ``OUTPUT.frames``; given again, the same call does the others. A frame
    whose calculation fails is reported, left out of the output, and tried again next time.

    Parameters
    ----------
    source
        Frames.
    output
        Extended XYZ to write.
    settings
        Of the calculations.
    processes
        Frames at a time; as many as there are cores if None.
    python
        Python that has GPAW, see `efgmd.labelling.interpreter.gpaw_python`.
    console
        Where to report; standard output if None.

    Raises
    ------
    ConfigError
        No usable GPAW, or an output that is not extended XYZ or is the source.
    DataError
        Frames that cannot be labelled; finished frames of other settings or structures; or, after everything else is
        done and written, frames whose calculation failed.
    """
    console = console or Console()
    if written_format(output) != "extxyz":
        raise ConfigError(f"{output}: labelled frames are written as extended XYZ; end the name in .xyz or .xyz.gz")
    if output.resolve() == source.resolve():
        raise ConfigError(f"{output}: holds the frames to label; choose another output")
    frames = read_frames(source)
    jobs = _jobs(frames, settings, source)
    folder = output.with_name(output.name + ".frames")
    results = [folder / f"{number:05d}.npz" for number in range(len(jobs))]
    done = [number for number, result in enumerate(results) if result.exists()]
    for number in done:
        if str(gpaw.load(results[number]).get("identity", "")) != jobs[number]["identity"]:
            raise DataError(
                f"{results[number]}: is of another structure or other settings than frame {number} of {source}; "
                f"remove the folder {folder}, or choose another output"
            )
    interpreter = gpaw_python(python)
    folder.mkdir(parents=True, exist_ok=True)
    work = [number for number in range(len(jobs)) if number not in set(done)]
    failures = _run(interpreter, work, jobs, results, processes or len(os.sched_getaffinity(0)), console)
    labelled = []
    for atoms, result in zip(frames, results, strict=True):
        if result.exists():
            gpaw.attach(atoms, gpaw.load(result))
            atoms.info["efg_kpoints"] = str(settings.mesh)
            labelled.append(atoms)
    if labelled:
        write_frames(output, labelled)
    console.print(f"{len(labelled)} of {len(frames)} frames in {output}", highlight=False, markup=False, soft_wrap=True)
    if failures:
        raise DataError("\n".join(f"{source}, frame {number}: {reason}" for number, reason in sorted(failures.items())))


def _jobs(frames: Sequence[Atoms], settings: Settings, source: Path) -> list[dict[str, Any]]:
    sizes = sorted({len(atoms) for atoms in frames})
    if settings.primitive is None and len(sizes) > 1 and settings.mesh != Mesh((1, 1, 1)):
        raise DataError(
            f"{source}: has frames of {' and '.join(map(str, sizes))} atoms, for which {settings.mesh} would not be "
            "the same k-points; give the primitive cell that the mesh is for (--primitive)"
        )
    jobs = []
    for number, atoms in enumerate(frames):
        where = f"{source}, frame {number}"
        if not atoms.pbc.all():
            raise DataError(f"{where}: is not periodic along all axes; put molecules into a periodic box")
        matrix = np.eye(3, dtype=np.int64)
        if settings.primitive is not None:
            matrix = supercell_matrix(atoms.cell.array, settings.primitive, where)
        job: dict[str, Any] = {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.array.tolist(),
            "kpoints": folded(settings.mesh, matrix, where).tolist(),
            "cutoff": settings.cutoff,
            "xc": settings.xc,
            "convergence": CONVERGENCE,
        }
        job["identity"] = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()
        jobs.append(job)
    return jobs


def _run(
    python: str,
    work: Sequence[int],
    jobs: Sequence[dict[str, Any]],
    results: Sequence[Path],
    processes: int,
    console: Console,
) -> dict[int, str]:
    """Run the jobs of some frames; returns why some of them failed."""
    failures: dict[int, str] = {}
    running = _Running()
    with Counter("frames", len(work), console) as progress, ThreadPoolExecutor(processes) as pool:
        try:
            futures = {pool.submit(running.run, python, jobs[number], results[number]): number for number in work}
            for future in as_completed(futures):
                number, reason = futures[future], future.result()
                if reason:
                    failures[number] = reason
                    progress.say(f"frame {number} failed: {reason}")
                progress.advance()
        except BaseException as error:  # an interrupt, too, must not leave calculations behind
            pool.shutdown(wait=False, cancel_futures=True)
            running.stop()
            if isinstance(error, KeyboardInterrupt):
                progress.say("interrupted; give the same command again to go on")
            raise
    return failures


class _Running:
    """Worker processes that are running, so that they can be stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, python: str, job: dict[str, Any], result: Path) -> str:
        """Run one worker to its end; returns the reason of a failure, or nothing."""
        job_file = result.with_suffix(".json")
        job_file.write_text(json.dumps(job), encoding="utf-8")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with self._lock:
            if self._stopped:
                return "interrupted"
            process = subprocess.Popen(
                [python, str(_WORKER), str(job_file), str(result)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            self._processes.add(process)
        message = process.communicate()[1]
        with self._lock:
            self._processes.discard(process)
        if process.returncode:
            last = (message.strip().splitlines() or [f"the calculation ended with status {process.returncode}"])[-1]
            return f"{last} (see {result.with_suffix('.txt')})"
        job_file.unlink()
        return ""

    def stop(self) -> None:
        """End all workers and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.terminate()
