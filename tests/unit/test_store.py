"""The EFG store: what is written comes back, cuts are clean, kills and foreign files do no harm."""

import os
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from efgmd.errors import StoreError
from efgmd.store import Store, StoreWriter

N_ATOMS, INTERVAL = 5, 20
SETTINGS = {"identity": "abc", "header": {"seed": 1}, "symbols": ["Na", "Cl", "Cl", "Na", "H"]}


def fill(writer, first, last, per_block=2):
    for row in range(first, last):
        step = (row + 1) * INTERVAL
        sample = {"cell": np.full(6, row), "temperature": 300 + row, "pressure": 1.0, "potential_energy": -2.0}
        writer.write_sample(row, step, sample | {"volume": 8.0})
        if (row + 1) % per_block == 0:
            means = {"efg": np.full((N_ATOMS, 6), row), "abs_vzz": np.full(N_ATOMS, row)}
            means |= {"scaled": np.full((N_ATOMS, 3), row), "cell": np.full(6, row)}
            writer.write_block(row // per_block, step, means)


def writer(path, n_samples=10, **changes):
    return StoreWriter(path, n_samples=n_samples, samples_per_block=2, **(SETTINGS | changes))


def test_round_trip(tmp_path):
    with writer(tmp_path / "efg.h5") as out:
        fill(out, 0, 5)
    store = Store(tmp_path / "efg.h5")
    np.testing.assert_array_equal(store.sample_steps, INTERVAL * np.arange(1, 6))
    np.testing.assert_array_equal(store.block_steps, [40, 80])
    np.testing.assert_array_equal(store.sample("temperature"), 300 + np.arange(5))
    np.testing.assert_array_equal(store.block("efg")[:, 2, 3], [1, 3])
    assert store.block("scaled").shape == (2, N_ATOMS, 3)
    assert (store.symbols, store.header, store.samples_per_block) == (SETTINGS["symbols"], {"seed": 1}, 2)


def test_cut_back_and_continue_gives_each_step_once(tmp_path):
    path = tmp_path / "efg.h5"
    with writer(path) as out:
        fill(out, 0, 7)
    with writer(path) as out:
        out.cut(80)
        assert list(Store(path).sample_steps) == [20, 40, 60, 80]
        fill(out, 4, 10)
    store = Store(path)
    np.testing.assert_array_equal(store.sample_steps, INTERVAL * np.arange(1, 11))
    np.testing.assert_array_equal(store.block_steps, 2 * INTERVAL * np.arange(1, 6))


def test_longer_run_keeps_its_samples(tmp_path):
    path = tmp_path / "efg.h5"
    with writer(path) as out:
        fill(out, 0, 10)
    with writer(path, n_samples=14) as out:
        fill(out, 10, 14)
    assert len(Store(path).sample_steps) == 14
    np.testing.assert_array_equal(Store(path).sample("temperature"), 300 + np.arange(14))


def test_store_of_another_run_is_refused(tmp_path):
    path = tmp_path / "efg.h5"
    writer(path).close()
    with pytest.raises(StoreError, match="another output folder"):
        writer(path, identity="other")


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all"])
def test_damaged_and_missing_files_are_named(tmp_path, content):
    path = tmp_path / "efg.h5"
    with pytest.raises(StoreError, match="missing"):
        Store(path)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"efg\.h5 is damaged"):
        Store(path)


def test_foreign_and_newer_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(StoreError, match="not an EFG store"):
        Store(tmp_path / "foreign.h5")
    writer(tmp_path / "efg.h5").close()
    with h5py.File(tmp_path / "efg.h5", "r+") as file:
        file.attrs["schema"] = 99
    with pytest.raises(StoreError, match="update efgmd"):
        Store(tmp_path / "efg.h5")


def test_gaps_are_noticed(tmp_path):
    path = tmp_path / "efg.h5"
    with writer(path) as out:
        fill(out, 0, 6)
        out._file["samples/step"][2] = -1
    with pytest.raises(StoreError, match="missing or doubled"):
        Store(path)


def test_kill_while_writing_leaves_complete_rows(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_store import fill, writer\nfrom pathlib import Path\n"
        "out = writer(Path(sys.argv[1]), n_samples=1_000_000)\n"
        "fill(out, 0, 6); out.flush(); print('ready', flush=True); fill(out, 6, 1_000_000)\n"
    )
    path = tmp_path / "efg.h5"
    command = [sys.executable, "-c", script, str(path), os.path.dirname(__file__)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    steps = Store(path).block_steps
    assert len(steps) >= 3
    np.testing.assert_array_equal(Store(path).block("efg")[:, 0, 0], steps / INTERVAL - 1)
    with writer(path, n_samples=1_000_000) as out:
        out.cut(40)
        fill(out, 2, 4)
    assert list(Store(path).block_steps) == [40, 80]
