"""The EFG store: one HDF5 file per temperature.

Samples are evenly spaced, so a sample's row follows from its step. All space is reserved when the file is made, and a
batch only fills rows and then marks them valid: a kill at any moment leaves the file readable and every valid row
complete. Cutting the store back to a restart unmarks the rows after it.

Layout (N atoms in the order of the structure; units in the attribute ``units`` of each dataset):

* ``samples/step`` (n,), ``samples/cell`` (n, 6: lx ly lz xy xz yz), ``samples/temperature``, ``pressure``,
  ``potential_energy``, ``volume`` (n,): one row per EFG sample;
* ``blocks/step`` (b,), ``blocks/efg`` (b, N, 6: xx yy zz xy xz yz), ``blocks/abs_vzz`` (b, N),
  ``blocks/scaled`` (b, N, 3), ``blocks/cell`` (b, 6): means over ``samples_per_block`` samples; ``scaled`` are
  unwrapped fractional coordinates;
* ``members/step`` (m,), ``members/deviation`` (m, N, M, 6), if the EFG model is a committee of M members: their tensors
  less the committee's, in the last sample of every tenth block.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from efgmd.errors import StoreError
from efgmd.files import replacing
from efgmd.trajectories.frames import TensorFrames

FORMAT = "efgmd-store"
SCHEMA = 1
_UNUSED = -1
#: Tensors of single members are large and change slowly relative to the committee's: one row for this many blocks.
BLOCKS_PER_MEMBER_ROW = 10
_CHUNK_BYTES = 1 << 26

SAMPLE_UNITS = {
    "cell": "angstrom",
    "temperature": "K",
    "pressure": "bar",
    "potential_energy": "eV",
    "volume": "angstrom^3",
}
BLOCK_UNITS = {"efg": "Hartree/(e bohr^2)", "abs_vzz": "Hartree/(e bohr^2)", "scaled": "1", "cell": "angstrom"}


def _open(path: Path, mode: str) -> h5py.File:
    try:
        # Readers look at stores that are being written: rows are marked valid only when complete, so no lock is needed.
        return h5py.File(path, mode, libver="v108", locking=False)
    except OSError as error:
        state = "is damaged or not an HDF5 file" if path.exists() else "is missing"
        raise StoreError(f"EFG store {path} {state}; remove that temperature's folder to run it again") from error


def _check_format(file: h5py.File, path: Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise StoreError(f"{path} is not an EFG store; remove that temperature's folder to run it again")
    if int(file.attrs["schema"]) > SCHEMA:
        raise StoreError(
            f"{path} was written by a newer efgmd (schema {file.attrs['schema']}); update efgmd to read it"
        )


class StoreWriter:
    """Writes the store of one run.

    Parameters
    ----------
    path
        The file; made when missing, continued otherwise.
    identity
        Hash of the run; a store of another run is refused.
    header
        JSON-able description (versions, model hashes, seeds...), kept with the file.
    symbols
        Element of each atom, of length N.
    n_samples
        Samples of a complete run; may be larger than before to lengthen a run.
    samples_per_block
        Samples averaged into one block.
    committee
        Members of the EFG model; with more than one, their tensors are stored too.

    Raises
    ------
    StoreError
        for a damaged file, a foreign file, or a store of another run.
    """

    def __init__(
        self,
        path: Path,
        *,
        identity: str,
        header: Mapping[str, Any],
        symbols: list[str],
        n_samples: int,
        samples_per_block: int = 1,
        committee: int = 1,
    ) -> None:
        self._samples_per_block = samples_per_block
        if not path.exists():
            _create(path, identity, header, symbols, self._rows(n_samples), samples_per_block, committee)
        self._file = _open(path, "r+")
        _check_format(self._file, path)
        if self._file.attrs["identity"] != identity:
            self._file.close()
            raise StoreError(
                f"{path} belongs to a run with other settings or models; "
                "choose another output folder or remove that one"
            )
        for group, rows in self._rows(n_samples).items():
            if group in self._file and len(self._file[group]["step"]) < rows:
                self._resize(group, rows)

    def _rows(self, n_samples: int) -> dict[str, int]:
        blocks = n_samples // self._samples_per_block
        return {"samples": n_samples, "blocks": blocks, "members": -(-blocks // BLOCKS_PER_MEMBER_ROW)}

    def _resize(self, group: str, rows: int) -> None:
        for dataset in self._file[group].values():
            dataset.resize(rows, axis=0)
        self._file.flush()

    def reserve(self, n_samples: int) -> None:
        """Make room for exactly ``n_samples``; rows beyond them are forgotten."""
        for group, rows in self._rows(n_samples).items():
            if group in self._file:
                self._resize(group, rows)

    def set_identity(self, identity: str) -> None:
        """Give the store the hash of a run that was not known in full when its file was made."""
        self._file.attrs["identity"] = identity

    def write_sample(self, row: int, step: int, values: Mapping[str, Any]) -> None:
        """Write sample ``row`` (0-based) taken at ``step``; ``values`` holds every key of `SAMPLE_UNITS`."""
        group = self._file["samples"]
        for name in SAMPLE_UNITS:
            group[name][row] = values[name]
        group["step"][row] = step

    def write_block(self, row: int, step: int, values: Mapping[str, Any]) -> None:
        """Write block ``row`` (0-based) that ends at ``step``; ``values`` holds every key of `BLOCK_UNITS`."""
        group = self._file["blocks"]
        for name in BLOCK_UNITS:
            group[name][row] = values[name]
        self._file.flush()  # data first: a block whose step is written must be complete
        group["step"][row] = step

    def write_members(self, row: int, step: int, deviation: NDArray[np.float64]) -> None:
        """Write row ``row`` (0-based) of the members: their tensors less the committee's, of shape ``(N, M, 6)``."""
        group = self._file["members"]
        group["deviation"][row] = deviation
        self._file.flush()
        group["step"][row] = step

    def cut(self, step: int) -> None:
        """Forget everything after ``step``."""
        for name in ("blocks", "samples", "members"):
            if name not in self._file:
                continue
            steps = self._file[name]["step"]
            values = steps[:]
            values[values > step] = _UNUSED
            steps[:] = values
        self.flush()

    def flush(self) -> None:
        """Hand everything written so far to the disk."""
        self._file.flush()
        os.fsync(self._file.id.get_vfd_handle())

    def close(self) -> None:
        """Flush and close the file."""
        if self._file:
            self.flush()
            self._file.close()

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _create(
    path: Path,
    identity: str,
    header: Mapping[str, Any],
    symbols: list[str],
    rows: Mapping[str, int],
    per_block: int,
    committee: int,
) -> None:
    n_atoms = len(symbols)
    with replacing(path) as unfinished, h5py.File(unfinished, "w", libver="v108", locking=False) as file:
        file.attrs.update(
            format=FORMAT,
            schema=SCHEMA,
            identity=identity,
            header=json.dumps(dict(header)),
            samples_per_block=per_block,
        )
        file.create_dataset("symbols", data=[symbol.encode() for symbol in symbols])
        shapes = {"cell": (6,), "efg": (n_atoms, 6), "abs_vzz": (n_atoms,), "scaled": (n_atoms, 3)}
        shapes["deviation"] = (n_atoms, committee, 6)
        groups = {"samples": SAMPLE_UNITS, "blocks": BLOCK_UNITS}
        if committee > 1:
            groups["members"] = {"deviation": BLOCK_UNITS["efg"]}
        for group, units in groups.items():
            _reserve(file, f"{group}/step", (rows[group],), np.int64, "step")
            for name, unit in units.items():
                kind = np.float64 if group == "samples" or name == "cell" else np.float32
                _reserve(file, f"{group}/{name}", (rows[group], *shapes.get(name, ())), kind, unit)


