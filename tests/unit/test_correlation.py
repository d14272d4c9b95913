"""Correlation functions of EFG tensors against exact results for hopping and tumbling, and against plain sums."""

import numpy as np
import pytest
from moving_tensors import hopping, hopping_correlation, random_tensors, stationary, tetrahedral, tumbling
from scipy.spatial.transform import Rotation

from efgmd.analysis.correlation import EFGCorrelation, field_weights
from efgmd.analysis.correlation_time import CorrelationTime
from efgmd.analysis.store_series import StoreSeries
from efgmd.errors import DataError
from efgmd.store import Store, StoreWriter
from efgmd.tensors import (
    cartesian_to_l2,
    cartesian_to_spherical,
    l2_to_cartesian,
    matrix_to_six,
    rotate,
    six_to_matrix,
)

DIRECTION = np.array([1.0, -2.0, 0.5])


def turned_to(direction):
    """A rotation whose third row is the direction."""
    return Rotation.align_vectors([[0, 0, 1]], [direction / np.linalg.norm(direction)])[0].as_matrix()


def test_spherical_components_have_their_norm_and_symmetry():
    tensors = random_tensors(4, np.random.default_rng(0))
    found = cartesian_to_spherical(tensors)
    np.testing.assert_allclose(np.sum(np.abs(found) ** 2, axis=1), np.sum(tensors**2, axis=(1, 2)))
    np.testing.assert_allclose(found[:, ::-1] * [1, -1, 1, -1, 1], found.conj())


def test_spherical_components_turn_by_phases_about_the_axis():
    angle, tensor = 0.7, random_tensors(1, np.random.default_rng(1))[0]
    turned = cartesian_to_spherical(rotate(tensor, Rotation.from_euler("z", angle).as_matrix()))
    np.testing.assert_allclose(turned, np.exp(1j * np.arange(-2, 3) * angle) * cartesian_to_spherical(tensor))


def test_functions_along_a_field_are_those_of_the_components_in_its_frame():
    rng = np.random.default_rng(2)
    first, second = random_tensors(2, rng)
    matrix = np.outer(cartesian_to_l2(first), cartesian_to_l2(second))
    matrix = (matrix + matrix.T) / 2
    frame = turned_to(DIRECTION)
    a, b = cartesian_to_spherical(rotate(first, frame)), cartesian_to_spherical(rotate(second, frame))
    products = np.real(np.conj(a) * b)
    expected = [products[2], (products[1] + products[3]) / 2, (products[0] + products[4]) / 2]
    np.testing.assert_allclose(np.einsum("mab,ab->m", field_weights(DIRECTION), matrix), expected)


def test_powder_average_is_that_over_many_directions():
    matrix = np.diag([1.0, 2.0, 3.0, 4.0, 5.0])
    directions = Rotation.random(4000, rng=np.random.default_rng(3)).as_matrix()[:, 2]
    averaged = np.mean([np.einsum("mab,ab->m", field_weights(d), matrix) for d in directions], axis=0)
    np.testing.assert_allclose(averaged, np.einsum("mab,ab->m", field_weights(None), matrix), rtol=0.02)


@pytest.mark.parametrize("mean", ["pooled", "nucleus"])
def test_transform_agrees_with_plain_sums_over_pairs(mean):
    rng = np.random.default_rng(4)
    series, blocks, lags = rng.normal(size=(43, 5, 6)), 3, 6
    turns = Rotation.random(5, rng=rng).as_matrix()
    found = EFGCorrelation(0.1, lags, blocks, mean).compute(series, turns)
    values = cartesian_to_l2(rotate(six_to_matrix(series), turns))[43 % blocks :]
    values = values - values.mean(axis=(0, 1) if mean == "pooled" else 0)
    expected = np.zeros((lags + 1, 5, 5))
    for lag in range(lags + 1):
        pairs = [(x[i], x[i + lag]) for x in np.split(values, blocks) for i in range(len(x) - lag)]
        product = np.mean([np.einsum("ka,kb->ab", a, b) / 5 for a, b in pairs], axis=0)
        expected[lag] = (product + product.T) / 2
    np.testing.assert_allclose(found.matrix, expected, atol=1e-12)
    np.testing.assert_allclose(found.lags_ps, 0.1 * np.arange(lags + 1))


