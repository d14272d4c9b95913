"""Neighbour lists of frames in the form the models take, and several frames joined into one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from torch import Tensor
from vesin import NeighborList

from efgmd.errors import DataError
from efgmd.models.neighbourhoods import Neighbourhoods


class PairList(NamedTuple):
    """Neighbourhoods of one frame with the atoms of every pair.

    Attributes
    ----------
    neighbourhoods
        What a model takes: N centres (all atoms) and P pairs, each pair in both directions.
    centre
        Of shape ``(P,)``, index i of the pair's first atom, ascending.
    neighbour
        Of shape ``(P,)``, index j of the atom whose image is the neighbour.
    """

    neighbourhoods: Neighbourhoods
    centre: Tensor
    neighbour: Tensor


class Batch(NamedTuple):
    """Frames joined into one set of neighbourhoods.

    Attributes
    ----------
    neighbourhoods
        Of all N atoms of the B frames.
    centre
        Of shape ``(P,)``, atom indices within the batch.
    neighbour
        Of shape ``(P,)``, likewise.
    frame
        Of shape ``(N,)``, the frame each atom belongs to, 0 to B - 1.
    volumes
        Of shape ``(B,)``, angstrom^3; 0 for frames without three periodic axes.
    """

    neighbourhoods: Neighbourhoods
    centre: Tensor
    neighbour: Tensor
    frame: Tensor
    volumes: Tensor

    @property
    def n_frames(self) -> int:
        """Number of frames B."""
        return self.volumes.shape[0]

    def to(self, device: str | torch.device) -> "Batch":
        """Copy of the batch on another device."""
        return Batch(
            self.neighbourhoods.to(device),
            *(tensor.to(device) for tensor in self[1:]),
        )


def species_indices(symbols: Sequence[str], elements: Sequence[str], where: str = "structure") -> Tensor:
    """Index of each atom's element in ``elements``, of shape ``(N,)``, int64.

    Raises
    ------
    DataError
        An atom's element is not in ``elements``.
    """
    index = {element: k for k, element in enumerate(elements)}
    unknown = sorted(set(symbols) - set(index))
    if unknown:
        raise DataError(f"{where}: holds {', '.join(unknown)}, but the model knows only {' '.join(elements)}")
    return torch.tensor([index[symbol] for symbol in symbols], dtype=torch.int64)


def neighbourhoods(
    atoms: Atoms,
    cutoff: float,
    elements: Sequence[str],
    dtype: torch.dtype = torch.float32,
    where: str = "structure",
) -> PairList:
    """All pairs within the cutoff, periodic images included, also an atom's own images in small cells.

    Parameters
    ----------
    atoms
        Structure; periodic along any of its axes.
    cutoff
        Angstrom.
    elements
        The model's elements, in its order.
    dtype
        Of the pair vectors.
    where
        Name of the structure for error messages.

    Raises
    ------
    DataError
        An element that is not in ``elements``, or positions that are not finite.
    """
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise DataError(f"{where}: positions or cell are not finite numbers")
    species = species_indices(atoms.get_chemical_symbols(), elements, where)
    pairs = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    # ASE completes missing cell vectors; vesin needs an invertible box even where it is not periodic.
    i, j, vectors = pairs.compute(atoms.positions, atoms.cell.complete().array, atoms.pbc, quantities="ijD")
    centre = torch.from_numpy(i.astype(np.int64))
    neighbour = torch.from_numpy(j.astype(np.int64))
    first = torch.zeros(len(atoms) + 1, dtype=torch.int64)
    first[1:] = torch.cumsum(torch.bincount(centre, minlength=len(atoms)), 0)
    found = Neighbourhoods(
        species=species,
        first=first,
        neighbour_species=species[neighbour],
        vectors=torch.from_numpy(vectors.reshape(-1, 3)).to(dtype),
        neighbour=neighbour,
    )
    return PairList(found, centre, neighbour)


def volume(atoms: Atoms) -> float:
    """Cell volume in angstrom^3, or 0 where the structure is not periodic along three axes (no stress then)."""
    return float(atoms.cell.volume) if atoms.pbc.all() else 0.0


def join(lists: Sequence[PairList], volumes: Sequence[float]) -> Batch:
    """Join the neighbourhoods of frames into one batch; ``volumes`` (angstrom^3) holds one number per frame."""
    sizes = [item.neighbourhoods.species.shape[0] for item in lists]
    starts = np.concatenate([[0], np.cumsum(sizes)])[:-1].tolist()
    pair_counts = [item.centre.shape[0] for item in lists]
    pair_starts = np.concatenate([[0], np.cumsum(pair_counts)])[:-1].tolist()
    dtype = lists[0].neighbourhoods.vectors.dtype
    first = [item.neighbourhoods.first[:-1] + start for item, start in zip(lists, pair_starts, strict=True)]
    neighbour = torch.cat([item.neighbour + start for item, start in zip(lists, starts, strict=True)])
    joined = Neighbourhoods(
        species=torch.cat([item.neighbourhoods.species for item in lists]),
        first=torch.cat([*first, torch.tensor([sum(pair_counts)], dtype=torch.int64)]),
        neighbour_species=torch.cat([item.neighbourhoods.neighbour_species for item in lists]),
        vectors=torch.cat([item.neighbourhoods.vectors for item in lists]),
        neighbour=neighbour,
    )
    return Batch(
        joined,
        torch.cat([item.centre + start for item, start in zip(lists, starts, strict=True)]),
        neighbour,
        torch.repeat_interleave(torch.arange(len(lists)), torch.tensor(sizes)),
        torch.tensor(list(volumes), dtype=dtype),
    )


def batch_of(
    atoms: Atoms,
    cutoff: float,
    elements: Sequence[str],
    dtype: torch.dtype = torch.float32,
    where: str = "structure",
) -> Batch:
    """Batch that holds one structure; parameters and errors as in `neighbourhoods`."""
    return join([neighbourhoods(atoms, cutoff, elements, dtype, where)], [volume(atoms)])