def _reserve(file: h5py.File, name: str, shape: tuple[int, ...], kind: Any, unit: str) -> None:
    width = int(np.prod(shape[1:], dtype=int)) * np.dtype(kind).itemsize
    rows = max(1, min(shape[0], (1 << 18) // max(width, 1)))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((rows, *shape[1:]))
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # later writes touch no metadata: a kill cannot break the file
    space = h5py.h5s.create_simple(shape, (h5py.h5s.UNLIMITED, *shape[1:]))
    if name.endswith("/step"):
        properties.set_fill_value(np.array(_UNUSED, dtype=kind))
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(np.dtype(kind)), space, properties, links)
    file[name].attrs["units"] = unit


class Store:
    """Reads a store, finished or still being written.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    symbols
        Element of each atom, of length N.
    identity
        Hash of the run.
    header
        Description given by the writer.
    samples_per_block
        Samples averaged into each block.
    committee
        Members of the EFG model whose tensors are in the store, 1 for none.

    Raises
    ------
    StoreError
        When the file is missing, damaged or foreign, or its rows are not a gapless series.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _open(path, "r") as file:
            _check_format(file, path)
            self.symbols = [symbol.decode() for symbol in file["symbols"][:]]
            self.identity = str(file.attrs["identity"])
            self.header: dict[str, Any] = json.loads(file.attrs["header"])
            self.samples_per_block = int(file.attrs["samples_per_block"])
            groups = [group for group in ("samples", "blocks", "members") if group in file]
            self._steps = {group: self._valid(file, group) for group in groups}
            self.committee = file["members/deviation"].shape[2] if "members" in file else 1

    def _valid(self, file: h5py.File, group: str) -> NDArray[np.int64]:
        steps = file[f"{group}/step"][:]
        used = steps != _UNUSED
        count = int(used.sum())
        if not used[:count].all() or (count > 1 and len(set(np.diff(steps[:count]))) != 1):
            raise StoreError(f"{self.path}: rows of {group} are missing or doubled; remove that temperature's folder")
        return steps[:count]

    @property
    def sample_steps(self) -> NDArray[np.int64]:
        """Steps of the samples, of shape ``(n_samples,)``."""
        return self._steps["samples"]

    @property
    def block_steps(self) -> NDArray[np.int64]:
        """Steps at which blocks end, of shape ``(n_blocks,)``."""
        return self._steps["blocks"]

    def sample(self, name: str) -> NDArray[np.float64]:
        """Series of a key of `SAMPLE_UNITS`, of shape ``(n_samples, ...)``."""
        return self._read("samples", name)

    def block(self, name: str) -> NDArray[np.float64]:
        """Block means of a key of `BLOCK_UNITS`, of shape ``(n_blocks, ...)``."""
        return self._read("blocks", name)

    def frames(self, first: int = 0, last: int | None = None) -> Iterator[TensorFrames]:
        """Blocks ``first`` to ``last`` (excluded; all by default) a few at a time, so that memory is bounded."""
        count = len(self.block_steps) if last is None else min(last, len(self.block_steps))
        rows = max(1, _CHUNK_BYTES // (8 * 10 * len(self.symbols)))
        with _open(self.path, "r") as file:
            group = file["blocks"]
            for start in range(first, count, rows):
                part = slice(start, min(start + rows, count))
                yield TensorFrames(
                    self.block_steps[part],
                    *(np.asarray(group[name][part], dtype=np.float64) for name in ("cell", "efg", "abs_vzz", "scaled")),
                )

    def member_frames(self) -> Iterator[list[TensorFrames]]:
        """For each row of the members, one frame for each member; its tensors are those less the committee's."""
        with _open(self.path, "r") as file:
            blocks = file["blocks"]
            for row, step in enumerate(self._steps.get("members", ())):
                block = row * BLOCKS_PER_MEMBER_ROW
                if block >= len(self.block_steps):
                    break
                cell, size, scaled = (
                    np.asarray(blocks[name][block : block + 1], dtype=np.float64)
                    for name in ("cell", "abs_vzz", "scaled")
                )
                deviation = np.asarray(file["members/deviation"][row], dtype=np.float64)
                yield [
                    TensorFrames(np.array([step]), cell, deviation[None, :, member], size, scaled)
                    for member in range(self.committee)
                ]

    def _read(self, group: str, name: str) -> NDArray[np.float64]:
        with _open(self.path, "r") as file:
            return np.asarray(file[group][name][: len(self._steps[group])], dtype=np.float64)
