"""Molecules and bonded environments of the atoms that do not belong to the crystal's framework."""

import numpy as np
from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# Bonds reach 15 % beyond the sum of covalent radii: N-H and C-H of a hot molecule are in, hydrogen bonds are out.
_BOND_STRETCH = 1.15
_ROUNDS = 3


class Molecules:
    """Bonds, molecules and environments of a structure's non-framework atoms.

    Parameters
    ----------
    framework
        Elements that are left out.
    """

    def __init__(self, framework: frozenset[str]) -> None:
        self._framework = framework

    def compute(self, atoms: Atoms) -> "Molecules":
        """Find the molecules of ``atoms`` (N atoms, molecules not broken up; they may lie across the cell's faces).

        Sets
        ----
        indices : ndarray of shape ``(M,)``
            The non-framework atoms.
        molecule : ndarray of shape ``(M,)``
            Number of the molecule of each of them, from 0.
        environment : list of M strings
            Equal for atoms with equal bonded surroundings (three shells).
        neighbours : list of M strings
            Formula of the atoms bonded to each atom, for example ``CH3`` for the nitrogen of methylammonium.
        bonds : ndarray of shape ``(B, 2)``
            Bonded pairs, as positions in ``indices``, both directions.
        """
        symbols = np.array(atoms.get_chemical_symbols())
        self.indices = np.flatnonzero(~np.isin(symbols, list(self._framework)))
        part = atoms[self.indices]
        count = len(self.indices)
        if count == 0:
            self.bonds, self.molecule = np.zeros((0, 2), dtype=int), np.zeros(0, dtype=int)
            self.environment, self.neighbours, self._tree = [], [], []
            return self
        first, second = neighbor_list("ij", part, natural_cutoffs(part, mult=_BOND_STRETCH))
        self.bonds = np.stack([first, second], axis=1)
        graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(count, count))
        _, self.molecule = connected_components(graph, directed=False)
        bonded: list[list[int]] = [[] for _ in range(count)]
        for i, j in self.bonds:
            bonded[i].append(int(j))
        self._tree = _bond_tree(bonded)
        names = symbols[self.indices]
        environment = list(names)
        for _ in range(_ROUNDS):
            environment = [
                f"{environment[i]}({' '.join(sorted(environment[j] for j in bonded[i]))})" for i in range(count)
            ]
        self.environment = environment
        self.neighbours = [_formula([str(names[j]) for j in bonded[i]]) for i in range(count)]
        return self

    @property
    def kinds(self) -> list[str]:
        """What each molecule is made of, equal for equal molecules; of length n_molecules."""
        environment = np.array(self.environment)
        count = int(self.molecule.max(initial=-1)) + 1
        return [" ".join(sorted(environment[self.molecule == number])) for number in range(count)]

    def members(self, number: int) -> np.ndarray:
        """Atoms of one molecule as positions in ``indices``, ordered so that equal molecules correspond."""
        chosen = np.flatnonzero(self.molecule == number)
        return chosen[np.argsort(np.array(self.environment)[chosen], kind="stable")]

    def whole(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fractional coordinates ``(..., M, 3)`` of the atoms of `indices`, from those of all atoms ``(..., N, 3)``.

        Bonded atoms are brought to the same periodic image.
        """
        whole = np.array(scaled[..., self.indices, :])
        for atom, bonded in self._tree:
            whole[..., atom, :] += np.round(whole[..., bonded, :] - whole[..., atom, :])
        return whole

    def centres(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean position of each molecule, of shape ``(n_molecules, 3)``, from fractional coordinates ``(N, 3)``."""
        whole, counts = self.whole(scaled), np.bincount(self.molecule)
        return np.stack([np.bincount(self.molecule, weights=whole[:, k]) / counts for k in range(3)], axis=1)


def _bond_tree(bonded: list[list[int]]) -> list[tuple[int, int]]:
    """Each atom but the first of its molecule, with an atom bonded to it that comes earlier."""
    tree: list[tuple[int, int]] = []
    seen: set[int] = set()
    for start in range(len(bonded)):
        queue = [] if start in seen else [start]
        seen.add(start)
        while queue:
            i = queue.pop()
            for j in bonded[i]:
                if j not in seen:
                    seen.add(j)
                    tree.append((j, i))
                    queue.append(j)
    return tree


def molecule_numbers(atoms: Atoms, framework: tuple[str, ...] | None) -> NDArray[np.int64]:
    """A number for each atom, of shape ``(N,)``, the same for atoms of one molecule; framework atoms have their own."""
    numbers = np.arange(len(atoms))
    molecules = Molecules(frozenset(framework or atoms.get_chemical_symbols())).compute(atoms)
    numbers[molecules.indices] = len(atoms) + molecules.molecule
    return numbers


def _formula(symbols: list[str]) -> str:
    counts = [(name, symbols.count(name)) for name in sorted(set(symbols))]
    return "".join(f"{name}{count if count > 1 else ''}" for name, count in counts)
