"""lj/cut written as ML-IAP unified objects, in the two ways in which such an object hands over its results.

The objects are pickled by the tests and unpickled inside LAMMPS, so their classes must be in a module of their own.
"""

import numpy as np

TYPES = ("Ar", "Kr")
EPSILON = np.array([[0.010, 0.014], [0.014, 0.020]])  # eV
SIGMA = np.array([[2.0, 2.1], [2.1, 2.2]])  # angstrom
CUTOFF = np.array([[5.0, 4.4], [4.4, 4.7]])  # angstrom
LJ_CUT = "pair_style lj/cut 5.0\n" + "".join(
    f"pair_coeff {i + 1} {j + 1} {EPSILON[i, j]} {SIGMA[i, j]} {CUTOFF[i, j]}\n" for i in range(2) for j in range(i, 2)
)


class LennardJones:
    """Energies and derivatives of all pairs; every pair comes twice, once from each of its atoms."""

    element_types = TYPES
    ndescriptors = nparams = 1
    rcutfac = 0.5 * CUTOFF.max()

    def compute_gradients(self, data):
        """Nothing to do before the forces."""

    compute_descriptors = compute_gradients

    def pairs(self, data):
        """Energy ``(P,)`` of each pair and its derivative ``(P, 3)`` by the vector between the two."""
        i, j = np.repeat(data.ielems, data.numneighs), data.jelems
        square = (data.rij**2).sum(axis=1)
        six = (SIGMA[i, j] ** 2 / square) ** 3
        strength = np.where(square < CUTOFF[i, j] ** 2, 4 * EPSILON[i, j], 0.0)
        return strength * (six**2 - six), (strength * (6 * six - 12 * six**2) / square)[:, None] * data.rij


class ByPairs(LennardJones):
    """Hands over the energy of each pair."""

    def compute_forces(self, data):
        """Energies by pairs; the forces of a pair are shared by its two directions."""
        energies, derivatives = self.pairs(data)
        data.update_pair_energy(energies)
        data.update_pair_forces(0.5 * derivatives)


class ByAtoms(LennardJones):
    """Hands over the energy of each atom, and the total."""

    def compute_forces(self, data):
        """Energies by atoms, in the order of the list of centres."""
        energies, derivatives = self.pairs(data)
        rows = np.repeat(np.arange(data.nlistatoms), data.numneighs)
        data.eatoms = 0.5 * np.bincount(rows, weights=energies, minlength=data.nlistatoms)
        data.energy = 0.5 * energies.sum()
        data.update_pair_forces(0.5 * derivatives)
