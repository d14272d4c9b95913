"""Training data: files, runs, the split into training and validation frames, and their tensors."""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray
from torch import Tensor

from efgmd.errors import DataError
from efgmd.frames.labels import LabelKeys, known_atoms
from efgmd.frames.neighbours import Batch, PairList, join, neighbourhoods, volume
from efgmd.frames.readers import read_frames

#: Labels that each kind of model is trained on.
REQUIRED = {"energy": ("energy", "forces"), "efg": ("efg",)}


@dataclass(frozen=True)
class FrameFile:
    """A data file as it was read: its name, the SHA-256 of its bytes, and the number of frames."""

    name: str
    sha256: str
    frames: int


@dataclass
class LabelledFrames:
    """Frames of one or more files.

    Attributes
    ----------
    frames
        With labels as `read_frames` leaves them.
    origins
        "FILE, frame K" of each frame.
    files
        What was read.
    """

    frames: list[Atoms]
    origins: list[str]
    files: list[FrameFile]

    @property
    def sha256(self) -> str:
        """One hash for the whole set, independent of where its files lie."""
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()

    def subset(self, indices: Sequence[int]) -> "LabelledFrames":
        """The chosen frames; ``files`` still names everything that was read."""
        return LabelledFrames([self.frames[k] for k in indices], [self.origins[k] for k in indices], self.files)

    def joined(self, other: "LabelledFrames") -> "LabelledFrames":
        """The frames of both, and every file once."""
        files = [*self.files, *(file for file in other.files if file not in self.files)]
        return LabelledFrames(self.frames + other.frames, self.origins + other.origins, files)


def load(paths: Sequence[str | Path], kind: str, keys: LabelKeys | None = None) -> LabelledFrames:
    """Read the frames of several files. Those for an EFG model may have the tensors of some atoms only.

    Raises
    ------
    DataError
        A file cannot be read, a label that the ``kind`` of model needs is missing, or a frame is
        there twice (it could end up in both the training and the validation set).
    """
    loaded = LabelledFrames([], [], [])
    seen: dict[bytes, str] = {}
    for path in paths:
        frames = read_frames(path, keys, REQUIRED[kind], some_tensors=True)
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        loaded.files.append(FrameFile(Path(path).name, digest, len(frames)))
        for number, atoms in enumerate(frames):
            origin = f"{path}, frame {number}"
            identity = _identity(atoms)
            if identity in seen:
                raise DataError(f"{origin}: is the same structure as {seen[identity]}; remove one of them")
            seen[identity] = origin
            loaded.frames.append(atoms)
            loaded.origins.append(origin)
    return loaded


def _identity(atoms: Atoms) -> bytes:
    content = [np.ascontiguousarray(part).tobytes() for part in (atoms.numbers, atoms.positions, atoms.cell)]
    return hashlib.sha256(b"".join(content)).digest()


def refuse_overlap(data: LabelledFrames, others: LabelledFrames) -> None:
    """Refuse frames for validation or test that are among the training data.

    Raises
    ------
    DataError
        Names the first such frame.
    """
    known = dict(zip(map(_identity, data.frames), data.origins, strict=True))
    for atoms, origin in zip(others.frames, others.origins, strict=True):
        if (identity := _identity(atoms)) in known:
            raise DataError(
                f"{origin}: is the same structure as {known[identity]}, so it cannot judge the model; remove either"
            )


def run_names(data: LabelledFrames, split_by: str) -> list[str]:
    """Name of the run that each frame was taken from.

    Frames of one run are correlated, so a run belongs wholly to the training or wholly to the validation set. Where
    an info value occurs several times, it names the run. Where the values of a family NAME-0, NAME-1, ... occur once
    each, they number the frames of the run NAME.

    Parameters
    ----------
    data
        Frames.
    split_by
        Info key, or "frame" if the frames are independent.

    Raises
    ------
    DataError
        A frame has no such info key.
    """
    if split_by == "frame":
        return list(data.origins)
    values = []
    for atoms, origin in zip(data.frames, data.origins, strict=True):
        if split_by not in atoms.info:
            present = ", ".join(atoms.info) or "nothing"
            raise DataError(
                f"{origin}: has no info key '{split_by}' that names its run (it has {present}); "
                "say --split-by KEY; or let efgmd convert make one file of many, which names the run of each; or say "
                "--split-by frame if all frames are independent"
            )
        values.append(str(atoms.info[split_by]))
    counts = Counter(values)
    families = [_family(value) for value in values]
    repeated = {family for value, family in zip(values, families, strict=True) if counts[value] > 1}
    return [value if family in repeated else family for value, family in zip(values, families, strict=True)]


