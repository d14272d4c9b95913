"""Algebra of symmetric traceless rank-2 tensors (electric field gradients).

Everything that converts, orders or rotates an EFG tensor goes through this module. Tensors are numpy arrays of
shape ``(..., 3, 3)`` in atomic units unless said otherwise; six-vectors are ordered xx yy zz xy xz yz, as LAMMPS does.
"""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efgmd.errors import DataError
from efgmd.wigner import wigner_3j

FloatArray = NDArray[np.float64]

#: 1 a.u. of EFG, Hartree/(e bohr^2), in V/angstrom^2 (CODATA 2018).
VOLT_PER_ANGSTROM2 = 97.173624

_ROWS = (0, 1, 2, 0, 0, 1)
_COLUMNS = (0, 1, 2, 1, 2, 2)


def _as_tensor(tensor: ArrayLike) -> FloatArray:
    array = np.asarray(tensor, dtype=np.float64)
    if array.shape[-2:] != (3, 3):
        raise DataError(f"tensors must have shape (..., 3, 3), got {array.shape}")
    return array


def matrix_to_six(tensor: ArrayLike) -> FloatArray:
    """Components xx yy zz xy xz yz of symmetric matrices.

    Parameters
    ----------
    tensor
        Of shape ``(..., 3, 3)``; the upper triangle is read.

    Returns
    -------
    ndarray
        Array of shape ``(..., 6)``.
    """
    return _as_tensor(tensor)[..., _ROWS, _COLUMNS]


def six_to_matrix(six: ArrayLike) -> FloatArray:
    """Symmetric matrices of shape ``(..., 3, 3)`` from components xx yy zz xy xz yz of shape ``(..., 6)``."""
    components = np.asarray(six, dtype=np.float64)
    if components.shape[-1:] != (6,):
        raise DataError(f"six-vectors must have shape (..., 6), got {components.shape}")
    matrix = np.empty((*components.shape[:-1], 3, 3))
    matrix[..., _ROWS, _COLUMNS] = components
    matrix[..., _COLUMNS, _ROWS] = components
    return matrix


def symmetric_traceless(tensor: ArrayLike) -> FloatArray:
    """Project matrices of shape ``(..., 3, 3)`` onto their symmetric traceless part."""
    array = _as_tensor(tensor)
    symmetric = 0.5 * (array + np.swapaxes(array, -1, -2))
    trace = np.trace(symmetric, axis1=-2, axis2=-1)
    return symmetric - trace[..., None, None] / 3 * np.eye(3)


@cache
def l2_basis() -> FloatArray:
    """Orthonormal basis of the l=2 irrep in e3nn's component order.

    Returns
    -------
    ndarray
        Read-only array ``B`` of shape ``(5, 3, 3)``, with ``B[m]`` symmetric, traceless and of unit Frobenius norm, so
        that ``V = sum_m c[m] B[m]`` and ``c[m] = sum_ij B[m, i, j] V[i, j]``.
    """
    basis = 5**0.5 * wigner_3j(2, 1, 1)  # e3nn orders l = 1 as x, y, z
    basis.flags.writeable = False
    return basis


def cartesian_to_l2(tensor: ArrayLike) -> FloatArray:
    """l=2 components, of shape ``(..., 5)``, of matrices of shape ``(..., 3, 3)``; their other parts are dropped."""
    return np.einsum("mij,...ij->...m", l2_basis(), _as_tensor(tensor))


def l2_to_cartesian(components: ArrayLike) -> FloatArray:
    """Symmetric traceless matrices of shape ``(..., 3, 3)`` from l=2 components of shape ``(..., 5)``."""
    array = np.asarray(components, dtype=np.float64)
    if array.shape[-1:] != (5,):
        raise DataError(f"l=2 components must have shape (..., 5), got {array.shape}")
    return np.einsum("mij,...m->...ij", l2_basis(), array)


