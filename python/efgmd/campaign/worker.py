"""One run at one temperature: ``mpiexec -n R python -m efgmd.campaign.worker FOLDER``.

Every rank runs this module inside one LAMMPS; rank 0 writes the store, the trajectory and the progress. The working
folder holds ``run.json`` and ``start.data`` (written by the runner) and receives everything else.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efgmd.campaign.deck import (
    LOG_FILE,
    ensemble_commands,
    start_commands,
    system_commands,
    tensor_commands,
    watch_commands,
)
from efgmd.campaign.job import Progress, telling_failures
from efgmd.campaign.provenance import versions
from efgmd.campaign.sampling import BlockMean, Sample, departure, read_scalars, take_sample
from efgmd.campaign.spec import RunSpec
from efgmd.campaign.trajectory import TRAJECTORY_FILE, append_frame, cut_trajectory
from efgmd.campaign.watch import Watch, cut_looks
from efgmd.errors import DataError
from efgmd.store import BLOCKS_PER_MEMBER_ROW, StoreWriter
from efgmd.tensors import six_to_matrix

STORE_FILE = "efg.h5"
_KEPT_RESTARTS = 2
_EQUILIBRATION_CHUNK = 100


class Run:
    """The run of one temperature, on every rank.

    Parameters
    ----------
    folder
        The run's folder, which must be the working directory.
    comm
        MPI communicator of the run.
    """

    def __init__(self, folder: Path, comm: Any) -> None:
        self.folder, self.comm = folder, comm
        self.root = comm.Get_rank() == 0
        self.spec = RunSpec.read(folder)
        self.block = BlockMean(self.spec.samples_per_block)
        self.store: StoreWriter | None = None
        self.start_volume = 0.0
        self.progress = Progress(folder, self.spec) if self.root else None
        self.watch: Watch | None = None

    def run(self) -> None:
        """Run from the start, or from the last restart file, to the last sample."""
        from efgmd.coupling.session import create_lammps

        spec, comm = self.spec, self.comm
        restart = comm.bcast(latest_restart(self.folder) if self.root else None)
        step = restart_step(restart) if restart else 0
        if self.root:
            self.store = StoreWriter(
                self.folder / STORE_FILE,
                identity=spec.identity,
                header={"versions": versions(), "spec": spec.summary(), "ranks": comm.Get_size()},
                symbols=spec.symbols,
                n_samples=spec.n_samples,
                samples_per_block=spec.samples_per_block,
                committee=spec.committee,
            )
            self.store.cut(step)
            cut_trajectory(self.folder / TRAJECTORY_FILE, step)
            cut_looks(self.folder, step)
        if step >= spec.total_steps:
            return
        if spec.watch:
            self.watch = Watch(self.folder, spec, comm, step)
        log = ["-log", f"{LOG_FILE}"] if restart is None else ["-log", f"{LOG_FILE}.{step}"]
        lmp = create_lammps(["-screen", "none", "-nocite", *log], comm=comm)
        lmp.commands_list([*system_commands(spec, restart), *tensor_commands(spec), *watch_commands(spec)])
        if restart is None:
            lmp.commands_list(start_commands(spec))
        lmp.commands_list([*ensemble_commands(spec), f"thermo {spec.sampling_steps}", "run 0 post no"])
        self.start_volume = read_scalars(lmp)["volume"]
        self._advance(lmp, step)
        lmp.close()

    def _advance(self, lmp: Any, step: int) -> None:
        spec = self.spec
        saved = time.monotonic()
        while step < spec.equilibration_steps:
            chunk = min(spec.equilibration_steps - step, max(_EQUILIBRATION_CHUNK, spec.sampling_steps))
            lmp.command(f"run {chunk} pre no post no")
            step += chunk
            self._check_state(read_scalars(lmp), step)
            if self.watch:
                self.watch.look(lmp, step)
            saved = self._save_when_due(lmp, step, saved, at_end=False)
        # The log would grow by a few lines per sample; the store holds the thermodynamic series from here on.
        lmp.command("log none")
        while step < spec.total_steps:
            lmp.command(f"run {spec.sampling_steps} pre no post no")
            step += spec.sampling_steps
            block_done = self._sample(lmp, step)
            if self.watch:
                self.watch.look(lmp, step)
            if block_done:
                saved = self._save_when_due(lmp, step, saved, at_end=step == spec.total_steps)

    def _sample(self, lmp: Any, step: int) -> bool:
        """Take one sample, store it, and tell whether a block ended."""
        spec = self.spec
        row = (step - spec.equilibration_steps) // spec.sampling_steps - 1
        block, place = divmod(row, spec.samples_per_block)
        with_members = spec.committee > 1 and block % BLOCKS_PER_MEMBER_ROW == 0 and place == spec.samples_per_block - 1
        sample = take_sample(lmp, self.comm, len(spec.symbols), spec.committee if with_members else 0)
        if sample is not None and self.store is not None:
            self._check_state(sample.scalars, step)
            self.store.write_sample(row, step, {"cell": sample.cell, **sample.scalars})
            means = self.block.add(sample)
            if sample.members is not None:
                deviation = sample.members - sample.efg[:, None]
                self.store.write_members(block // BLOCKS_PER_MEMBER_ROW, step, deviation)
            if means is not None:
                self.store.write_block(block, step, means)
            self._write_trajectory(sample, step)
        return place == spec.samples_per_block - 1

    def _write_trajectory(self, sample: Sample, step: int) -> None:
        spec = self.spec
        produced = step - spec.equilibration_steps
        if spec.trajectory_steps and produced % spec.trajectory_steps == 0:
            arrays: dict[str, NDArray[Any]] = {"efg": six_to_matrix(sample.efg).reshape(-1, 9)}
            if spec.without_tensors:
                known = ~np.isin(spec.symbols, spec.without_tensors)
                arrays = {"efg": np.where(known[:, None], arrays["efg"], np.nan), "efg_known": known[:, None]}
            temperature = sample.scalars["temperature"]
            info = {"step": step, "time_fs": step * spec.timestep_fs, "temperature_K": temperature}
            append_frame(self.folder / TRAJECTORY_FILE, spec.symbols, sample.cell, sample.scaled, arrays, info)

    def _check_state(self, scalars: dict[str, float], step: int) -> None:
        """Stop a run that has left physics before it fills the store with nonsense."""
        left = departure(scalars, self.spec.temperature, self.start_volume)
        if left:
            raise DataError(f"step {step}: {left}")

    def _save_when_due(self, lmp: Any, step: int, saved: float, at_end: bool) -> float:
        """Report progress; write a restart file when it is time. Returns the time of the last restart."""
        if self.progress:
            phase = "equilibration" if step < self.spec.equilibration_steps else "production"
            self.progress.report(step, phase)
        due = at_end or time.monotonic() - saved >= 60 * self.spec.restart_minutes
        if not self.comm.bcast(due):
            return saved
        if self.store:
            self.store.flush()
        # noinit: the command would else hand atoms to other ranks, and the next `run ... pre no` would move them by the
        # forces of the atoms whose places they took.
        lmp.command("write_restart restart.unfinished noinit")
        if self.root:
            os.replace(self.folder / "restart.unfinished", self.folder / f"restart.{step}")
            for old in _restarts(self.folder)[:-_KEPT_RESTARTS]:
                old.unlink()
        return time.monotonic()

    def close(self) -> None:
        """Close the store and say that the run is complete."""
        if self.store:
            self.store.close()
        if self.progress:
            self.progress.report(self.spec.total_steps, "production", force=True)


def _restarts(folder: Path) -> list[Path]:
    numbered = [path for path in folder.glob("restart.*") if path.suffix[1:].isdigit()]
    return sorted(numbered, key=restart_step)


def restart_step(path: Path) -> int:
    """Step of a restart file, from its name."""
    return int(path.suffix[1:])


def latest_restart(folder: Path) -> Path | None:
    """The newest complete restart file of a run's folder, if any."""
    found = _restarts(folder)
    return found[-1] if found else None


def main(arguments: list[str]) -> None:
    """Run the worker; any failure writes ``error.txt`` and aborts all ranks of this run."""
    from mpi4py import MPI

    folder = Path(arguments[0]).resolve()
    comm = MPI.COMM_WORLD
    os.chdir(folder)
    with telling_failures(folder, comm):
        run = Run(folder, comm)
        run.run()
        run.close()


if __name__ == "__main__":
    main(sys.argv[1:])
