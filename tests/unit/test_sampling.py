"""Samples, block means, image flags, and trajectories that are cut back."""

from dataclasses import replace

import numpy as np
import pytest
from ase.io import read

from efgmd.campaign.deck import ensemble_commands, system_commands, tensor_commands
from efgmd.campaign.sampling import BlockMean, Sample, cell_matrix, departure, image_flags
from efgmd.campaign.spec import RunSpec, run_folder
from efgmd.campaign.trajectory import append_frame, cut_trajectory
from efgmd.errors import StoreError
from efgmd.tensors import principal_values, six_to_matrix

SPEC = RunSpec(
    temperature=300.0,
    structure_hash="s",
    symbols=["Na", "Cl"],
    elements=["Na", "Cl"],
    masses=[22.99, 35.45],
    energy_model="/x/e.safetensors",
    energy_sha256="e",
    efg_model="/x/v.safetensors",
    efg_sha256="v",
    cutoff=6.0,
    dtype="float64",
    ensemble={
        "kind": "npt",
        "pressure_control": "tri",
        "pressure_bar": 1.0,
        "temperature_damping_fs": 100.0,
        "pressure_damping_fs": 1000.0,
    },
    timestep_fs=0.5,
    equilibration_steps=100,
    sampling_steps=20,
    samples_per_block=2,
    n_samples=10,
    trajectory_steps=40,
    minimize=False,
    seed=3,
    restart_minutes=1.0,
)


def sample(rng):
    scalars = {"temperature": 300.0, "pressure": 0.0, "potential_energy": -1.0, "volume": 216.0}
    return Sample(rng.normal(size=(2, 6)), rng.normal(size=(2, 3)), np.array([6.0, 6, 6, 0.5, 0.2, 0.1]), scalars)


def test_image_flags_of_both_widths():
    for width, bits, offset in ((4, 10, 512), (8, 21, 1 << 20)):
        flags = np.array([[0, 0, 0], [-3, 7, 100], [511, -512, 1]])
        shifted = flags + offset
        packed = shifted[:, 0] | shifted[:, 1] << bits | shifted[:, 2] << 2 * bits
        np.testing.assert_array_equal(image_flags(packed, width), flags)
        if width == 4:
            np.testing.assert_array_equal(image_flags(packed.astype(np.int32), width), flags)


def test_cell_matrix_has_lattice_vectors_as_rows():
    expected = [[1, 0, 0], [4, 2, 0], [5, 6, 3]]
    np.testing.assert_array_equal(cell_matrix([1, 2, 3, 4, 5, 6]), expected)


def test_block_mean_is_the_mean_of_its_samples():
    rng = np.random.default_rng(0)
    samples = [sample(rng) for _ in range(6)]
    block, means = BlockMean(3), []
    for item in samples:
        if (done := block.add(item)) is not None:
            means.append(done)
    assert len(means) == 2
    np.testing.assert_allclose(means[1]["efg"], np.mean([item.efg for item in samples[3:]], axis=0))
    np.testing.assert_allclose(means[1]["scaled"], np.mean([item.scaled for item in samples[3:]], axis=0))
    sizes = [np.abs(principal_values(six_to_matrix(item.efg))[:, 2]) for item in samples[3:]]
    np.testing.assert_allclose(means[1]["abs_vzz"], np.mean(sizes, axis=0))


def test_trajectory_is_cut_back_to_a_step(tmp_path):
    path, rng = tmp_path / "t.extxyz", np.random.default_rng(1)

    def append(step):
        taken = sample(rng)
        arrays = {"efg": six_to_matrix(taken.efg).reshape(-1, 9)}
        append_frame(path, ["Na", "Cl"], taken.cell, taken.scaled, arrays, {"step": step, "time_fs": step * 0.5})

    for step in (10, 20, 30):
        append(step)
    content = path.read_bytes()
    path.write_bytes(content + content[: len(content) // 5])  # a frame that a kill left unfinished
    cut_trajectory(path, 20)
    frames = read(path, index=":")
    assert [frame.info["step"] for frame in frames] == [10, 20]
    assert frames[0].arrays["efg"].shape == (2, 9)
    append(30)
    assert len(read(path, index=":")) == 3
    cut_trajectory(tmp_path / "none.extxyz", 5)


def test_spec_round_trip_and_identity(tmp_path):
    SPEC.write(tmp_path)
    assert RunSpec.read(tmp_path) == SPEC
    assert replace(SPEC, n_samples=99, restart_minutes=9.0).identity == SPEC.identity
    for change in ({"seed": 4}, {"efg_sha256": "w"}, {"temperature": 301.0}, {"dtype": "float32"}):
        assert replace(SPEC, **change).identity != SPEC.identity
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(StoreError, match="new folder"):
        RunSpec.read(tmp_path)


def test_folders_sort_by_temperature(tmp_path):
    names = [run_folder(tmp_path, value).name for value in (80.0, 252.5, 300.0, 1200.0)]
    assert names == ["T0080K", "T0252.5K", "T0300K", "T1200K"] and names == sorted(names)


def test_deck_follows_the_spec(tmp_path):
    commands = [*system_commands(SPEC), *tensor_commands(SPEC)]
    assert 'pair_style mliap unified "/x/e.safetensors" 0 dtype float64' in commands
    assert 'compute efg with_tensors efg/atom "/x/v.safetensors" Na Cl dtype float64' in commands
    assert "group with_tensors type 1 2" in commands
    assert "group with_tensors type 2" in tensor_commands(replace(SPEC, without_tensors=["Na"]))
    assert "timestep 0.0005" in commands and 'read_data "start.data"' in commands
    assert any(line.startswith("read_restart") for line in system_commands(SPEC, tmp_path / "restart.100"))
    assert ensemble_commands(SPEC) == ["fix md all npt temp 300 300 0.1 tri 1 1 1 flip no"]


def test_masses_go_to_their_types():
    commands = system_commands(SPEC)
    assert "mass 1 22.99" in commands and "mass 2 35.45" in commands


def test_a_run_that_has_left_physics_is_told():
    sane = {"temperature": 300.0, "volume": 200.0}
    assert departure(sane, 300.0, 200.0) == ""
    for temperature in (3600.0, float("nan")):
        assert "the temperature is" in departure(sane | {"temperature": temperature}, 300.0, 200.0)
    for volume in (90.0, 410.0):
        assert "the volume went from 200 to" in departure(sane | {"volume": volume}, 300.0, 200.0)