def cartesian_to_spherical(tensor: ArrayLike) -> NDArray[np.complex128]:
    """Complex spherical components of symmetric traceless tensors, in the order m = -2, -1, 0, 1, 2.

    ``V_0 = sqrt(3/2) Vzz``, ``V_+-1 = -+(Vxz +- i Vyz)``, ``V_+-2 = (Vxx - Vyy)/2 +- i Vxy``: the phases of Condon and
    Shortley, ``V_-m = (-1)^m conj(V_m)``, scaled so that ``sum_m |V_m|^2 = sum_ij V_ij^2``.

    Parameters
    ----------
    tensor
        Of shape ``(..., 3, 3)``.

    Returns
    -------
    ndarray
        Of shape ``(..., 5)``.
    """
    array = symmetric_traceless(tensor)
    xx, yy, zz, xy, xz, yz = np.moveaxis(matrix_to_six(array), -1, 0)
    positive = [-(xz + 1j * yz), (xx - yy) / 2 + 1j * xy]
    negative = [np.conj(positive[1]), -np.conj(positive[0])]
    return np.stack([*negative, np.sqrt(1.5) * zz + 0j, *positive], axis=-1)


def rotate(tensor: ArrayLike, rotation: ArrayLike) -> FloatArray:
    """Rotate tensors: ``R V R^T``.

    Parameters
    ----------
    tensor
        Of shape ``(..., 3, 3)``.
    rotation
        Orthogonal matrices of shape ``(3, 3)`` or broadcastable to the tensors; improper ones are allowed
        (an EFG is even under inversion).
    """
    matrix = _as_tensor(rotation)
    return np.einsum("...ij,...jk,...lk->...il", matrix, _as_tensor(tensor), matrix)


def six_rotation(rotation: ArrayLike) -> FloatArray:
    """Matrices that rotate six-vectors written as rows: ``six @ six_rotation(R)`` is the six-vector of ``R V R^T``.

    Parameters
    ----------
    rotation
        Of shape ``(..., 3, 3)``.

    Returns
    -------
    ndarray
        Of shape ``(..., 6, 6)``.
    """
    matrix = np.asarray(rotation, dtype=np.float64)
    return matrix_to_six(rotate(six_to_matrix(np.eye(6)), matrix[..., None, :, :]))


def principal_axes(tensor: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Principal values and axes in the NMR order ``|Vzz| >= |Vyy| >= |Vxx|``.

    Parameters
    ----------
    tensor
        Symmetric matrices of shape ``(..., 3, 3)``.

    Returns
    -------
    tuple of ndarray
        Values (Vxx, Vyy, Vzz) of shape ``(..., 3)``, and axes of shape ``(..., 3, 3)`` whose column ``k`` belongs to
        value ``k``.

    Raises
    ------
    DataError
        When a component is not finite.
    """
    array = _as_tensor(tensor)
    if not np.isfinite(array).all():
        raise DataError("an EFG tensor has components that are not finite; look for broken frames in the run")
    values, axes = np.linalg.eigh(array)
    order = np.argsort(np.abs(values), axis=-1, kind="stable")
    return np.take_along_axis(values, order, axis=-1), np.take_along_axis(axes, order[..., None, :], axis=-1)


def principal_values(tensor: ArrayLike) -> FloatArray:
    """Vxx, Vyy, Vzz with ``|Vzz| >= |Vyy| >= |Vxx|``, of shape ``(..., 3)``."""
    return principal_axes(tensor)[0]


def asymmetry(values: ArrayLike) -> FloatArray:
    """Asymmetry parameter ``eta = (Vxx - Vyy) / Vzz`` from ordered principal values of shape ``(..., 3)``.

    Lies in [0, 1] for traceless tensors; NaN where Vzz is exactly zero (eta is undefined there).
    """
    array = np.asarray(values, dtype=np.float64)
    vzz = array[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(vzz == 0.0, np.nan, (array[..., 0] - array[..., 1]) / vzz)
