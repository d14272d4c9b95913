"""Neighbour lists against direct sums over images, and batches against single frames."""

import numpy as np
import pytest
import torch
from ase import Atoms
from toy_data import ELEMENTS, structure

from efgmd.errors import DataError
from efgmd.frames.neighbours import batch_of, join, neighbourhoods, volume


def pairs_by_images(atoms, cutoff, images=3):
    """All pairs (i, j, vector) by looping over periodic images."""
    shifts = [np.arange(-images, images + 1) if periodic else [0] for periodic in atoms.pbc]
    found = []
    for shift in np.stack(np.meshgrid(*shifts), -1).reshape(-1, 3):
        for i in range(len(atoms)):
            for j in range(len(atoms)):
                vector = atoms.positions[j] + shift @ atoms.cell.array - atoms.positions[i]
                if (i != j or shift.any()) and np.linalg.norm(vector) < cutoff:
                    found.append((i, j, *np.round(vector, 6)))
    return sorted(found)


@pytest.mark.parametrize("pbc", [True, False, (True, False, True)])
@pytest.mark.parametrize("size", [3.1, 6.0])
def test_pairs_equal_a_direct_search_over_images(pbc, size):
    rng = np.random.default_rng(0)
    atoms = structure(rng, n=3 if size < 4 else 8, length=6.0)
    atoms.set_cell(atoms.cell * size / 6.0)  # at 3.1 angstrom every atom sees its own images
    atoms.pbc = pbc
    atoms.positions += 40.0  # outside the cell
    pairs = neighbourhoods(atoms, 4.0, ELEMENTS, torch.float64)
    nb = pairs.neighbourhoods
    rows = zip(pairs.centre.tolist(), pairs.neighbour.tolist(), nb.vectors.numpy().round(6), strict=True)
    assert sorted((i, j, *vector) for i, j, vector in rows) == pairs_by_images(atoms, 4.0)
    for k in range(len(atoms)):
        assert (pairs.centre[nb.first[k] : nb.first[k + 1]] == k).all()
    assert nb.first[-1] == len(nb.vectors)
    assert (nb.neighbour_species == nb.species[pairs.neighbour]).all()


def test_a_batch_is_its_frames_side_by_side():
    rng = np.random.default_rng(1)
    frames = [structure(rng), Atoms("Ar", positions=[[0, 0, 0]]), structure(rng, n=5)]
    lists = [neighbourhoods(atoms, 4.0, ELEMENTS) for atoms in frames]
    batch = join(lists, [volume(atoms) for atoms in frames])
    nb = batch.neighbourhoods
    assert batch.n_frames == 3
    assert batch.frame.tolist() == [0] * 8 + [1] + [2] * 5
    assert batch.volumes[1] == 0
    assert batch.volumes[2] == pytest.approx(frames[2].get_volume(), rel=1e-6)
    assert (nb.first[1:] - nb.first[:-1]).tolist() == torch.bincount(batch.centre, minlength=14).tolist()
    assert (batch.frame[batch.centre] == batch.frame[batch.neighbour]).all()
    start, stop = nb.first[9], nb.first[14]
    assert torch.equal(nb.vectors[start:stop], lists[2].neighbourhoods.vectors)
    assert torch.equal(batch.neighbour[start:stop] - 9, lists[2].neighbour)


def test_an_unknown_element_and_nan_positions_are_refused():
    with pytest.raises(DataError, match="frame 7: holds Xe, but the model knows only Ne Ar"):
        neighbourhoods(Atoms("NeXe", positions=[[0, 0, 0], [0, 0, 2]]), 4.0, ELEMENTS, where="frame 7")
    with pytest.raises(DataError, match="not finite"):
        batch_of(Atoms("Ne", positions=[[np.nan, 0, 0]]), 4.0, ELEMENTS)
