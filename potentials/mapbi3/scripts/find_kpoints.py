"""Supercells whose reciprocal lattices are good sets of k-points for frames of 12 and 48 atoms.

usage: python find_kpoints.py [POINTS ...]
Tensors computed with a set of k-points are those of a crystal whose electrons repeat after a supercell, so the error is
a sum over its vectors of what electrons at one end tell the other. In a perovskite they reach along the bonds, so the
error of a vector is taken as exp(-1.15 (|x| + |y| + |z|)), in lattice constants; the rate is from what meshes of 2x2x2
and 4x4x4 err for iodine. Of all supercells with so many points that are made of cells of 48 atoms
(sqrt2 x sqrt2 x 2), that of the smallest sum is printed, as `efgmd label --kpoints` takes it. The mesh is shifted so
that signs cancel best, by rows for which the shift is half a step along all three.
"""

import sys
from itertools import product

import numpy as np

CELL = np.array([[1, 1, 0], [1, -1, 0], [0, 0, 2]])
REACH, RATE = 10, 1.15


def vectors():
    """Vectors of the lattice of 48-atom cells, the nearest by their 1-norm, and what each contributes."""
    grid = np.array(list(product(range(-REACH, REACH + 1), repeat=3)))
    length = np.abs(grid).sum(axis=1)
    chosen = (length > 0) & (length <= REACH) & ((grid[:, 0] + grid[:, 1]) % 2 == 0) & (grid[:, 2] % 2 == 0)
    return grid[chosen], np.exp(-RATE * length[chosen])


def supercells(size: int):
    """All sublattices of the given index, as matrices in Hermite normal form."""
    for a in (a for a in range(1, size + 1) if size % a == 0):
        for c in (c for c in range(1, size // a + 1) if size // a % c == 0):
            f = size // a // c
            for b, d, e in product(range(c), range(f), range(f)):
                yield np.array([[a, b, d], [0, c, e], [0, 0, f]])


def multiples(rows, grid):
    """Coefficients ``(M, 3)`` of the grid's vectors in the rows, and which of the vectors have whole ones."""
    steps = grid @ np.linalg.inv(rows)
    return np.round(steps).astype(int), np.abs(steps - np.round(steps)).max(axis=1) < 1e-6


def shifted(rows, grid, weight):
    """The same lattice by rows for which a mesh moved by half a step along all three errs least; and that error."""
    steps, inside = multiples(rows, grid)
    signs = {way: (-1.0) ** (steps[inside] @ way) for way in product((0, 1), repeat=3) if any(way)}
    way = min(signs, key=lambda way: abs(signs[way] @ weight[inside]))
    pivot = way.index(1)
    rows = np.array([row if sign else row + rows[pivot] for row, sign in zip(rows, way, strict=True)])
    return rows, abs(float(signs[way] @ weight[inside]))


def main():
    grid, weight = vectors()
    for points in map(int, sys.argv[1:] or ("24", "48", "64", "96")):
        if points % 4:
            sys.exit(f"{points} points: must be a multiple of four, the size of the 48-atom cell in primitive cells")
        best = min(supercells(points // 4), key=lambda h: weight[multiples(h @ CELL, grid)[1]].sum())
        rows, rest = shifted(best @ CELL, grid, weight)
        _, inside = multiples(rows, grid)
        total, shortest = weight[inside].sum(), np.abs(grid[inside]).sum(axis=1).min()
        text = "/".join(",".join(map(str, row)) for row in rows.tolist())
        print(f"{points} points: {text}:shifted (vectors from {shortest} on; sum {total:.4f}, with signs {rest:.1e})")


if __name__ == "__main__":
    main()