def _family(value: str) -> str:
    head, dash, tail = value.rpartition("-")
    return head if dash and head and tail.isdigit() else value


def split_runs(runs: Sequence[str], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Split frames by run into training and validation indices, the same way for the same seed.

    Parameters
    ----------
    runs
        Run name of each frame.
    fraction
        Share of the frames wanted for validation.
    seed
        Of the shuffle of the runs.

    Raises
    ------
    DataError
        All frames come from one run.
    """
    sizes = Counter(runs)
    names = sorted(sizes)
    if len(names) < 2:
        raise DataError(
            f"all {len(runs)} frames come from one run ('{names[0]}'), so none can be held out for validation; add "
            "runs, give --validation FILE, or say --split-by frame if the frames are independent"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    wanted = fraction * len(runs)
    held_out: set[str] = set()
    count = 0
    for k in order[:-1]:
        # Take a run only if that brings the count closer to the share wanted.
        if count < wanted and abs(count + sizes[names[k]] - wanted) <= abs(count - wanted):
            held_out.add(names[k])
            count += sizes[names[k]]
    if not held_out:
        held_out.add(min((names[k] for k in order), key=sizes.__getitem__))
    training = [k for k, run in enumerate(runs) if run not in held_out]
    validation = [k for k, run in enumerate(runs) if run in held_out]
    return training, validation


def elements_of(frames: Sequence[Atoms]) -> tuple[str, ...]:
    """Elements present, by atomic number."""
    numbers: dict[int, str] = {}
    for atoms in frames:
        numbers.update(zip(atoms.numbers.tolist(), atoms.get_chemical_symbols(), strict=True))
    return tuple(numbers[number] for number in sorted(numbers))


def composition(frames: Sequence[Atoms], elements: Sequence[str]) -> NDArray[np.float64]:
    """Number of atoms of each element in each frame, of shape ``(B, n_elements)``."""
    symbols = [atoms.get_chemical_symbols() for atoms in frames]
    return np.array([[row.count(element) for element in elements] for row in symbols], dtype=np.float64)


def known_tensors(frames: Sequence[Atoms]) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Elements ``(M,)`` and EFG tensors ``(M, 3, 3)``, a.u., of all atoms that have one."""
    known = [known_atoms(atoms) for atoms in frames]
    symbols = [np.array(atoms.get_chemical_symbols())[rows] for atoms, rows in zip(frames, known, strict=True)]
    tensors = [atoms.arrays["efg"][rows] for atoms, rows in zip(frames, known, strict=True)]
    return np.concatenate(symbols), np.concatenate(tensors)


def tensor_counts(frames: Sequence[Atoms], elements: Sequence[str]) -> NDArray[np.int64]:
    """Number of atoms of each element that have an EFG tensor, of shape ``(n_elements,)``."""
    symbols, _ = known_tensors(frames)
    return np.array([np.count_nonzero(symbols == element) for element in elements])


def element_references(counts: NDArray[np.float64], energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Energy of each element, eV, that together explain the total energies best, in the least-squares sense.

    If the composition does not vary enough to tell the elements apart, the solution of least norm is taken.

    Parameters
    ----------
    counts
        Atoms of each element, of shape ``(B, n_elements)``.
    energies
        Total energies of shape ``(B,)``, eV.
    """
    return np.asarray(np.linalg.lstsq(counts, energies, rcond=None)[0], dtype=np.float64)


def efg_scales(frames: Sequence[Atoms], elements: Sequence[str]) -> dict[str, float]:
    """Spread sigma of the EFG components of each element, a.u.: the root mean square of the nine components.

    The mean of a traceless tensor over orientations is zero, so no mean is subtracted. Elements whose tensors all
    vanish get 1, those of which no atom has a tensor NaN.
    """
    symbols, tensors = known_tensors(frames)
    scales = {}
    for element in elements:
        own = tensors[symbols == element]
        scales[element] = (float(np.sqrt(np.mean(own**2))) or 1.0) if len(own) else math.nan
    return scales


@dataclass
class Prepared:
    """A frame ready for training: pairs, volume (angstrom^3) and labels as tensors.

    Attributes
    ----------
    labels
        For an energy model ``energy`` (1,) after subtraction of the references, ``forces`` (N, 3), ``stress``
        (1, 3, 3) and ``has_stress`` (1,); for an EFG model ``efg`` (N, 3, 3), ``known`` (N,), which says whether an
        atom has a tensor (if not, its ``efg`` is zero), and ``member_weights``, (N, committee) or (N, 1).
    """

    pairs: PairList
    volume: float
    labels: dict[str, Tensor]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.pairs.neighbourhoods.species.shape[0]


def prepare(
    data: LabelledFrames,
    kind: str,
    elements: Sequence[str],
    cutoff: float,
    dtype: torch.dtype,
    references: NDArray[np.float64] | None = None,
) -> list[Prepared]:
    """Neighbour lists and label tensors of all frames.

    ``references`` (eV per element) are subtracted from the energies in double precision, before they are rounded to
    ``dtype``: total energies of all-electron codes are too large for single precision.
    """
    if references is None:
        references = np.zeros(len(elements))
    baseline = composition(data.frames, elements) @ references
    prepared = []
    for atoms, origin, offset in zip(data.frames, data.origins, baseline, strict=True):
        pairs = neighbourhoods(atoms, cutoff, elements, dtype, origin)
        cell_volume = volume(atoms)
        if kind == "efg":
            known = torch.from_numpy(known_atoms(atoms))
            tensors = torch.from_numpy(np.where(known[:, None, None], atoms.arrays["efg"], 0.0)).to(dtype)
            labels = {"efg": tensors, "known": known, "member_weights": tensors.new_ones(len(atoms), 1)}
        else:
            results = atoms.calc.results
            has_stress = "stress" in results and cell_volume > 0
            stress = voigt_6_to_full_3x3_stress(results["stress"]) if has_stress else np.zeros((3, 3))
            labels = {
                "energy": torch.tensor([results["energy"] - offset], dtype=torch.float64),
                "forces": torch.from_numpy(results["forces"]).to(dtype),
                "stress": torch.from_numpy(stress)[None].to(dtype),
                "has_stress": torch.tensor([has_stress]),
            }
        prepared.append(Prepared(pairs, cell_volume, labels))
    return prepared


def weigh_members(frames: Sequence[Prepared], runs: Sequence[str], committee: int, seed: int) -> None:
    """Give each member of a committee weights of its own for the runs that the frames come from.

    This is the Bayesian bootstrap (Rubin, Ann. Stat. 9, 130 (1981)): exponentially distributed weights, of mean 1 over
    the frames. Frames of one run are correlated, so they share their weight.

    Parameters
    ----------
    frames
        Frames of an EFG model; their label ``member_weights`` becomes ``(N, committee)``.
    runs
        Name of the run of each frame.
    committee
        Number of members.
    seed
        Of the weights.
    """
    names = sorted(set(runs))
    weights = np.random.default_rng((seed, 17)).exponential(size=(len(names), committee))
    rows = weights[[names.index(run) for run in runs]]
    rows /= rows.mean(axis=0)
    for frame, row in zip(frames, rows, strict=True):
        labels = frame.labels["efg"]
        frame.labels["member_weights"] = torch.from_numpy(row).to(labels).expand(len(labels), -1)


def collate(frames: Sequence[Prepared]) -> tuple[Batch, dict[str, Tensor]]:
    """Join frames into a batch, with their labels concatenated."""
    batch = join([frame.pairs for frame in frames], [frame.volume for frame in frames])
    return batch, {name: torch.cat([frame.labels[name] for frame in frames]) for name in frames[0].labels}


def some_frames(data: LabelledFrames, elements: Sequence[str], atoms: int, centres: int = 50) -> LabelledFrames:
    """Frames spread over the whole set.

    Parameters
    ----------
    data
        All frames.
    elements
        Elements that they may have.
    atoms
        Atoms wanted in all, about.
    centres
        Atoms of each element to have at least; frames are added for those that fall short. Of an element with fewer,
        all frames are taken.
    """
    counts = composition(data.frames, elements)
    number = min(len(counts), max(1, round(atoms / counts.sum(axis=1).mean())))
    chosen = set(np.linspace(0, len(counts) - 1, number).round().astype(int).tolist())
    for column in counts.T:
        holders = np.flatnonzero(column)
        for k in holders[_spread_out(len(holders))]:
            if column[sorted(chosen)].sum() >= centres:
                break
            chosen.add(int(k))
    return data.subset(sorted(chosen))


def _spread_out(count: int) -> NDArray[np.int64]:
    """The numbers below ``count``, in an order of which any first few are spread over all: bits reversed."""
    bits = max(1, (count - 1).bit_length())
    reversed_bits = [int(f"{number:0{bits}b}"[::-1], 2) for number in range(2**bits)]
    return np.array([number for number in reversed_bits if number < count], dtype=np.int64)