RATES = np.array([[0, 0.6, 0.2], [0.3, 0, 0.5], [0.1, 0.9, 0]])


@pytest.fixture(scope="module")
def hops():
    rng = np.random.default_rng(5)
    tensors = random_tensors(3, rng)
    return tensors, hopping(tensors, RATES, 0.25, 6000, 40, rng)


def test_hopping_between_unequal_sites_gives_the_exact_mean_and_matrix(hops):
    tensors, series = hops
    found = EFGCorrelation(0.25, 40).compute(series)
    exact = hopping_correlation(tensors, RATES, found.lags_ps)
    value, error = found.estimate(lambda matrix: matrix)
    scale = np.trace(exact[0])
    assert np.abs(value - exact).max() < 0.012 * scale
    assert np.mean(np.abs(value - exact) < 3 * error) > 0.97
    mean = np.tensordot(stationary(RATES), cartesian_to_l2(tensors), axes=1)
    np.testing.assert_allclose(np.diag(found.mean_matrix), mean**2, atol=0.01 * scale)
    np.testing.assert_allclose(found.total, found.matrix + found.mean_matrix)


def test_hopping_along_a_field_is_not_isotropic(hops):
    tensors, series = hops
    found = EFGCorrelation(0.25, 20).compute(series).irreducible(DIRECTION)
    frame = turned_to(DIRECTION)
    exact = hopping_correlation(rotate(tensors, frame), RATES, 0.25 * np.arange(21))
    expected = np.einsum("mab,tab->tm", field_weights([0, 0, 1]), exact)
    assert np.abs(found - expected).max() < 0.02 * expected.max()
    assert np.ptp(expected[0]) > 0.2 * expected[0].max()


def test_jumps_over_a_tetrahedron_have_one_correlation_time():
    rate = np.full((4, 4), 0.25)
    np.fill_diagonal(rate, 0.0)
    series = hopping(tetrahedral(), rate, 0.05, 8000, 24, np.random.default_rng(6))
    correlation = EFGCorrelation(0.05).compute(series)
    time = CorrelationTime().compute(correlation)
    assert time.resolved and time.sampled_finely
    assert abs(time.tau_ps - 1.0) < 3 * time.error_ps and time.error_ps < 0.03  # 1 / (4 x 0.25)
    for stretched in (False, True):
        fit = time.fit(stretched)
        assert fit.mean_tau_ps == pytest.approx(1.0, abs=0.03) and fit.amplitude == pytest.approx(1.0, abs=0.02)
    assert time.fit(stretched=True).beta == pytest.approx(1.0, abs=0.03)


def test_a_slow_motion_behind_a_fast_one_is_integrated_too():
    rng = np.random.default_rng(7)
    slow = tumbling(np.diag([-0.5, -0.5, 1.0]), 8.0, 0.1, 20000, 24, rng)
    fast = matrix_to_six(l2_to_cartesian(rng.normal(size=(20000, 24, 5)) * 0.9))
    variance = 1.5 / (1.5 + 5 * 0.81)  # share of the slow part; white noise adds half an interval
    exact = variance * 8.0 + (1 - variance) * 0.05
    time = CorrelationTime().compute(EFGCorrelation(0.1, 1200).compute(slow + fast))
    assert time.resolved and not time.sampled_finely
    assert abs(time.tau_ps - exact) < 3 * time.error_ps and time.error_ps < 0.1 * exact
    assert time.fit().amplitude == pytest.approx(variance, abs=0.03)


def test_errors_of_the_correlation_time_cover_the_truth():
    rng, inside, runs = np.random.default_rng(8), 0, 60
    for _ in range(runs):
        series = tumbling(np.diag([-0.3, -0.7, 1.0]), 1.0, 0.2, 1500, 8, rng)
        time = CorrelationTime().compute(EFGCorrelation(0.2).compute(series))
        inside += abs(time.tau_ps - 1.0033) < 2 * time.error_ps  # 0.1 / tanh(0.1): the trapezoidal sum
    assert inside / runs > 0.83  # 0.91 found in 150 runs; a 95 % interval of four blocks needs more than two errors


