"""Starting structures of CH3NH3PbI3: cubic and sqrt2 x sqrt2 x 2 cells with tilts and random cation orientations."""

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

# Methylammonium (angstrom), C-N axis along z, staggered; C-N 1.49, C-H 1.09, N-H 1.04.
_SYMBOLS = ["C", "N", "H", "H", "H", "H", "H", "H"]


def methylammonium() -> np.ndarray:
    """Return positions of C, N, 3 H(C), 3 H(N), of shape ``(8, 3)`` in angstrom, centred on the C-N midpoint."""
    positions = [[0, 0, -0.745], [0, 0, 0.745]]
    for z, height, length, phase in ((-0.745, -0.37, 1.09, 0.0), (0.745, 0.36, 1.04, np.pi / 3)):
        radius = np.sqrt(length**2 - height**2)
        for k in range(3):
            angle = phase + 2 * np.pi * k / 3
            positions.append([radius * np.cos(angle), radius * np.sin(angle), z + height])
    return np.array(positions)


def pseudocubic(a: float, c: float, repeats: tuple[int, int, int], tilt_deg: float, rng) -> Atoms:
    """Build an axis-aligned MAPbI3 supercell of pseudo-cubic cells.

    Octahedra are rotated about z by ``tilt_deg`` with alternating sign (the a0a0c- pattern of I4/mcm, which needs
    even repeats); every cation is placed at the cavity centre with a random orientation.

    Args:
        a: in-plane pseudo-cubic lattice constant, angstrom.
        c: out-of-plane pseudo-cubic lattice constant, angstrom.
        repeats: number of cells along x, y and z.
        tilt_deg: octahedral rotation angle in degrees.
        rng: numpy random generator.
    """
    lattice = np.array([a, a, c])
    symbols: list[str] = []
    positions: list[np.ndarray] = []
    shift = 0.5 * np.tan(np.radians(tilt_deg))
    for cell in np.ndindex(*repeats):
        origin = np.array(cell)
        sign = (-1) ** int(origin.sum())
        symbols += ["Pb", "I", "I", "I"]
        positions += [
            origin * lattice,
            (origin + np.array([0.5, sign * shift, 0])) * lattice,
            (origin + np.array([-sign * shift, 0.5, 0])) * lattice,
            (origin + np.array([0, 0, 0.5])) * lattice,
        ]
        rotation = Rotation.random(random_state=int(rng.integers(2**31)))
        symbols += _SYMBOLS
        positions += list((origin + 0.5) * lattice + rotation.apply(methylammonium()))
    return Atoms(symbols, positions=np.array(positions), cell=lattice * repeats, pbc=True)


def sqrt2_cell(a: float, c: float, tilt_deg: float, rng) -> Atoms:
    """Build the 48-atom sqrt2 x sqrt2 x 2 cell, axes along x, y and z, as ``pseudocubic`` does."""
    big = pseudocubic(a, c, (2, 2, 2), tilt_deg, rng)
    rotation = Rotation.from_euler("z", -45, degrees=True)
    cell = np.diag([a * np.sqrt(2), a * np.sqrt(2), 2 * c])
    positions = rotation.apply(big.positions)
    fractional = positions @ np.linalg.inv(cell)
    # Keep one image of each atom: the 96-atom cell holds every atom of the 48-atom cell twice, by cells of four units.
    kept: list[int] = []
    for start in range(0, len(big), 12):
        lead = fractional[start] % 1.0
        if all(np.abs((lead - fractional[k] % 1.0 + 0.5) % 1.0 - 0.5).max() > 1e-3 for k in kept):
            kept.append(start)
    index = [k + i for k in kept for i in range(12)]
    return Atoms(big[index].get_chemical_symbols(), positions=positions[index], cell=cell, pbc=True)
