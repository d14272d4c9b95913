"""Splitting by run, element references, scales and the tensors that training sees."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read, write
from toy_data import ELEMENTS, write_frames

from efgmd.errors import DataError
from efgmd.training.dataset import (
    LabelledFrames,
    collate,
    composition,
    efg_scales,
    element_references,
    elements_of,
    load,
    prepare,
    run_names,
    some_frames,
    split_runs,
)


def tagged(*tags):
    """Frames that have nothing but a tag."""
    frames = [Atoms("Ne", info={"tag": tag}) for tag in tags]
    return LabelledFrames(frames, [f"f.xyz, frame {k}" for k in range(len(tags))], [])


def test_tags_that_occur_once_number_the_frames_of_a_run():
    data = tagged("cell48-seed1-0", "cell48-seed1-1", "cell12-seed1-0", "gas")
    assert run_names(data, "tag") == ["cell48-seed1", "cell48-seed1", "cell12-seed1", "gas"]


def test_tags_that_repeat_name_the_run():
    data = tagged("seed0-1", "seed0-1", "seed0-2", "seed0-2", "seed0-11", "other-0", "other-1")
    expected = ["seed0-1", "seed0-1", "seed0-2", "seed0-2", "seed0-11", "other", "other"]
    assert run_names(data, "tag") == expected


def test_a_missing_run_name_is_refused_with_the_way_out():
    with pytest.raises(DataError, match=r"frame 0: has no info key 'config'.*it has tag.*--split-by frame"):
        run_names(tagged("a-0"), "config")
    assert len(set(run_names(tagged("a-0", "a-1"), "frame"))) == 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.9])
def test_no_run_is_on_both_sides_of_the_split(seed, fraction):
    sizes = np.random.default_rng(seed).integers(1, 8, 20)
    runs = [f"run{k}" for k, size in enumerate(sizes) for _ in range(size)]
    training, validation = split_runs(runs, fraction, seed)
    assert not {runs[k] for k in training} & {runs[k] for k in validation}
    assert sorted(training + validation) == list(range(len(runs)))
    assert training
    assert len(validation) == pytest.approx(fraction * len(runs), abs=5) and validation
    assert (training, validation) == split_runs(runs, fraction, seed)


def test_one_run_cannot_be_split():
    with pytest.raises(DataError, match=r"all 3 frames come from one run.*--split-by frame"):
        split_runs(["a"] * 3, 0.1, 0)


def test_references_are_recovered_exactly():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, (40, 3)).astype(float)
    references = np.array([-325000.25, -13.6, 2.5])
    np.testing.assert_allclose(element_references(counts, counts @ references), references, rtol=1e-12, atol=1e-8)


def test_references_of_one_fixed_composition_explain_its_energy():
    counts = np.tile([4.0, 12.0, 24.0], (5, 1))
    references = element_references(counts, np.full(5, -200.0))
    np.testing.assert_allclose(counts @ references, -200.0)


def test_scales_are_the_root_mean_square_of_the_nine_components(tmp_path):
    write_frames(tmp_path / "f.xyz")
    frames = load([tmp_path / "f.xyz"], "efg").frames
    scales = efg_scales(frames, (*ELEMENTS, "Kr"))
    components = np.concatenate([a.arrays["efg"][np.array(a.get_chemical_symbols()) == "Ar"].ravel() for a in frames])
    assert scales["Ar"] == pytest.approx(np.sqrt(np.mean(components**2)))
    assert np.isnan(scales["Kr"])  # the model knows no tensors of it
    assert elements_of(frames) == ELEMENTS
    assert composition(frames, ELEMENTS).sum() == 8 * len(frames)


def test_the_same_structure_twice_is_refused(tmp_path):
    write_frames(tmp_path / "a.xyz")
    write(tmp_path / "b.xyz", read(tmp_path / "a.xyz", index="3:4"), format="extxyz")
    with pytest.raises(DataError, match=r"b\.xyz, frame 0: is the same structure as .*a\.xyz, frame 3"):
        load([tmp_path / "a.xyz", tmp_path / "b.xyz"], "efg")


def test_hash_depends_on_content_not_on_place(tmp_path):
    write_frames(tmp_path / "a.xyz")
    (tmp_path / "b.xyz").write_bytes((tmp_path / "a.xyz").read_bytes())
    write_frames(tmp_path / "c.xyz", seed=1)
    a, b, c = (load([tmp_path / f"{name}.xyz"], "energy").sha256 for name in "abc")
    assert a == b != c


def test_labels_are_concatenated_and_huge_references_cost_no_digits(tmp_path):
    write_frames(tmp_path / "f.xyz")
    data = load([tmp_path / "f.xyz"], "energy")
    references = np.array([-3e5, -4e5])
    baseline = composition(data.frames, ELEMENTS) @ references
    for atoms, offset in zip(data.frames, baseline, strict=True):
        atoms.calc.results["energy"] += offset
    batch, labels = collate(prepare(data, "energy", ELEMENTS, 4.0, torch.float32, references)[:3])
    expected = [a.calc.results["energy"] - offset for a, offset in zip(data.frames[:3], baseline, strict=False)]
    np.testing.assert_allclose(labels["energy"], expected, atol=1e-6)
    assert labels["forces"].shape == (24, 3)
    assert labels["stress"].shape == (3, 3, 3)
    assert labels["has_stress"].all()
    assert batch.n_frames == 3


@pytest.mark.parametrize("seed", range(10))
def test_a_long_run_is_not_held_out_for_a_small_share(seed):
    """Runs of 400, 100 and 100 frames: one of the short ones is closest to a tenth."""
    runs = ["a"] * 400 + ["b"] * 100 + ["c"] * 100
    training, validation = split_runs(runs, 0.1, seed)
    assert len(validation) == 100 and len(training) == 500
    training, validation = split_runs(["a"] * 50 + ["b"] * 40, 0.1, seed)  # both are far too long: the shorter one
    assert len(validation) == 40


def test_frames_for_the_constants_hold_every_element():
    """Elements of few frames, one after the other in the file, must be among them, or they are never standardised."""
    formulas = ["Na4K4Cl8" if 43 <= k < 53 else "Na8Cl8" for k in range(100)]
    data = LabelledFrames([Atoms(formula) for formula in formulas], [str(k) for k in range(100)], [])
    for atoms, frames in ((32, 16), (160, 19), (10**6, 100)):
        chosen = some_frames(data, ("Na", "K", "Cl"), atoms)
        assert composition(chosen.frames, ("K",)).sum() == 40  # all there is of potassium
        assert len(chosen.frames) == pytest.approx(frames, abs=2)
    few = some_frames(data, ("Na", "K", "Cl"), 160, centres=8)
    assert composition(few.frames, ("K",)).sum() >= 8 and len(few.frames) <= 12
