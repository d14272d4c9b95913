"""The frames of a pool that are most worth labelling: those that models disagree on, and unlike each other."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from efgmd.errors import ConfigError, DataError, ModelFileError
from efgmd.frames.neighbours import Batch, batch_of
from efgmd.frames.readers import read_frames
from efgmd.frames.writers import write_frames, written_format
from efgmd.models import EFGModel
from efgmd.models.io import load_model
from efgmd.training.predictions import predict_energy

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """A chosen frame.

    Attributes
    ----------
    index
        In the pool, from 0.
    spread
        Disagreement of the models: for EFG models the expected error over sigma, root mean square over the atoms of
        each element and the elements; for energy models that of the forces, eV/angstrom.
    distance
        From the nearest frame that is known or was chosen before; NaN for the first if none is known.
    """

    index: int
    spread: float
    distance: float


def choose(
    spreads: FloatArray, descriptors: FloatArray, known: FloatArray, count: int, first: Sequence[int] = ()
) -> list[Choice]:
    """Greedy choice of the largest spread times distance from everything known or chosen already.

    Parameters
    ----------
    spreads
        Of shape ``(B,)``.
    descriptors
        Of the frames, ``(B, D)``.
    known
        Of labelled frames, ``(K, D)``; K may be 0, and then the frame of the largest spread comes first.
    count
        Frames wanted, at most B.
    first
        Rows that are chosen in any case, in this order; at most ``count``.
    """
    distances = np.full(len(spreads), np.inf)
    for row in known:
        distances = np.minimum(distances, np.linalg.norm(descriptors - row, axis=1))
    chosen: list[Choice] = []
    left = np.ones(len(spreads), dtype=bool)
    while len(chosen) < count:
        merit = spreads * (distances if np.isfinite(distances).all() else 1.0)
        best = first[len(chosen)] if len(chosen) < len(first) else int(np.argmax(np.where(left, merit, -1.0)))
        distance = float(distances[best]) if np.isfinite(distances[best]) else float("nan")
        chosen.append(Choice(best, float(spreads[best]), distance))
        left[best] = False
        distances = np.minimum(distances, np.linalg.norm(descriptors - descriptors[best], axis=1))
    return chosen


def select_files(
    pool: Sequence[Path], models: Sequence[Path], known: Sequence[Path], count: int, output: Path, console: Console
) -> list[Choice]:
    """Choose frames, write them as extended XYZ with their scores, and the scores as a table.

    Parameters
    ----------
    pool
        Files of frames, labels not needed.
    models
        An EFG model that is a committee, or at least two models of one kind.
    known
        Files of frames that are labelled already.
    count
        Frames wanted.
    output
        Extended XYZ file; beside it a table of the same name with the suffix ``.csv``.
    console
        Where the table is shown.

    Raises
    ------
    ConfigError
        More frames wanted than there are, models that do not fit each other or do not tell their disagreement, or an
        output that would replace an input.
    DataError, ModelFileError
        Files that cannot be used.
    """
    if written_format(output) != "extxyz":
        raise ConfigError(f"{output}: chosen frames are written as extended XYZ; end the name in .xyz or .xyz.gz")
    if output.resolve() in {path.resolve() for path in (*pool, *known)}:
        raise ConfigError(f"{output}: holds frames to choose from; choose another output")
    loaded = [load_model(path) for path in models]
    _check(loaded, models)
    frames = [(atoms, f"{path}, frame {k}") for path in pool for k, atoms in enumerate(read_frames(path))]
    labelled = [(atoms, f"{path}, frame {k}") for path in known for k, atoms in enumerate(read_frames(path))]
    if not 1 <= count <= len(frames):
        raise ConfigError(f"--count {count}: the pool holds {len(frames)} frames, choose 1 to {len(frames)} of them")
    choices = choose_frames(loaded, frames, labelled, count)
    _write([frames[choice.index] for choice in choices], choices, output)
    console.print(_table(choices, [frames[choice.index][1] for choice in choices], loaded[0].kind))
    return choices


def choose_frames(
    models: Sequence[Any],
    pool: Sequence[tuple[Atoms, str]],
    known: Sequence[tuple[Atoms, str]],
    count: int,
    first: Sequence[int] = (),
) -> list[Choice]:
    """Choose frames by the spread of the models times the distance from everything known or chosen before.

    Parameters
    ----------
    models
        As for `select_files`, loaded.
    pool, known
        Frames and their names.
    count
        Frames wanted, at most those of the pool.
    first
        Indices of frames of the pool that are chosen in any case, before the others; at most ``count`` of them.

    Raises
    ------
    DataError
        Models that give no finite numbers.
    """
    model = models[0]
    batches = [batch_of(a, model.cutoff, model.elements, model.dtype, name) for a, name in [*pool, *known]]
    spreads = np.array([_spread(models, batch) for batch in batches[: len(pool)]])
    if not np.isfinite(spreads).all():
        raise DataError(f"{pool[int(np.argmin(np.isfinite(spreads)))][1]}: the models give no finite numbers")
    descriptors = describe(model, batches)
    return choose(spreads, descriptors[: len(pool)], descriptors[len(pool) :], count, first)


def _check(loaded: Sequence[Any], paths: Sequence[Path]) -> None:
    first = loaded[0]
    for model, path in zip(loaded, paths, strict=True):
        if (model.kind, model.elements, model.cutoff) != (first.kind, first.elements, first.cutoff):
            raise ModelFileError(
                f"{path} has another kind, elements or cutoff than {paths[0]}: give models of one form"
            )
        if model.kind == "efg" and model.without_tensors != first.without_tensors:
            raise ModelFileError(f"{path} knows tensors of other elements than {paths[0]}: give models of one form")
    if len(loaded) < 2 and getattr(first, "committee", 1) < 2:
        raise ConfigError(
            f"{paths[0]} alone does not tell where it is wrong: give --model twice or more, or an EFG model trained "
            "with --set committee=4"
        )


def _spread(models: Sequence[Any], batch: Batch) -> float:
    """Disagreement of the models on a frame, see `Choice`."""
    species = batch.neighbourhoods.species
    with torch.no_grad():
        if models[0].kind == "energy":
            forces = torch.stack([predict_energy(model, batch).forces for model in models])
            return float(forces.var(0).sum(1).mean().sqrt())
        first: EFGModel = models[0]
        if len(models) == 1:
            members = first.members(batch.neighbourhoods)
            relative = first.uncertainty(batch.neighbourhoods, members) / first.scales[species]
        else:
            tensors = torch.stack([model(batch.neighbourhoods) for model in models])
            relative = tensors.var(0).mean((1, 2)).sqrt() / first.scales[species]
        present = [s for s in torch.unique(species) if not first.scales[s].isnan()]
        if not present:
            return 0.0  # nothing in it that the models know tensors of
        return float(torch.stack([relative[species == s].square().mean() for s in present]).mean().sqrt())


def describe(model: Any, batches: Sequence[Batch]) -> FloatArray:
    """Descriptors of frames that do not change as they turn: ``(B, D)``, each column of unit variance or zero.

    They are the means and standard deviations, over the atoms of each element, of the norms of the neighbour densities
    of each degree.
    """
    rows = []
    for batch in batches:
        parts = []
        with torch.no_grad():
            blocks, _ = model.backbone.densities(batch.neighbourhoods)
        for block in blocks:
            degrees = range(1, model.backbone.basis.lmax + 1)
            norms = [block[:1], *(block[l * l : (l + 1) ** 2].square().sum(0, keepdim=True).sqrt() for l in degrees)]
            values = torch.cat(norms).double().transpose(0, 1).flatten(1)
            empty = values.new_zeros(values.shape[1])
            parts += [values.mean(0), values.std(0, correction=0)] if len(values) else [empty, empty]
        rows.append(torch.cat(parts).numpy())
    table = np.array(rows)
    deviations = table - table.mean(0)
    scale = deviations.std(0)
    # Columns that vary only by rounding must not be blown up.
    return deviations / np.where(scale > 1e-4 * np.abs(table).max(0) + 1e-12, scale, np.inf) / table.shape[1] ** 0.5


def _write(frames: Sequence[tuple[Atoms, str]], choices: Sequence[Choice], output: Path) -> None:
    copies = []
    for rank, ((atoms, _), choice) in enumerate(zip(frames, choices, strict=True), 1):
        copy = atoms.copy()
        copy.info |= {"select_rank": rank, "select_spread": choice.spread, "select_distance": choice.distance}
        copies.append(copy)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_frames(output, copies, "extxyz")
    with output.with_suffix(".csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["rank", "frame", "spread", "distance"])
        for rank, ((_, origin), choice) in enumerate(zip(frames, choices, strict=True), 1):
            writer.writerow([rank, origin, f"{choice.spread:.6g}", f"{choice.distance:.6g}"])


def _table(choices: Sequence[Choice], origins: Sequence[str], kind: str) -> Table:
    unit = "expected error / sigma" if kind == "efg" else "spread of forces (eV/A)"
    result = Table("rank", "frame", unit, "distance", title="frames to label", title_justify="left")
    for rank, (choice, origin) in enumerate(zip(choices, origins, strict=True), 1):
        distance = "-" if np.isnan(choice.distance) else f"{choice.distance:.3f}"
        result.add_row(str(rank), origin, f"{choice.spread:.4f}", distance)
    return result
