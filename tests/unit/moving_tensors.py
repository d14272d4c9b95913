"""Series of tensors under motions whose correlation functions are known exactly."""

import numpy as np
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from efgmd.tensors import cartesian_to_l2, matrix_to_six, rotate, symmetric_traceless


def hopping(tensors, rates, interval, frames, nuclei, rng):
    """Tensors (k, 3, 3) visited by a Markov chain with rates (k, k) (from row to column, 1/ps); series (n, N, 6)."""
    generator = rates - np.diag(rates.sum(axis=1))
    step = np.cumsum(expm(generator * interval), axis=1)
    state = np.searchsorted(np.cumsum(stationary(rates)), rng.random(nuclei))
    states = np.empty((frames, nuclei), dtype=int)
    for frame in range(frames):
        states[frame] = state
        state = (rng.random(nuclei)[:, None] > step[state]).sum(axis=1)
    return matrix_to_six(tensors)[states]


def stationary(rates):
    """Stationary occupation of the sites of a Markov chain."""
    generator = rates - np.diag(rates.sum(axis=1))
    values, vectors = np.linalg.eig(generator.T)
    found = np.real(vectors[:, np.argmin(np.abs(values))])
    return found / found.sum()


def hopping_correlation(tensors, rates, lags):
    """Exact correlation matrix (n_lags, 5, 5) of the fluctuating part under `hopping`."""
    occupation, components = stationary(rates), cartesian_to_l2(tensors)
    generator = rates - np.diag(rates.sum(axis=1))
    away = components - occupation @ components
    return np.array([away.T @ (occupation[:, None] * expm(generator * lag)) @ away for lag in lags])


def tetrahedral(size=0.1, eta=0.0):
    """Four tensors with their axes along the corners of a tetrahedron: their mean is zero for eta = 0."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    axial = np.diag([-(1 - eta) / 2, -(1 + eta) / 2, 1.0]) * size
    turns = [Rotation.align_vectors(corner[None], [[0, 0, 1]])[0].as_matrix() for corner in corners]
    return rotate(axial, np.array(turns))


def tumbling(tensor, tau, interval, frames, nuclei, rng):
    """A tensor that takes a new random orientation at a rate 1/tau: every correlation is exp(-t/tau)."""
    jump = rng.random((frames, nuclei)) < 1 - np.exp(-interval / tau)
    jump[0] = True
    series = np.empty((frames, nuclei, 6))
    for nucleus in range(nuclei):
        turns = Rotation.random(int(jump[:, nucleus].sum()), rng=rng).as_matrix()
        series[:, nucleus] = matrix_to_six(rotate(tensor, turns))[np.cumsum(jump[:, nucleus]) - 1]
    return series


def random_tensors(count, rng):
    """Symmetric traceless matrices of shape ``(count, 3, 3)``."""
    return symmetric_traceless(rng.normal(size=(count, 3, 3)))
