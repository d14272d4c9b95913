"""Reading labelled frames, and refusing bad ones by file and frame."""

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from toy_data import frame, write_frames

from efgmd.errors import DataError
from efgmd.frames.labels import LabelKeys
from efgmd.frames.readers import read_frames


@pytest.fixture
def one():
    return frame(np.random.default_rng(1), "run-0")


def with_results(atoms, **changes):
    atoms.calc = SinglePointCalculator(atoms, **(atoms.calc.results | changes))
    return atoms


def test_labels_survive_the_round_trip_through_extended_xyz(tmp_path):
    path = tmp_path / "frames.xyz"
    written = write_frames(path, runs=2)
    read = read_frames(path, require=("energy", "forces", "stress", "efg"))
    assert len(read) == 4
    for a, b in zip(written, read, strict=True):
        assert b.calc.results["energy"] == pytest.approx(a.get_potential_energy(), abs=1e-10)
        np.testing.assert_allclose(b.calc.results["forces"], a.get_forces(), atol=1e-7)
        np.testing.assert_allclose(b.calc.results["stress"], a.get_stress(), atol=1e-10)
        np.testing.assert_allclose(b.arrays["efg"], a.arrays["efg"].reshape(-1, 3, 3), atol=1e-7)
        assert b.info["tag"] == a.info["tag"]


def test_other_keys_and_forms_of_stress(tmp_path, one):
    stress = one.get_stress()
    full = stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
    one.info |= {"REF_energy": one.get_potential_energy(), "REF_stress": full}
    one.new_array("REF_forces", one.get_forces())
    one.new_array("V", one.arrays.pop("efg"))
    one.calc = None
    write(tmp_path / "f.xyz", one, format="extxyz")
    keys = LabelKeys(energy="REF_energy", forces="REF_forces", stress="REF_stress", efg="V")
    (read,) = read_frames(tmp_path / "f.xyz", keys, require=("energy", "forces", "stress", "efg"))
    np.testing.assert_allclose(read.calc.results["stress"], stress, atol=1e-9)
    assert read.arrays["efg"].shape == (8, 3, 3)
    assert "V" not in read.arrays


def test_small_asymmetry_and_trace_are_rounding_and_removed(tmp_path, one):
    one.arrays["efg"][3] += 1e-5 * np.arange(9)[::-1]
    write(tmp_path / "f.xyz", one, format="extxyz")
    tensors = read_frames(tmp_path / "f.xyz")[0].arrays["efg"]
    np.testing.assert_allclose(tensors, tensors.transpose(0, 2, 1), atol=1e-15)
    assert np.abs(np.trace(tensors, axis1=1, axis2=2)).max() < 1e-14


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a.arrays["efg"].__setitem__((2, 1), 0.7), r"frame 1: .*atom 2 has asymmetry 0\.\d+ a\.u\."),
        (lambda a: a.arrays["efg"].__setitem__((5, 0), 9.0), r"frame 1: .*atom 5 has trace .*give symmetric traceless"),
        (lambda a: a.arrays["efg"].__setitem__((5, 0), np.nan), "frame 1: efg holds values that are not finite"),
        (lambda a: a.positions.__setitem__((0, 0), np.inf), "frame 1: positions or cell are not finite"),
        (lambda a: with_results(a, energy=np.nan), "frame 1: energy holds values that are not finite"),
        (lambda a: with_results(a, stress=np.full(6, np.inf)), "frame 1: stress holds values that are not finite"),
        (lambda a: a.set_array("efg", a.arrays.pop("efg")[:, :6]), r"frame 1: efg has shape \(8, 6\), expected"),
        (lambda a: a.set_cell([0, 0, 0]), "frame 1: is periodic along an axis without a cell vector"),
    ],
)
def test_bad_values_are_refused_by_file_and_frame(tmp_path, one, spoil, message):
    good = one.copy()
    good.calc = SinglePointCalculator(good, **one.calc.results)
    spoil(one)
    write(tmp_path / "f.xyz", [good, one], format="extxyz")
    with pytest.raises(DataError, match=message) as caught:
        read_frames(tmp_path / "f.xyz")
    assert "f.xyz, frame 1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_label_names_what_there_is(tmp_path, one):
    one.info["dft_energy"] = -1.0
    one.calc = None
    write(tmp_path / "f.xyz", one, format="extxyz")
    with pytest.raises(
        DataError, match=r"frame 0: has no energy under the key 'energy'; it has .*dft_energy.*--key energy="
    ):
        read_frames(tmp_path / "f.xyz", require=("energy",))


@pytest.mark.parametrize("content", [None, "", "not a structure\n", "2\n\nH 0 0\n"])
def test_unreadable_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "f.xyz"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=r"f\.xyz") as caught:
        read_frames(path)
    assert "\n" not in str(caught.value)
