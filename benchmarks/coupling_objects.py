"""ML-IAP models that do nothing or little, for benchmarks/coupling.py.

They are pickled there and unpickled inside LAMMPS, so they need a module of their own; it imports numpy only, because
the Python of another LAMMPS may have nothing else.
"""

import numpy as np


class Nothing:
    """A unified object that looks at no pair and adds no force."""

    element_types = ("Ar",)
    ndescriptors = nparams = 1

    def __init__(self, cutoff):
        self.rcutfac = 0.5 * cutoff

    def compute_gradients(self, data):
        """Nothing to do before the forces."""

    compute_descriptors = compute_gradients

    def compute_forces(self, data):
        """No energy."""
        data.energy = 0.0


class Pairs(Nothing):
    """Takes the arrays of the pairs as such objects do, and hands over an energy and a force of zero for each."""

    def compute_forces(self, data):
        """Energies and forces of all pairs."""
        assert len(data.rij) == len(data.pair_i) == len(data.pair_j) == len(data.jelems) == data.npairs
        data.update_pair_energy(np.zeros(data.npairs))
        data.update_pair_forces(np.zeros((data.npairs, 3)))


class LennardJones(Nothing):
    """A potential without message passing; every pair comes twice, once from each of its atoms."""

    epsilon, sigma = 0.01, 2.0  # eV, angstrom

    def compute_forces(self, data):
        """Energies and forces of all pairs."""
        square = (data.rij**2).sum(axis=1)
        six = (self.sigma**2 / square) ** 3
        data.update_pair_energy(4 * self.epsilon * (six**2 - six))
        slopes = 4 * self.epsilon * (3 * six - 6 * six**2) / square
        data.update_pair_forces(slopes[:, None] * data.rij)


class FastPath:
    """What efgmd's own energy models are to the plugin, without the model: energies and derivatives of zero."""

    elements = ("Ar",)
    sha256 = ""

    def __init__(self, cutoff):
        self.cutoff = cutoff
        self.energies, self.pair_forces = np.zeros(0), np.zeros((0, 3))

    def evaluate(self, species, first, neighbour_species, vectors):
        """Energies ``(N,)`` and derivatives ``(P, 3)``, from arrays that are kept."""
        if len(self.energies) < len(species):
            self.energies = np.zeros(len(species))
        if len(self.pair_forces) < len(vectors):
            self.pair_forces = np.zeros((len(vectors) + len(vectors) // 8, 3))
        return self.energies[: len(species)], self.pair_forces[: len(vectors)]


def run_fast_path(script, cutoff):
    """Run an input script in this process with `FastPath` in the place of every model file."""
    from efgmd.coupling import create_lammps, loader

    loader.open_model = lambda *_: FastPath(cutoff)
    create_lammps(["-log", "none"]).file(script)
