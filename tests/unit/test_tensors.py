"""Tensor algebra against its definitions and against rotations."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from efgmd import tensors
from efgmd.errors import DataError
from efgmd.wigner import wigner_3j


@pytest.fixture
def random_tensors():
    return tensors.symmetric_traceless(np.random.default_rng(0).normal(size=(20, 3, 3)))


def test_six_vectors_are_in_lammps_order():
    matrix = np.array([[1, 4, 5], [4, 2, 6], [5, 6, 3.0]])
    np.testing.assert_array_equal(tensors.matrix_to_six(matrix), [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(tensors.six_to_matrix([1, 2, 3, 4, 5, 6]), matrix)


def test_irreps_round_trip_and_keep_the_norm(random_tensors):
    components = tensors.cartesian_to_l2(random_tensors)
    np.testing.assert_allclose(tensors.l2_to_cartesian(components), random_tensors, atol=1e-14)
    np.testing.assert_allclose(
        np.linalg.norm(components, axis=-1), np.linalg.norm(random_tensors, axis=(-2, -1)), rtol=1e-13
    )


def test_irreps_drop_trace_and_antisymmetry():
    matrix = np.random.default_rng(1).normal(size=(3, 3))
    expected = tensors.symmetric_traceless(matrix)
    np.testing.assert_allclose(tensors.l2_to_cartesian(tensors.cartesian_to_l2(matrix)), expected, atol=1e-14)


def test_irreps_turn_with_e3nn_wigner_matrices(random_tensors):
    import torch
    from e3nn import o3

    rotation = Rotation.random(random_state=3).as_matrix()
    wigner = o3.Irrep("2e").D_from_matrix(torch.tensor(rotation)).numpy()
    turned = tensors.cartesian_to_l2(tensors.rotate(random_tensors, rotation))
    np.testing.assert_allclose(
        turned, tensors.cartesian_to_l2(random_tensors) @ wigner.T, atol=1e-5
    )  # e3nn goes through angles


def test_wigner_3j_symbols_are_those_of_e3nn():
    import torch
    from e3nn import o3

    degrees = [(a, b, c) for a in range(5) for b in range(5) for c in range(abs(a - b), a + b + 1)]
    for triple in degrees:
        expected = o3.wigner_3j(*triple, dtype=torch.float64).numpy()
        np.testing.assert_allclose(wigner_3j(*triple), expected, atol=1e-14, err_msg=str(triple))
    with pytest.raises(ValueError, match="degrees 1, 1 and 3 do not couple"):
        wigner_3j(1, 1, 3)


def test_rotation_keeps_principal_values_and_turns_axes(random_tensors):
    rotation = Rotation.random(random_state=4).as_matrix()
    values, axes = tensors.principal_axes(random_tensors)
    turned_values, turned_axes = tensors.principal_axes(tensors.rotate(random_tensors, rotation))
    np.testing.assert_allclose(turned_values, values, atol=1e-12)
    overlap = np.abs(np.einsum("nik,nik->nk", turned_axes, rotation @ axes))
    np.testing.assert_allclose(overlap, 1.0, atol=1e-10)


def test_inversion_leaves_a_tensor_alone(random_tensors):
    np.testing.assert_allclose(tensors.rotate(random_tensors, -np.eye(3)), random_tensors, atol=1e-15)


@pytest.mark.parametrize("vzz", [2.0, -2.0])
@pytest.mark.parametrize("eta", [0.0, 0.3, 0.999])
def test_principal_values_are_ordered_as_in_nmr(vzz, eta):
    diagonal = np.array([-vzz * (1 - eta) / 2, -vzz * (1 + eta) / 2, vzz])
    rotation = Rotation.random(random_state=5).as_matrix()
    found = tensors.principal_values(tensors.rotate(np.diag(diagonal[[2, 0, 1]]), rotation))
    np.testing.assert_allclose(found, diagonal, atol=1e-12)
    assert tensors.asymmetry(found) == pytest.approx(eta, abs=1e-12)
    assert np.all(np.diff(np.abs(tensors.principal_values(tensors.six_to_matrix(np.arange(6.0))))) >= 0)


def test_eta_is_undefined_for_a_vanishing_tensor():
    assert np.isnan(tensors.asymmetry(np.zeros(3)))


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (tensors.matrix_to_six, np.zeros(6)),
        (tensors.six_to_matrix, np.zeros((3, 3))),
        (tensors.l2_to_cartesian, np.zeros(6)),
        (tensors.principal_values, np.full((3, 3), np.nan)),
    ],
)
def test_wrong_shapes_and_numbers_are_refused(function, argument):
    with pytest.raises(DataError, match=r"shape|not finite"):
        function(argument)