@pytest.mark.parametrize(("blocks", "nuclei"), [(4, 1), (4, 8), (1, 4), (3, 3)])
def test_error_of_a_mean_product_is_its_standard_error(blocks, nuclei):
    """For what is linear in the products the jackknife is the scatter over parts of equal size, over their root."""
    rng, frames = np.random.default_rng(12), 20 * blocks
    series = rng.normal(size=(frames, nuclei, 6)) * (1 + rng.random((frames, nuclei, 1)))
    value, error = EFGCorrelation(0.1, 2, blocks).compute(series).estimate(lambda matrix: np.trace(matrix[0]))
    components = cartesian_to_l2(six_to_matrix(series))
    squares = np.sum((components - components.mean(axis=(0, 1))) ** 2, axis=2)
    groups = min(nuclei, 4)
    parts = squares.reshape(blocks, 20, groups, -1).mean(axis=(1, 3))
    scatter = [
        part.std(ddof=1) / np.sqrt(part.size)
        for part in (parts.mean(axis=1), parts.mean(axis=0), parts.ravel())
        if part.size > 1
    ]
    assert value == pytest.approx(squares.mean()) and error == pytest.approx(max(scatter))


def test_static_differences_and_motion_slower_than_the_run_are_noticed():
    rng = np.random.default_rng(9)
    offsets = matrix_to_six(random_tensors(10, rng))
    series = offsets + 0.1 * tumbling(np.diag([-0.5, -0.5, 1.0]), 0.5, 0.1, 2000, 10, rng)
    assert not CorrelationTime().compute(EFGCorrelation(0.1).compute(series)).resolved
    own = CorrelationTime().compute(EFGCorrelation(0.1, mean="nucleus").compute(series))
    assert own.resolved and own.tau_ps == pytest.approx(0.5, rel=0.1)


def write_store(path, series):
    frames, atoms = series.shape[:2]
    with StoreWriter(path, identity="run", header={}, symbols=["N"] * atoms, n_samples=frames) as store:
        for row in range(frames):
            block = {"efg": series[row], "abs_vzz": np.zeros(atoms), "scaled": np.zeros((atoms, 3)), "cell": np.ones(6)}
            store.write_block(row, 10 * (row + 1), block)
    return Store(path)


def test_a_store_gives_what_its_array_gives(tmp_path, monkeypatch):
    series = np.random.default_rng(10).normal(size=(60, 7, 6)).astype(np.float32)
    store = write_store(tmp_path / "efg.h5", series)
    chosen = [1, 4, 6]
    expected = EFGCorrelation(0.1).compute(series[:, chosen]).matrix
    monkeypatch.setattr("efgmd.store._CHUNK_BYTES", 8 * 10 * 7 * 4)  # four frames at a time
    monkeypatch.setattr("efgmd.analysis.correlation._MEMORY", 1)  # one nucleus, one frame at a time
    np.testing.assert_allclose(EFGCorrelation(0.1).compute(StoreSeries(store, chosen)).matrix, expected, rtol=1e-10)


def test_mistakes_are_told():
    series = np.random.default_rng(11).normal(size=(40, 3, 6))
    with pytest.raises(DataError, match="compute"):
        EFGCorrelation(0.1).matrix  # noqa: B018
    with pytest.raises(DataError, match="compute"):
        CorrelationTime().tau_ps  # noqa: B018
    with pytest.raises(DataError, match=r"40 frames.*10 frames are asked.*--max-lag"):
        EFGCorrelation(0.1, max_lag=10).compute(series)
    with pytest.raises(DataError, match="shape"):
        EFGCorrelation(0.1).compute(series[..., :5])
    with pytest.raises(DataError, match="rotations"):
        EFGCorrelation(0.1).compute(series, np.eye(3))
    with pytest.raises(DataError, match="not finite"):
        EFGCorrelation(0.1).compute(np.full((40, 3, 6), np.nan))
    with pytest.raises(DataError, match="positive"):
        EFGCorrelation(0.0)
    with pytest.raises(DataError, match="direction"):
        field_weights([0.0, 0.0, 0.0])
    with pytest.raises(DataError, match="fluctuate"):
        CorrelationTime().compute(EFGCorrelation(0.1).compute(np.ones((40, 3, 6))))
