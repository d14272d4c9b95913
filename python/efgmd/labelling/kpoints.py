"""Sets of k-points that sample the Brillouin zone of a primitive cell alike in all of its supercells.

Tensors depend on the k-points, by tens of per cent where they are few, so labels of one data set must have the same
ones. A mesh is given for a primitive cell and folded into the cell of each frame, however that is deformed or turned.
"""

import re
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from efgmd.errors import ConfigError, DataError

FloatArray = NDArray[np.float64]

_KINDS = ("gamma", "shifted", "bcc")
_ROW = r"-?\d+,-?\d+,-?\d+"

Divisions = tuple[int, int, int]


@dataclass(frozen=True)
class Mesh:
    """A regular set of k-points of a primitive cell.

    Tensors computed with it are those of a crystal that repeats after the vectors of a supercell, whatever its waves.
    The fewest points for vectors of a given length come from supercells that are not simply N times the cell along
    each axis, a generalised regular grid (Wisesa, McGill and Mueller, Phys. Rev. B 93, 155109 (2016)).

    Attributes
    ----------
    divisions
        Points along each reciprocal vector, or three rows of integers: vectors of the supercell in units of the
        primitive cell.
    kind
        "gamma": a mesh through Gamma; "shifted": moved by half a step along all three; "bcc": both together, the
        body-centred arrangement, which errs less than a simple mesh of as many points.
    """

    divisions: Divisions | tuple[Divisions, Divisions, Divisions]
    kind: str = "gamma"

    def __str__(self) -> str:
        rows = np.array(self.divisions)
        text = "x".join(map(str, rows)) if rows.ndim == 1 else "/".join(",".join(map(str, row)) for row in rows)
        return text + ("" if self.kind == "gamma" else f":{self.kind}")

    def points(self) -> FloatArray:
        """Points as fractions of the reciprocal vectors, in [0, 1), of shape ``(K, 3)``."""
        rows = np.array(self.divisions)
        supercell = np.diag(rows) if rows.ndim == 1 else rows
        inverse, size = np.linalg.inv(supercell), abs(round(np.linalg.det(supercell)))
        # The points are inverse @ n; these n are different modulo the columns of the supercell, as many as its size.
        line, plane = np.gcd.reduce(supercell[0]), np.gcd.reduce(np.cross(supercell[0], supercell[1]))
        n = np.array(list(product(range(line), range(plane // line), range(size // plane))))
        through_gamma = n @ np.round(size * inverse.T).astype(np.int64) % size / size
        shifted = (through_gamma + inverse @ np.full(3, 0.5)) % 1.0
        return {"gamma": through_gamma, "shifted": shifted, "bcc": np.vstack([through_gamma, shifted])}[self.kind]


def parse_mesh(text: str, primitive: FloatArray | None) -> Mesh:
    """Mesh from ``2x2x2``, ``4x4x4:shifted``, ``2x2x2:bcc``, ``1,1,4/2,-2,2/0,0,12``, ``gamma`` or ``spacing=0.3``.

    Parameters
    ----------
    text
        The mesh; ``spacing`` is the largest distance between neighbours, 1/angstrom, with the 2 pi, and may end in
        ``:shifted`` or ``:bcc``, too.
    primitive
        Primitive cell of shape ``(3, 3)``, angstrom, needed for a spacing.

    Raises
    ------
    ConfigError
        Another form, or a spacing without a primitive cell.
    """
    body, _, kind = text.partition(":")
    if text == "gamma":
        return Mesh((1, 1, 1))
    if (kind or "gamma") in _KINDS and (found := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", body)):
        return Mesh((int(found[1]), int(found[2]), int(found[3])), kind or "gamma")
    if (kind or "gamma") in _KINDS and re.fullmatch(rf"{_ROW}/{_ROW}/{_ROW}", body):
        a, b, c, d, e, f, g, h, i = map(int, re.split("[,/]", body))
        rows = (a, b, c), (d, e, f), (g, h, i)
        if abs(np.linalg.det(rows)) > 0.5:
            return Mesh(rows, kind or "gamma")
    if (kind or "gamma") in _KINDS and (found := re.fullmatch(r"spacing=(\d*\.?\d+)", body)) and float(found[1]) > 0:
        if primitive is None:
            raise ConfigError(f"--kpoints {text}: a spacing needs the primitive cell (--primitive)")
        reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(primitive), axis=0)
        n = np.ceil(reciprocal / float(found[1]) - 1e-6).astype(int).clip(min=1)
        return Mesh((int(n[0]), int(n[1]), int(n[2])), kind or "gamma")
    raise ConfigError(
        f"--kpoints {text}: write 2x2x2, 4x4x4:shifted, 2x2x2:bcc, 1,1,4/2,-2,2/0,0,12, gamma or spacing=0.3"
    )


def parse_primitive(text: str) -> FloatArray:
    """Primitive cell, of shape ``(3, 3)`` in angstrom, from ``a,b,c`` or ``a,b,c,alpha,beta,gamma`` (degrees).

    Raises
    ------
    ConfigError
        Another form, or no cell.
    """
    from ase.geometry import cellpar_to_cell

    try:
        values = [float(value) for value in text.split(",")]
        with np.errstate(all="ignore"):  # impossible angles
            cell = np.asarray(cellpar_to_cell(values if len(values) == 6 else [*values, 90, 90, 90]), dtype=np.float64)
        usable = len(values) in (3, 6) and np.isfinite(cell).all() and abs(np.linalg.det(cell)) > 1e-6
    except (ValueError, AssertionError, ZeroDivisionError):
        usable = False
    if not usable:
        raise ConfigError(f"--primitive {text}: write the lengths a,b,c in angstrom, or a,b,c,alpha,beta,gamma")
    return cell


def supercell_matrix(cell: FloatArray, primitive: FloatArray, where: str, strain: float = 0.12) -> NDArray[np.int64]:
    """Integer matrix M with ``cell = M primitive`` up to strain and rotation.

    Parameters
    ----------
    cell, primitive
        Cell vectors in rows, of shape ``(3, 3)``.
    where
        Name of the frame for error messages.
    strain
        Largest relative error of a length that counts as the same lattice.

    Raises
    ------
    DataError
        The cell is no supercell of the primitive one.
    """
    metric, wanted = primitive @ primitive.T, cell @ cell.T
    lengths = np.sqrt(np.diag(wanted))
    reach = int(np.ceil(lengths.max() * np.linalg.norm(np.linalg.inv(primitive), axis=0).max() * (1 + strain)))
    rows = np.array(list(product(range(-reach, reach + 1), repeat=3)))
    norms = np.sqrt(np.einsum("ni,ij,nj->n", rows, metric, rows))
    size = abs(np.linalg.det(cell) / np.linalg.det(primitive))
    near = [rows[np.abs(norms / length - 1) < strain] for length in lengths]
    # Of matrices that fit alike, take the one nearest to the vectors as they stand; the others are turned copies.
    direct = cell @ np.linalg.inv(primitive)
    best: tuple[float, float] | None = None
    matrix = np.zeros((3, 3), dtype=np.int64)
    scale = np.outer(lengths, lengths)
    for first, second in product(near[0], near[1]):
        if abs(first @ metric @ second - wanted[0, 1]) > 2 * strain * scale[0, 1]:
            continue
        for third in near[2]:
            trial = np.array([first, second, third])
            if abs(abs(np.linalg.det(trial)) / size - 1) > 3 * strain:
                continue
            misfit = np.abs((trial @ metric @ trial.T - wanted) / scale).max()
            rank = (round(float(misfit), 6), float(np.abs(trial - direct).sum()))
            if misfit < 2 * strain and (best is None or rank < best):
                best, matrix = rank, trial
    if best is None:
        shown = " ".join(f"{length:.3f}" for length in lengths)
        raise DataError(
            f"{where}: its cell ({shown} angstrom) is no supercell of the primitive cell; check --primitive"
        )
    return matrix


def folded(mesh: Mesh, matrix: NDArray[np.int64], where: str) -> FloatArray:
    """Points of a supercell that sample the primitive Brillouin zone exactly as a mesh does.

    Parameters
    ----------
    mesh
        Of the primitive cell.
    matrix
        Supercell in units of the primitive cell, of shape ``(3, 3)``.
    where
        Name of the frame for error messages.

    Returns
    -------
    ndarray
        Fractions of the supercell's reciprocal vectors, in (-1/2, 1/2], of shape ``(K / |det M|, 3)``, of equal weight.

    Raises
    ------
    DataError
        The supercell cannot carry this mesh: its own periodicity samples more points than the mesh has.
    """
    points = mesh.points()
    images = points @ matrix.T
    keys = np.unique(np.round((images % 1.0) * 1e6).astype(np.int64) % 1_000_000, axis=0)
    size = abs(round(np.linalg.det(matrix)))
    if len(keys) * size != len(points):
        raise DataError(
            f"{where}: the {len(points)} k-points of {mesh} do not fold into this supercell of {size} primitive cells; "
            "choose divisions that are multiples of its size"
        )
    images -= np.ceil(images - 0.5 - 1e-9)
    unique = np.unique(np.round(images, 9), axis=0)
    unique += 0.0  # no negative zeros
    return unique
