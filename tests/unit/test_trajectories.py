"""Trajectories of somebody's own runs: dumps and files of structures, read as they are written."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from crystals import perovskite
from scipy.spatial.transform import Rotation

from efgmd.campaign.sampling import cell_matrix
from efgmd.campaign.trajectory import append_frame
from efgmd.errors import DataError
from efgmd.store import Store
from efgmd.tensors import l2_to_cartesian, matrix_to_six, rotate, six_to_matrix
from efgmd.trajectories.dump import Dump, is_dump
from efgmd.trajectories.importing import TrajectoryImport, read_run
from efgmd.trajectories.structures import Structures

FRAMES, INTERVAL = 6, 50


def make_frames(triclinic, seed=0):
    """Start structure, and unwrapped positions, cells and tensors of a few frames in which atoms cross the border."""
    rng = np.random.default_rng(seed)
    start = perovskite(5.0, 1.02)
    tilt = [0.9, -0.7, 0.4] if triclinic else [0.0, 0.0, 0.0]
    start.set_cell(cell_matrix([*start.cell.lengths(), *tilt]), scale_atoms=True)
    frames = []
    for k in range(FRAMES):
        cell = np.array([*(start.cell.array.diagonal() + rng.normal(0, 0.02, 3)), *tilt])
        scaled = start.get_scaled_positions(wrap=False) + rng.normal(0, 0.01, (len(start), 3)) + 0.04 * k
        efg = matrix_to_six(l2_to_cartesian(rng.normal(size=(len(start), 5))))
        frames.append((INTERVAL * (k + 1), cell, scaled, efg))
    return start, frames


def dump_text(start, frames, style="wrapped", name="c_efg", origin=(-1.5, 2.0, 0.25), rng=None):
    """A text dump in the given style of positions, its atoms in random order."""
    rng = rng or np.random.default_rng(1)
    lines, kinds = [], {symbol: k + 1 for k, symbol in enumerate(dict.fromkeys(start.get_chemical_symbols()))}
    for step, cell, scaled, efg in frames:
        matrix, tilted = cell_matrix(cell), bool(np.any(cell[3:]))
        low = np.array(origin)
        corners = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]) @ matrix + low
        lines += ["ITEM: TIMESTEP", str(step), "ITEM: NUMBER OF ATOMS", str(len(start))]
        lines += ["ITEM: BOX BOUNDS xy xz yz pp pp pp" if tilted else "ITEM: BOX BOUNDS pp pp pp"]
        for axis in range(3):
            bounds = f"{float(corners[:, axis].min())!r} {float(corners[:, axis].max())!r}"
            lines.append(f"{bounds} {float(cell[3 + axis])!r}" if tilted else bounds)
        images = np.floor(scaled)
        columns = {
            "wrapped": (["x", "y", "z"], (scaled - images) @ matrix + low),
            "unwrapped": (["xu", "yu", "zu"], scaled @ matrix + low),
            "images": (["x", "y", "z", "ix", "iy", "iz"], np.hstack([(scaled - images) @ matrix + low, images])),
            "fractions": (["xs", "ys", "zs"], scaled - images),
        }[style]
        lines.append("ITEM: ATOMS id type element " + " ".join([*columns[0], *(f"{name}[{c}]" for c in range(1, 7))]))
        for atom in rng.permutation(len(start)):
            symbol = start.symbols[atom]
            numbers = " ".join(repr(float(value)) for value in [*columns[1][atom], *efg[atom]])
            lines.append(f"{atom + 1} {kinds[symbol]} {symbol} {numbers}")
    return "\n".join(lines) + "\n"


def imported(tmp_path, start, paths, **options):
    options = {"temperature": 300.0, "timestep_fs": 2.0} | options
    run = TrajectoryImport(start, **options).compute([Path(path) for path in paths], tmp_path, "efg.h5")
    return Store(tmp_path / "efg.h5"), run


@pytest.mark.parametrize("triclinic", [False, True])
@pytest.mark.parametrize("style", ["wrapped", "unwrapped", "images", "fractions"])
def test_dumps_give_the_frames_that_were_written(tmp_path, style, triclinic):
    start, frames = make_frames(triclinic)
    (tmp_path / "run.dump").write_text(dump_text(start, frames, style))
    store, run = imported(tmp_path, start, [tmp_path / "run.dump"])
    np.testing.assert_array_equal(store.block_steps, [step for step, *_ in frames])
    np.testing.assert_allclose(store.block("cell"), [cell for _, cell, _, _ in frames], atol=1e-10)
    np.testing.assert_allclose(store.block("efg"), [efg for *_, efg in frames], rtol=1e-6, atol=1e-6)
    scaled = store.block("scaled")
    expected = np.array([scaled for _, _, scaled, _ in frames])
    steps, moved = np.diff(scaled, axis=0), np.diff(expected, axis=0)
    np.testing.assert_allclose(steps, moved, atol=1e-6)  # unwrapped: no atom jumps
    whole = scaled[0] - expected[0]
    np.testing.assert_allclose(whole, np.broadcast_to(whole[0], whole.shape), atol=1e-6)  # and neighbours stay together
    assert (run.sampling_steps, run.n_samples, run.averaged) == (INTERVAL, FRAMES, False)
    assert read_run(tmp_path) == run


def test_one_file_a_frame_in_any_order_also_compressed(tmp_path):
    start, frames = make_frames(False)
    paths = []
    for number, frame in enumerate(frames):
        paths.append(tmp_path / f"efg.{frame[0]}.dump.gz")
        with gzip.open(paths[-1], "wt") as stream:
            stream.write(dump_text(start, [frame], rng=np.random.default_rng(number)))
    store, _ = imported(tmp_path, start, sorted(paths, key=str))
    np.testing.assert_array_equal(store.block_steps, [step for step, *_ in frames])
    np.testing.assert_allclose(store.block("efg")[3], frames[3][3], atol=1e-6)


def test_averages_of_a_fix_drop_the_blank_first_frame_and_know_no_instant(tmp_path):
    start, frames = make_frames(False)
    blank = (0, frames[0][1], frames[0][2], np.zeros_like(frames[0][3]))
    (tmp_path / "avg.dump").write_text(dump_text(start, [blank, *frames], name="f_avg"))
    store, run = imported(tmp_path, start, [tmp_path / "avg.dump"])
    assert run.averaged and len(store.block_steps) == FRAMES
    assert run.notes == ["step 0 left out: all its tensors are zero"]


def test_blocks_and_skipped_time(tmp_path):
    start, frames = make_frames(False)
    (tmp_path / "run.dump").write_text(dump_text(start, frames))
    store, run = imported(tmp_path, start, [tmp_path / "run.dump"], skip_ps=0.1, samples_per_block=2)
    # Steps 50 to 300 of 2 fs: 0.1 ps after the first frame is step 100; five frames, of which the last fills no block.
    np.testing.assert_array_equal(store.block_steps, [150, 250])
    np.testing.assert_allclose(store.block("efg")[0], (frames[1][3] + frames[2][3]) / 2, atol=1e-6)
    assert run.n_samples == 4 and "do not fill a block" in run.notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("c_efg[6]", "c_efg[7]"), "six columns"),
        (lambda text: text.replace(" id ", " num "), "no column id"),
        (lambda text: text.replace(" xu yu zu", " vx vy vz"), "no positions"),
        (lambda text: text + text, "comes after step"),
        (lambda text: text[: text.rindex("I ")], "ends within a frame"),
        (lambda text: text[:-4], "ends within a frame"),
        (lambda text: text.replace("\n24 2 I", "\n24 2", 1), "an atom has 11 columns instead of 12"),
        (lambda text: text[: text.rindex("ITEM: BOX")], "cut off within a header"),
        (lambda text: text.replace("\n24 2 I", "\n23 2 I", 1), "ids are not 1 to"),
        (lambda text: text.replace("\n24 2 I", "\n24 1 I", 1), "one atom type is several elements"),
        (lambda text: text.replace("TIMESTEP\n200", "TIMESTEP\n201"), "not evenly spaced: steps 100, 150, 201"),
        (lambda text: text.replace("BOUNDS pp pp pp", "BOUNDS abc origin"), "general triclinic"),
        (lambda text: "hello\n", "not a text dump"),
        (lambda text: "", "holds no frame"),
    ],
)
def test_dumps_that_cannot_be_used_say_why(tmp_path, change, message):
    start, frames = make_frames(False)
    path = tmp_path / "run.dump"
    path.write_text(change(dump_text(start, frames, "unwrapped")))
    with pytest.raises(DataError, match=message) as caught:
        imported(tmp_path, start, [path])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "efg.h5").exists()


def test_two_sets_of_columns_need_a_name(tmp_path):
    start, frames = make_frames(False)
    text = dump_text(start, frames, "unwrapped")
    doubled = "\n".join(
        line + " " + " ".join(f"f_avg[{c}]" for c in range(1, 7))
        if line.startswith("ITEM: ATOMS")
        else line + " 0 0 0 0 0 1"
        if len(line.split()) == 12
        else line
        for line in text.splitlines()
    )
    (tmp_path / "run.dump").write_text(doubled + "\n")
    with pytest.raises(DataError, match="--columns"):
        Dump([tmp_path / "run.dump"])
    assert next(iter(Dump([tmp_path / "run.dump"], "f_avg"))).efg[0, 5] == 1.0


@pytest.mark.parametrize("left_handed", [False, True])
def test_structures_in_a_turning_cell_are_turned_back(tmp_path, left_handed):
    """A crystal that turns as a whole from frame to frame: cell, positions and tensors turn; the store does not."""
    start, _ = make_frames(True)
    if left_handed:
        start.set_cell(start.cell.array[[1, 0, 2]])
    upright, turn = start.cell.standard_form()
    tensors = l2_to_cartesian(np.random.default_rng(3).normal(size=(len(start), 5)))
    frames = []
    for k in range(3):
        rotation = Rotation.random(random_state=k).as_matrix()
        atoms = Atoms(
            start.numbers, positions=start.positions @ rotation.T, cell=start.cell.array @ rotation.T, pbc=True
        )
        atoms.new_array("efg", rotate(tensors, rotation).reshape(-1, 9))
        atoms.info.update(step=10 * k, time_fs=20.0 * k)
        frames.append(atoms)
    write(tmp_path / "run.extxyz", frames, format="extxyz")
    store, run = imported(tmp_path, start, [tmp_path / "run.extxyz"], timestep_fs=None)
    assert run.timestep_fs == pytest.approx(2.0) and run.sampling_steps == 10
    expected = matrix_to_six(rotate(tensors, np.asarray(turn)))
    for stored in store.block("efg"):
        np.testing.assert_allclose(stored, expected, atol=1e-5)
    np.testing.assert_allclose(
        np.abs(store.block("cell")[:, :3]), np.abs(np.diag(upright))[None].repeat(3, 0), rtol=1e-6
    )
    assert (store.block("cell")[:, :3] > 0).all()
    # The structure itself is that of the start: distances over the border too.
    frame = store.block("scaled")[1]
    rebuilt = Atoms(start.numbers, scaled_positions=frame, cell=cell_matrix(store.block("cell")[1]), pbc=True)
    difference = rebuilt.get_all_distances(mic=True) - start.get_all_distances(mic=True)
    assert np.abs(difference).max() < 1e-4


MAGRES = """#$magres-abinitio-v1.0
[atoms]
units lattice Angstrom
lattice 10 0 0 0 10 0 0 0 10
units atom Angstrom
atom N N 1 0.0 0.0 0.0
atom H H 1 1.0 0.0 {z}
[/atoms]
[magres]
units efg au
efg N 1 {a} 0.1 0.0 0.1 0.2 0.0 0.0 0.0 {b}
efg H 1 0.1 0.0 0.0 0.0 0.1 0.0 0.0 0.0 -0.2
[/magres]
"""


def test_series_of_magres_files(tmp_path):
    paths = []
    for k in range(4):
        paths.append(tmp_path / f"frame{k}.magres")
        paths[-1].write_text(MAGRES.format(z=0.01 * k, a=-0.5 + 0.1 * k, b=0.3 - 0.1 * k))
    frames = list(Structures(paths))
    assert [frame.step for frame in frames] == [0, 1, 2, 3] and frames[0].symbols == ["N", "H"]
    np.testing.assert_allclose(frames[2].efg[0], [-0.3, 0.2, 0.1, 0.1, 0, 0], atol=1e-12)
    start = Atoms("NH", positions=[[0, 0, 0], [1, 0, 0]], cell=[10] * 3, pbc=True)
    store, _ = imported(tmp_path, start, paths, timestep_fs=5.0)
    np.testing.assert_allclose(store.block("efg").mean(axis=0)[0], [-0.35, 0.2, 0.15, 0.1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(store.block("abs_vzz")[:, 1], 0.2, rtol=1e-6)
    assert np.isnan(store.sample("temperature")).all()
    assert six_to_matrix(store.block("efg")).shape == (4, 2, 3, 3)


def test_structures_that_do_not_fit_say_why(tmp_path):
    paths = [tmp_path / "one.magres"]
    paths[0].write_text(MAGRES.format(z=0, a=-0.5, b=0.3))
    right = Atoms("NH", positions=[[0, 0, 0], [1, 0, 0]], cell=[10] * 3, pbc=True)
    for start, options, message in (
        (right[::-1], {}, "elements are not those"),
        (right[:1], {}, "2 atoms, the structure has 1"),
        (right, {"timestep_fs": None}, "--timestep-fs"),
        (right, {"samples_per_block": 2}, "fewer than one block"),
    ):
        with pytest.raises(DataError, match=message):
            imported(tmp_path, start, paths, **options)
    with pytest.raises(DataError, match="no such file"):
        list(Structures([tmp_path / "none.magres"]))


def test_elements_without_tensors_are_refused_where_they_are_asked_for(tmp_path):
    """Zeros of a dump whose group left them out, and gaps in files of structures, are no tensors."""
    start, frames = make_frames(False)
    symbols = np.array(start.get_chemical_symbols())
    chosen, others = symbols[0], sorted(set(symbols) - {symbols[0]})
    only = (symbols == chosen)[:, None]
    partial = [(step, cell, scaled, np.where(only, efg, 0.0)) for step, cell, scaled, efg in frames]
    (tmp_path / "run.dump").write_text(dump_text(start, partial))
    for step, cell, scaled, efg in partial:
        arrays = {"efg": np.where(only, six_to_matrix(efg).reshape(-1, 9), np.nan), "efg_known": only}
        info = {"step": step, "time_fs": 2.0 * step}
        append_frame(tmp_path / "run.extxyz", list(symbols), cell, scaled, arrays, info)
    for name in ("run.dump", "run.extxyz"):
        trajectory = TrajectoryImport(start, 300.0, timestep_fs=2.0)
        trajectory.compute([tmp_path / name], tmp_path, "efg.h5")
        np.testing.assert_allclose(Store(tmp_path / "efg.h5").block("efg"), [efg for *_, efg in partial], atol=1e-6)
        trajectory.check_elements([chosen])
        with pytest.raises(DataError, match=f"atoms of {others[0]} have no tensors in the trajectory"):
            trajectory.check_elements([chosen, others[0]])


def test_wrapped_structures_are_unwrapped(tmp_path):
    start, frames = make_frames(True)
    for step, cell, scaled, efg in frames:
        arrays = {"efg": six_to_matrix(efg).reshape(-1, 9)}
        append_frame(tmp_path / "run.extxyz", start.get_chemical_symbols(), cell, scaled % 1.0, arrays, {"step": step})
    store, _ = imported(tmp_path, start, [tmp_path / "run.extxyz"])
    expected = np.array([scaled for _, _, scaled, _ in frames])
    np.testing.assert_allclose(store.block("scaled") - expected[0], expected - expected[0], atol=1e-6)


def test_order_of_atoms_is_checked_by_element(tmp_path):
    start, frames = make_frames(False)
    sorted_atoms = start[np.argsort(start.numbers, kind="stable")]
    for columns, names in ((["type"], "element"), (["type", "element"], None)):
        text = dump_text(start, frames)
        lines = []
        for line in text.splitlines():
            words = line.split()
            head = 2 if words[:2] == ["ITEM:", "ATOMS"] else 0
            if head or len(words) == 12:  # id type element x y z and the tensor
                keep = [head + 1, head + 2] if columns == ["type", "element"] else [head + 1]
                words = [word for number, word in enumerate(words) if number not in keep]
            lines.append(" ".join(words))
        (tmp_path / "run.dump").write_text("\n".join(lines) + "\n")
        if names:
            with pytest.raises(DataError, match=r"of the dump: atom \d+ is [A-Z]\w?, in the structure [A-Z]"):
                imported(tmp_path, sorted_atoms, [tmp_path / "run.dump"])
        else:
            _, run = imported(tmp_path, start, [tmp_path / "run.dump"])
            assert "the dump has neither type nor element" in run.notes[0] and len(run.notes) == 1
    assert is_dump(tmp_path / "run.dump")
    (tmp_path / "run.efg").write_text(dump_text(start, frames))
    assert is_dump(tmp_path / "run.efg") and not is_dump(tmp_path / "none.xyz")


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_compressed_dumps_say_so(tmp_path, damage):
    start, frames = make_frames(False)
    content = bytearray(gzip.compress(dump_text(start, frames).encode()))
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 0xFF
        content[len(content) // 2 + 1] ^= 0xFF
    (tmp_path / "run.dump.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"run\.dump\.gz"):
        imported(tmp_path, start, [tmp_path / "run.dump.gz"])


@pytest.mark.parametrize("tilt", [(0.9, -0.7, 0.4), (0.9, 0.7, -0.4), (-0.9, -0.7, -0.4), (-0.9, 0.7, 0.4)])
def test_bounds_of_tilted_boxes(tmp_path, tilt):
    """A dump gives the bounds of the box around the tilted cell; which corners reach them depends on the signs."""
    start, frames = make_frames(True)
    step, cell, scaled, efg = frames[0]
    cell = np.array([*cell[:3], *tilt])
    (tmp_path / "run.dump").write_text(dump_text(start, [(step, cell, scaled, efg)], "unwrapped"))
    (found,) = Dump([tmp_path / "run.dump"])
    np.testing.assert_allclose(found.cell, cell, atol=1e-9)
    np.testing.assert_allclose(found.scaled, scaled, atol=1e-9)
