"""Turns a trajectory of somebody's own run into a store, so that it is read once and analysed like a campaign's."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from efgmd.campaign.sampling import BlockMean, Sample, cell_matrix
from efgmd.campaign.spec import SPEC_FILE, RunSpec
from efgmd.errors import DataError, StoreError
from efgmd.files import write_whole
from efgmd.store import StoreWriter
from efgmd.trajectories.dump import Dump, DumpFrame, is_dump
from efgmd.trajectories.structures import Structures

FloatArray = NDArray[np.float64]

_KIND = "imported"
_FIRST_ROWS = 256


@dataclass(frozen=True)
class ImportedRun:
    """What is known of a run that was not made by ``efgmd run``; the names are those of `RunSpec`.

    Attributes
    ----------
    temperature
        Kelvin, as the user gives it.
    timestep_fs
        Time of one step.
    sampling_steps
        Steps between frames.
    samples_per_block
        Frames averaged into one block of the store.
    equilibration_steps
        Step at which the first sampling interval begins.
    n_samples
        Frames used.
    averaged
        Whether the frames are time averages, so that instantaneous tensors are not known.
    sources
        Names of the files.
    notes
        What the reader should know about them, one line each.
    skipped_ps
        Time left out at the beginning.
    """

    temperature: float
    timestep_fs: float
    sampling_steps: int
    samples_per_block: int
    equilibration_steps: int
    n_samples: int
    averaged: bool
    sources: list[str]
    notes: list[str]
    seed: int | None = None
    skipped_ps: float = 0.0

    @property
    def sampling_ps(self) -> float:
        """Time between frames."""
        return self.sampling_steps * self.timestep_fs / 1000

    @property
    def identity(self) -> str:
        """SHA-256 of all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write run.json into a folder."""
        text = json.dumps(asdict(self) | {"kind": _KIND, "identity": self.identity}, indent=1)
        write_whole(folder / SPEC_FILE, text + "\n")


def read_run(folder: Path) -> RunSpec | ImportedRun:
    """Read what a folder of one temperature says about its run.

    Raises
    ------
    StoreError
        When it holds no readable run.json.
    """
    try:
        content = json.loads((folder / SPEC_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = {}
    if content.get("kind") != _KIND:
        return RunSpec.read(folder)
    try:
        return ImportedRun(**{field.name: content[field.name] for field in fields(ImportedRun)})
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"{folder / SPEC_FILE} is damaged or of an earlier version; import into another folder"
        ) from error


@dataclass(frozen=True)
class _Frame:
    step: int
    time_fs: float | None
    sample: Sample
    blank: bool  # whether all tensors are zero


class TrajectoryImport:
    """Reads a trajectory once and writes it into a store.

    Parameters
    ----------
    start
        All N atoms in the order of the ids (dumps) or of the files (structures), molecules intact.
    temperature
        Kelvin.
    timestep_fs
        Time of one MD step, or of one frame for files that do not number steps; None to take it from the files.
    skip_ps
        Time to leave out at the beginning.
    samples_per_block
        Frames averaged into one block of the store.
    columns
        Name of the tensors in the files (``c_efg``, ``f_avg``; ``efg`` in files of structures), None to find it.
    """

    def __init__(
        self,
        start: Atoms,
        temperature: float,
        timestep_fs: float | None = None,
        skip_ps: float = 0.0,
        samples_per_block: int = 1,
        columns: str | None = None,
    ) -> None:
        self._start, self._temperature, self._timestep = start, temperature, timestep_fs
        self._skip_ps, self._per_block, self._columns = skip_ps, samples_per_block, columns

    def compute(self, paths: list[Path], folder: Path, store_name: str) -> ImportedRun:
        """Write the store and run.json into ``folder``.

        Raises
        ------
        DataError
            For files that cannot be read, do not fit the structure, or whose frames are not evenly spaced.
        """
        dump = is_dump(paths[0])
        if dump and self._timestep is None:
            raise DataError(f"{paths[0]}: dumps do not tell the time of a step; give it (--timestep-fs)")
        notes: list[str] = []
        frames = self._dump_frames(paths, notes) if dump else self._structure_frames(paths)
        self._steps: list[int] = []
        self._zero = np.ones(len(self._start), dtype=bool)
        self._gaps = np.zeros(len(self._start), dtype=bool)
        unfinished = folder / (store_name + ".import")
        unfinished.unlink(missing_ok=True)
        header: dict[str, Any] = {"sources": [path.name for path in paths]}
        identity = hashlib.sha256(str([(str(path), path.stat().st_size) for path in paths]).encode()).hexdigest()
        with StoreWriter(
            unfinished,
            identity=identity,
            header=header,
            symbols=self._start.get_chemical_symbols(),
            n_samples=_FIRST_ROWS * self._per_block,
            samples_per_block=self._per_block,
        ) as store:
            count = self._fill(store, self._chosen(frames, notes))
            store.reserve(count)
            run = self._describe(paths, count, dump and self._averaged, notes)
            store.set_identity(run.identity)
        unfinished.replace(folder / store_name)
        run.write(folder)
        return run

    def check_elements(self, elements: Iterable[str]) -> None:
        """Refuse elements whose atoms have no tensors in the trajectory that has been read.

        Raises
        ------
        DataError
            Names the first of them.
        """
        symbols = np.array(self._start.get_chemical_symbols())
        for element in elements:
            rows = symbols == element
            without = self._gaps[rows] if self._gaps[rows].any() else self._zero[rows] & self._zero[rows].all()
            if without.any():
                raise DataError(
                    f"{int(without.sum())} of {len(without)} atoms of {element} have no tensors in the trajectory; "
                    "leave their nucleus out, or sample them with a model that knows the element"
                )

    def _fill(self, store: StoreWriter, frames: Iterator[_Frame]) -> int:
        block, reserved, row = BlockMean(self._per_block), _FIRST_ROWS * self._per_block, 0
        for frame in frames:
            self._check_spacing(frame.step)
            self._zero &= ~frame.sample.efg.any(axis=1)
            if row == reserved:
                reserved *= 2
                store.reserve(reserved)
            store.write_sample(row, frame.step, {"cell": frame.sample.cell, **frame.sample.scalars})
            means = block.add(frame.sample)
            row += 1
            if means is not None:
                store.write_block(row // self._per_block - 1, frame.step, means)
        count = row // self._per_block * self._per_block
        if not count:
            raise DataError(
                f"the trajectory has {row} frames to use, fewer than one block ({self._per_block}); "
                "give a longer one, or skip less"
            )
        return count

    def _chosen(self, frames: Iterator[_Frame], notes: list[str]) -> Iterator[_Frame]:
        """Frames after the skipped time. A fix has no average yet on its first step, and its dump holds zeros there."""
        first: _Frame | None = None
        for frame in frames:
            if first is None:
                first = frame
                if frame.blank:
                    notes.append(f"step {frame.step} left out: all its tensors are zero")
                    continue
            elif frame.blank:
                raise DataError(f"step {frame.step}: all tensors are zero; is the compute's group empty?")
            if self._skip_ps:
                self._learn_timestep(first, frame)
                if self._timestep is None or (frame.step - first.step) * self._timestep < 1000 * self._skip_ps:
                    continue
            self._learn_timestep(first, frame)
            yield frame

    def _learn_timestep(self, first: _Frame, frame: _Frame) -> None:
        known = first.time_fs is not None and frame.time_fs is not None
        if self._timestep is None and known and frame.step > first.step:
            assert first.time_fs is not None and frame.time_fs is not None
            self._timestep = (frame.time_fs - first.time_fs) / (frame.step - first.step)

    def _check_spacing(self, step: int) -> None:
        self._steps.append(step)
        if len(self._steps) > 2 and step - self._steps[-2] != self._steps[1] - self._steps[0]:
            raise DataError(
                f"frames are not evenly spaced: steps {self._steps[-3]}, {self._steps[-2]}, {step}; give one run's "
                "frames, each once and none missing"
            )

    def _describe(self, paths: list[Path], count: int, averaged: bool, notes: list[str]) -> ImportedRun:
        if self._timestep is None:
            raise DataError("the files do not tell the time of a step; give it (--timestep-fs)")
        interval = self._steps[1] - self._steps[0] if len(self._steps) > 1 else max(1, self._steps[0])
        if len(self._steps) > count:
            notes.append(f"{len(self._steps) - count} frames at the end do not fill a block and are left out")
        return ImportedRun(
            temperature=self._temperature,
            timestep_fs=self._timestep,
            sampling_steps=interval,
            samples_per_block=self._per_block,
            equilibration_steps=self._steps[0] - interval,
            n_samples=count,
            averaged=averaged,
            sources=[path.name for path in paths],
            notes=notes,
            skipped_ps=self._skip_ps,
        )

    def _dump_frames(self, paths: list[Path], notes: list[str]) -> Iterator[_Frame]:
        dump = Dump(paths, self._columns)
        self._averaged = dump.averaged
        if dump.ignored:
            notes.append(f"columns {dump.ignored[0]} to {dump.ignored[-1]} of the dump are not used")
        return self._unwrap_dump(dump, notes)

    def _unwrap_dump(self, dump: Dump, notes: list[str]) -> Iterator[_Frame]:
        last: FloatArray | None = None
        for frame in dump:
            self._check_atoms(len(frame.scaled), f"step {frame.step} of the dump")
            self._check_order(frame, notes)
            scaled = frame.scaled
            if not frame.unwrapped:
                scaled = last = self._continued(scaled, last)
            yield _Frame(frame.step, None, _sample(frame.efg, scaled, frame.cell, np.nan), not frame.efg.any())

    def _continued(self, scaled: FloatArray, last: FloatArray | None) -> FloatArray:
        """Positions at the periodic images nearest to those of the frame before, for the first frame of the start."""
        return scaled + np.round((self._near_start(scaled) if last is None else last) - scaled)

    def _near_start(self, scaled: FloatArray) -> FloatArray:
        """Positions of the start, moved as a whole to where the frame is: the box may have another origin."""
        start = self._start.get_scaled_positions(wrap=False)
        angles = 2 * np.pi * (scaled - start)
        return start + np.arctan2(np.sin(angles).mean(axis=0), np.cos(angles).mean(axis=0)) / (2 * np.pi)

    def _structure_frames(self, paths: list[Path]) -> Iterator[_Frame]:
        symbols = self._start.get_chemical_symbols()
        last: FloatArray | None = None
        for frame in Structures(paths, self._columns or "efg"):
            self._check_atoms(len(frame.symbols), f"step {frame.step}")
            if frame.symbols != symbols:
                raise DataError(f"step {frame.step}: its elements are not those of the structure, in the same order")
            self._gaps |= ~frame.known
            last = self._continued(frame.scaled, last)
            sample = _sample(frame.efg, last, frame.cell, frame.temperature)
            yield _Frame(frame.step, frame.time_fs, sample, not frame.efg.any())

    def _check_atoms(self, count: int, where: str) -> None:
        if count != len(self._start):
            raise DataError(
                f"{where} has {count} atoms, the structure has {len(self._start)}; give the structure of the run "
                "(--structure, --supercell)"
            )

    def _check_order(self, frame: DumpFrame, notes: list[str]) -> None:
        """Refuse atoms in another order than the structure's, as far as types and elements tell."""
        symbols = self._start.get_chemical_symbols()
        if frame.elements is not None and frame.elements != symbols:
            number = next(k for k, pair in enumerate(zip(frame.elements, symbols, strict=True)) if len(set(pair)) > 1)
            raise DataError(
                f"step {frame.step} of the dump: atom {number + 1} is {frame.elements[number]}, in the structure "
                f"{symbols[number]}; the structure must list the atoms in the order of their ids"
            )
        if frame.types is not None:
            pairs = set(zip(frame.types.tolist(), symbols, strict=True))
            if len(pairs) != len({kind for kind, _ in pairs}):
                raise DataError(
                    f"step {frame.step} of the dump: one atom type is several elements of the structure; the structure "
                    "must list the atoms in the order of their ids"
                )
        unchecked = "the dump has neither type nor element: that the structure lists its atoms by id is not checked"
        if frame.types is None and frame.elements is None and unchecked not in notes:
            notes.append(unchecked)


def _sample(efg: FloatArray, scaled: FloatArray, cell: FloatArray, temperature: float) -> Sample:
    unknown = {"pressure": np.nan, "potential_energy": np.nan}
    volume = float(abs(np.linalg.det(cell_matrix(cell))))
    return Sample(efg, scaled, cell, {"temperature": temperature, "volume": volume, **unknown})
