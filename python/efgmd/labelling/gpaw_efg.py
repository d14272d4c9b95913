"""Electric field gradients from a converged plane-wave calculation of GPAW 22.8 (which has no EFG of its own).

In the projector augmented-wave method the density near a nucleus is a smooth part on the grid, compensation charges,
and a one-centre correction (Blöchl, PRB 50, 17953 (1994); Petrilli et al., PRB 57, 14690 (1998) for the EFG). The
gradient at a nucleus is the sum of the second derivatives of the potential of everything on the grid but the atom's own
l = 2 compensation charge, and a radial integral over the l = 2 part of the correction.

This module runs under the Python that has GPAW, which need not have efgmd: it imports nothing of the package.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def second_derivatives(coefficients: Array) -> Array:
    """Cartesian second derivatives, (3, 3), of sum_m c_m r^2 Y_2m in GPAW's order xy, yz, 3z2-r2, zx, x2-y2."""
    xy, yz, zz, zx, xx = coefficients
    side, axial = np.sqrt(15 / (4 * np.pi)), np.sqrt(5 / (16 * np.pi))
    return np.array(
        [
            [side * xx - 2 * axial * zz, side * xy, side * zx],
            [side * xy, -side * xx - 2 * axial * zz, side * yz],
            [side * zx, side * yz, 4 * axial * zz],
        ]
    )


def _transform_of_compensation(setup: Any, lengths: Array) -> Array:
    """Radial Fourier integral of an element's l = 2 compensation charge g(r) r^2 at wave vectors of given lengths."""
    from scipy.special import spherical_jn

    shape = setup.ghat_l[2]
    r = np.linspace(0, shape.get_cutoff(), 2000)
    values = np.array([shape(x) for x in r]) * r**4
    grid = np.linspace(0, lengths.max() * 1.001, 1500)
    weights = np.full(len(r), r[1])
    weights[[0, -1]] *= 0.5  # trapezoids
    integral = [float((weights * values * spherical_jn(2, g * r)).sum()) for g in grid]
    return np.interp(lengths, grid, integral)


def _one_centre(setup: Any, density_matrix: Array) -> Array:
    """Integrals of n_2m(r) / r over the all-electron minus the smooth density of one atom, five numbers."""
    from gpaw.gaunt import gaunt

    radius = setup.rgd.r_g
    waves, smooth = setup.data.phi_jg, setup.data.phit_jg
    points = len(waves[0])
    weight = setup.rgd.dr_g[:points] / np.maximum(radius[:points], 1e-12)
    weight[0] = 0.0
    products = np.einsum("ag,bg,g->ab", waves, waves, weight) - np.einsum("ag,bg,g->ab", smooth, smooth, weight)
    radial = [j for j, l in enumerate(setup.l_j) for _ in range(2 * l + 1)]
    harmonic = [l * l + m for l in setup.l_j for m in range(2 * l + 1)]
    angular = gaunt(max(setup.l_j))[np.ix_(harmonic, harmonic, range(4, 9))]
    return np.einsum("ij,ijm,ij->m", density_matrix, angular, products[np.ix_(radial, radial)])


def efg_tensors(calculator: Any) -> Array:
    """EFG at every nucleus: second derivatives of the electrostatic potential.

    GPAW counts electrons as positive charge, hence the sign at the end.

    Parameters
    ----------
    calculator
        A converged ``gpaw.GPAW`` in plane-wave mode, spin-unpolarised, on one process.

    Returns
    -------
    ndarray
        Symmetric traceless tensors of shape ``(N, 3, 3)``, atomic units.
    """
    from gpaw.spherical_harmonics import Y
    from gpaw.utilities import unpack2

    density = calculator.density
    grid = density.pd3
    waves = grid.get_reciprocal_vectors()
    squared = (waves**2).sum(1)
    lengths = np.sqrt(squared)
    directions = waves / np.where(lengths > 0, lengths, 1)[:, None]
    harmonics = np.array([Y(4 + m, *directions.T) for m in range(5)])
    # Of G and -G only one is kept for real arrays. Where both are the same (G = 0) the kernel vanishes.
    twice = 2.0 if grid.dtype == float else 1.0
    kernel = twice * np.where(squared > 1e-12, 4 * np.pi / np.maximum(squared, 1e-12), 0) / density.gd.volume
    charge = density.rhot_q * grid.gd.dv  # integrals of the charge times exp(-iGr)
    positions = calculator.spos_ac @ density.gd.cell_cv
    transforms: dict[Any, Array] = {}
    tensors = []
    for atom, setup in enumerate(calculator.wfs.setups):
        packed = density.D_asp[atom].sum(0)
        if setup not in transforms:
            transforms[setup] = _transform_of_compensation(setup, lengths)
        moments = (setup.Delta_pL.T @ packed)[4:9]
        phase = np.exp(1j * (waves @ positions[atom]))
        own = -4 * np.pi * transforms[setup] * (moments @ harmonics) * phase.conj()
        smooth = -np.einsum("q,qi,qj->ij", (kernel * (charge - own) * phase).real, waves, waves, optimize=True)
        smooth -= np.eye(3) * np.trace(smooth) / 3
        near = second_derivatives(4 * np.pi / 5 * _one_centre(setup, unpack2(packed)))
        tensors.append(-(smooth + near))
    return np.array(tensors)
