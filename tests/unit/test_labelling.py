"""k-points that mean the same in every supercell, and the command around the calculations (these: tests/labelling)."""

import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.lj import LennardJones
from ase.dft.kpoints import monkhorst_pack
from ase.io import read, write
from scipy.spatial.transform import Rotation

from efgmd.errors import ConfigError, DataError
from efgmd.frames.labels import LabelKeys
from efgmd.frames.readers import read_frames
from efgmd.labelling.gpaw_worker import calculate
from efgmd.labelling.interpreter import gpaw_python
from efgmd.labelling.kpoints import Mesh, folded, parse_mesh, parse_primitive, supercell_matrix
from efgmd.labelling.label import Settings, _jobs, label

CUBIC = 6.3 * np.eye(3)
#: Rows of sqrt2 x sqrt2 x 2 cells in units of the cubic cell.
ROOT2 = np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]])


def modulo(points):
    """Points in [0, 1), in an order that does not depend on theirs."""
    points = np.round(np.asarray(points) % 1.0, 6) % 1.0
    return points[np.lexsort(points.T)]


def test_meshes_are_those_of_monkhorst_and_pack():
    np.testing.assert_allclose(modulo(Mesh((4, 4, 2), "shifted").points()), modulo(monkhorst_pack((4, 4, 2))))
    np.testing.assert_allclose(modulo(Mesh((3, 1, 3)).points()), modulo(monkhorst_pack((3, 1, 3))))
    both = np.vstack([monkhorst_pack((2, 2, 2)), monkhorst_pack((2, 2, 2)) + 0.25])
    np.testing.assert_allclose(modulo(Mesh((2, 2, 2), "bcc").points()), modulo(both))


SPARSE = ((1, 1, 4), (2, -2, 2), (0, 0, 12))


def test_a_mesh_by_its_supercell_samples_that_supercell():
    """The mean of exp(2 pi i k R) is 1 or -1 for vectors R of the supercell, by the shift, and 0 for all others."""
    same = [Mesh(((4, 0, 0), (0, 4, 0), (0, 0, 2)), kind) for kind in ("gamma", "shifted", "bcc")]
    for mesh in same:
        np.testing.assert_allclose(modulo(mesh.points()), modulo(Mesh((4, 4, 2), mesh.kind).points()))
    vectors = np.array(list(np.ndindex(9, 9, 9))) - 4
    steps = vectors @ np.linalg.inv(SPARSE)
    inside = np.abs(steps - np.round(steps)).max(axis=1) < 1e-9
    signs = {"gamma": np.ones(len(steps)), "shifted": (-1.0) ** np.round(steps).sum(axis=1)}
    for kind, sign in signs.items():
        points = Mesh(SPARSE, kind).points()
        assert len(points) == 48
        assert points.min() >= 0
        assert points.max() < 1
        means = np.exp(2j * np.pi * (vectors @ points.T)).mean(axis=1)
        np.testing.assert_allclose(means, np.where(inside, sign, 0.0), atol=1e-9)


def test_the_body_centred_set_folds_from_sixteen_points_to_four():
    mesh = Mesh((2, 2, 2), "bcc")
    assert len(folded(mesh, np.eye(3, dtype=int), "f")) == 16
    assert len(folded(mesh, ROOT2, "f")) == 4


@pytest.mark.parametrize(
    ("mesh", "matrix"),
    [
        *product(
            [Mesh((4, 4, 4)), Mesh((4, 4, 4), "shifted"), Mesh((4, 4, 4), "bcc")],
            [ROOT2, np.diag([2, 2, 1]), [[0, 1, 1], [1, 0, 1], [1, 1, 0]]],
        ),
        (Mesh(SPARSE, "shifted"), ROOT2),
    ],
)
def test_a_folded_set_samples_lattice_functions_alike(mesh, matrix):
    """The mean of exp(2 pi i k n) over a set must be the same for every vector n of the superlattice."""
    matrix = np.array(matrix)
    points = folded(mesh, matrix, "f")
    assert len(points) * abs(round(np.linalg.det(matrix))) == len(mesh.points())
    steps = np.array(list(np.ndindex(5, 5, 5))) - 2

    def means(points, vectors):
        return np.exp(2j * np.pi * (vectors @ points.T)).mean(axis=1)

    np.testing.assert_allclose(means(points, steps), means(mesh.points(), steps @ matrix), atol=1e-7)


def test_supercells_are_recognised_however_they_lie():
    rng = np.random.default_rng(0)
    for matrix in (np.eye(3), ROOT2, np.diag([2, 2, 2]), np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])):
        for _ in range(5):
            strain = np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))
            turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
            upright = matrix @ CUBIC @ strain
            found = supercell_matrix(upright, CUBIC, "f")
            np.testing.assert_array_equal(found, matrix)
            turned = supercell_matrix(upright @ turn.T, CUBIC, "f")
            assert abs(np.linalg.det(turned)) == pytest.approx(abs(np.linalg.det(matrix)))
            np.testing.assert_array_equal(turned @ turned.T, matrix @ matrix.T)
            # The lattice is cubic, so turned copies have the same set.
            sets = [modulo(folded(Mesh((4, 4, 4), "bcc"), each, "f")) for each in (found, turned)]
            np.testing.assert_allclose(*sets, atol=1e-6)


def test_supercells_of_a_hexagonal_lattice():
    primitive = bulk("Mg").cell.array
    cell = make_supercell(bulk("Mg"), [[2, 1, 0], [0, 2, 0], [0, 0, 3]]).cell.array
    matrix = supercell_matrix(cell, primitive, "f")
    metric = primitive @ primitive.T
    np.testing.assert_allclose(matrix @ metric @ matrix.T, cell @ cell.T, atol=1e-9)


def test_what_is_no_supercell_or_cannot_carry_the_mesh():
    with pytest.raises(DataError, match=r"f\.xyz, frame 3: its cell \(7\.560 7\.560 7\.560 angstrom\) is no supercell"):
        supercell_matrix(7.56 * np.eye(3), CUBIC, "f.xyz, frame 3")
    with pytest.raises(DataError, match=r"frame 3: the 8 k-points of 2x2x2 do not fold into this supercell of 27"):
        folded(Mesh((2, 2, 2)), 3 * np.eye(3, dtype=int), "f.xyz, frame 3")


def test_meshes_as_they_are_written():
    assert parse_mesh("2x2x2:bcc", None) == Mesh((2, 2, 2), "bcc")
    assert parse_mesh("gamma", None) == Mesh((1, 1, 1))
    assert str(parse_mesh("4x4x2:shifted", None)) == "4x4x2:shifted"
    # 2 pi / 6.3 = 0.997: a spacing of 0.5 needs two points, one of 0.3 four.
    assert parse_mesh("spacing=0.5", CUBIC) == Mesh((2, 2, 2))
    assert parse_mesh("spacing=0.3:bcc", parse_primitive("6.3,6.3,12.6")) == Mesh((4, 4, 2), "bcc")
    np.testing.assert_allclose(parse_primitive("3,3,5,90,90,120")[1], [-1.5, 1.5 * 3**0.5, 0], atol=1e-12)
    assert parse_mesh("1,1,4/2,-2,2/0,0,12:shifted", None) == Mesh(SPARSE, "shifted")
    assert str(Mesh(SPARSE, "shifted")) == "1,1,4/2,-2,2/0,0,12:shifted"
    wrong_rows = "1,1,4/2,-2,2", "1,1,4/2,-2,2/3,-1,6", "1,1,4/2,-2,2/0,0,12/", "1,1,4/2,-2,2/0,0,12:odd"
    assert len(parse_mesh("29x31x37", None).points()) == 29 * 31 * 37
    for text in ("1,1,12,-2,2/0,0,12", "2x2", "2x2x0", "2x2x2:odd", "spacing=0", "dense", "gamma:bcc", *wrong_rows):
        with pytest.raises(ConfigError, match=f"--kpoints {text}: write 2x2x2"):
            parse_mesh(text, CUBIC)
    with pytest.raises(ConfigError, match=r"a spacing needs the primitive cell \(--primitive\)"):
        parse_mesh("spacing=0.3", None)
    for text in ("6.3", "6.3,6.3,0", "a,b,c", "1,1,1,90,90,0"):
        with pytest.raises(ConfigError, match=f"--primitive {text}: write the lengths"):
            parse_primitive(text)


def program(path, body):
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_interpreter_is_checked_before_anything_runs(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"none: no such program; choose another with --python or EFGMD_GPAW_PYTHON"):
        gpaw_python(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"cannot import GPAW \(.*No module named 'gpaw'\).*apt install .*gpaw"):
        gpaw_python(sys.executable)
    monkeypatch.setenv("EFGMD_GPAW_PYTHON", program(tmp_path / "new", "echo 25.1.0 data"))
    with pytest.raises(
        ConfigError, match=r"new: has GPAW 25\.1\.0, but the tensors are taken from the insides of 22\.8"
    ):
        gpaw_python(None)
    with pytest.raises(ConfigError, match="GPAW finds no atomic data sets; install gpaw-data"):
        gpaw_python(program(tmp_path / "bare", "echo 22.8.0 none"))


#: Stands for a Python with GPAW: answers the probe, and "computes" from the job alone.
STAND_IN = """#!{python}
import json, sys, time
import numpy as np
if sys.argv[1] == "-c":
    print("22.8.0 data")
    sys.exit()
job = json.load(open(sys.argv[2]))
with open({calls!r}, "a") as calls:
    calls.write(sys.argv[3] + chr(10))
if job["numbers"][0] == 2 and {fail}:
    sys.exit("KohnShamConvergenceError: not converged")
n = len(job["numbers"])
V = np.tile(np.diag([-0.5, -0.5, 1.0]) * job["numbers"][0], (n, 1, 1))
F = np.array(job["numbers"])[:, None] * np.array(job["positions"])  # another on each atom
np.savez(sys.argv[3], V=V, E=-1.5 * n, F=F, gap=2.0, sym=np.array(["Ne"] * n), pos=job["positions"],
         cell=job["cell"], method="stand-in", identity=job["identity"])
"""


def stand_in(folder, fail=False):
    path = folder / "stand_in"
    path.write_text(STAND_IN.format(python=sys.executable, calls=str(folder / "calls"), fail=fail))
    path.chmod(0o755)
    return str(path)


def noble(folder, *symbols, n=2):
    path = folder / "in.xyz"
    frames = [
        Atoms([symbol] * n, positions=[[0, 0, 2.0 * k] for k in range(n)], cell=[4, 4, 2 * n], pbc=True)
        for symbol in symbols
    ]
    for number, atoms in enumerate(frames):
        atoms.info["tag"] = f"run-{number}"
    write(path, frames, format="extxyz")
    return path


def test_finished_frames_are_kept_and_failed_ones_tried_again(tmp_path):
    source, output = noble(tmp_path, "Ne", "He", "Ar"), tmp_path / "out.xyz"
    settings = Settings(Mesh((2, 2, 2)))
    with pytest.raises(
        DataError, match=r"in\.xyz, frame 1: KohnShamConvergenceError: not converged \(see .*00001\.txt"
    ):
        label(source, output, settings, processes=2, python=stand_in(tmp_path, fail=True))
    assert [atoms.info["tag"] for atoms in read_frames(output, require=("efg",))] == ["run-0", "run-2"]
    assert len((tmp_path / "calls").read_text().split()) == 3
    label(source, output, settings, processes=2, python=stand_in(tmp_path))
    frames = read_frames(output, require=("efg",))
    assert [atoms.arrays["efg"][0, 2, 2] for atoms in frames] == [10, 2, 18]
    assert [atoms.info["efg_kpoints"] for atoms in frames] == ["2x2x2"] * 3
    assert read(output, 0).info["dft_energy"] == -3.0
    assert len((tmp_path / "calls").read_text().split()) == 4  # only the one that was left
    (finished,) = read_frames(tmp_path / "out.xyz.frames" / "00002.npz", require=("efg",))
    np.testing.assert_allclose(finished.arrays["efg"], frames[2].arrays["efg"])


def test_results_of_other_settings_are_not_taken(tmp_path):
    source, output = noble(tmp_path, "Ne"), tmp_path / "out.xyz"
    label(source, output, Settings(Mesh((2, 2, 2))), python=stand_in(tmp_path))
    with pytest.raises(DataError, match=r"00000\.npz: is of another structure or other settings than frame 0"):
        label(source, output, Settings(Mesh((2, 2, 2)), cutoff=30.0), python=stand_in(tmp_path))
    (tmp_path / "out.xyz.frames" / "00000.npz").write_text("damage")
    with pytest.raises(DataError, match=r"00000\.npz: is damaged .*; remove it and label the frame again"):
        label(source, output, Settings(Mesh((2, 2, 2))), python=stand_in(tmp_path))


def test_frames_of_several_sizes_need_a_primitive_cell(tmp_path):
    path = noble(tmp_path, "Ne", "Ne")
    frames = read(path, ":")
    write(path, [frames[0], frames[1].repeat((1, 1, 2))], format="extxyz")
    output, python = tmp_path / "out.xyz", stand_in(tmp_path)
    with pytest.raises(DataError, match=r"frames of 2 and 4 atoms, for which 2x2x2 would not be the same k-points"):
        label(path, output, Settings(Mesh((2, 2, 2))), python=python)
    label(path, output, Settings(Mesh((2, 2, 2)), 4 * np.eye(3)), python=python)
    assert len(read(output, ":")) == 2
    frames[0].pbc = False
    write(path, frames[0], format="extxyz")
    with pytest.raises(DataError, match="frame 0: is not periodic along all axes; put molecules into a periodic box"):
        label(path, output, Settings(Mesh((1, 1, 1))), python=python)
    with pytest.raises(ConfigError, match=r"out\.magres: labelled frames are written as extended XYZ"):
        label(path, tmp_path / "out.magres", Settings(Mesh((1, 1, 1))), python=python)


def test_the_source_is_not_replaced(tmp_path):
    source = noble(tmp_path, "Ne", "He")
    before = source.read_bytes()
    with pytest.raises(ConfigError, match="holds the frames to label"):
        label(source, source, Settings(Mesh((2, 2, 2))), python=stand_in(tmp_path))
    assert source.read_bytes() == before


def test_jobs_have_the_folded_points_and_the_functional():
    """Twice the primitive cell along z needs half of the points along z."""
    cell = Atoms("Ne", cell=[4, 4, 4], pbc=True)
    settings = Settings(Mesh((2, 2, 2)), 4 * np.eye(3), xc="PBEsol")
    one, two = _jobs([cell, cell.repeat((1, 1, 2))], settings, Path("frames.xyz"))
    assert len(one["kpoints"]) == 8 and len(two["kpoints"]) == 4
    assert {point[2] % 1 for point in two["kpoints"]} == {0.0} and one["xc"] == two["xc"] == "PBEsol"


def test_forces_and_energy_arrive_at_their_atoms(tmp_path):
    """In the order of the source, whatever the elements, in eV/angstrom and eV under names that say whose they are."""
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    rng = np.random.default_rng(4)
    frames = [Atoms("ArNeAr", positions=rng.uniform(0, 4, (3, 3)), cell=[4, 4, 4], pbc=True) for _ in range(2)]
    write(source, frames, format="extxyz")
    label(source, output, Settings(Mesh((1, 1, 1))), processes=1, python=stand_in(tmp_path))
    named = read_frames(output)
    chosen = read_frames(output, LabelKeys(energy="dft_energy", forces="dft_forces"), require=("energy", "forces"))
    results = [read_frames(tmp_path / "out.xyz.frames" / f"{number:05d}.npz")[0] for number in (0, 1)]
    for atoms, plain, taken, result in zip(frames, named, chosen, results, strict=True):
        expected = np.array([[18], [10], [18]]) * atoms.positions
        np.testing.assert_allclose(plain.arrays["dft_forces"], expected, atol=1e-6)
        np.testing.assert_allclose(taken.calc.results["forces"], expected, atol=1e-6)
        np.testing.assert_allclose(result.arrays["dft_forces"], expected, atol=1e-6)
        assert plain.info["dft_energy"] == taken.calc.results["energy"] == -4.5
        assert plain.calc is None or not {"energy", "forces"} & set(plain.calc.results)


def test_the_worker_gives_the_forces_of_its_calculator(monkeypatch, tmp_path):
    """A Lennard-Jones crystal in place of GPAW: its energy (eV), forces (eV/angstrom) and settings (Hartree to eV)."""
    made = {}

    class Calculator(LennardJones):
        def __init__(self, **settings):
            super().__init__(sigma=2.2, epsilon=0.05, rc=4.0)
            made.update(settings)

        def get_homo_lumo(self):
            return np.array([-1.5, made["gap"] - 1.5])

    gpaw = SimpleNamespace(__version__="22.8.0", GPAW=Calculator, PW=lambda cutoff: cutoff, Mixer=lambda *_: None)
    monkeypatch.setitem(sys.modules, "gpaw", gpaw)
    monkeypatch.setitem(sys.modules, "gpaw.eigensolvers", SimpleNamespace(Davidson=lambda _: None))
    tensors = np.arange(27.0).reshape(3, 3, 3)
    monkeypatch.setitem(sys.modules, "gpaw_efg", SimpleNamespace(efg_tensors=lambda _: tensors))
    atoms = Atoms("ArNeAr", positions=[[0, 0, 0], [2.4, 0.2, 0], [0.3, 2.1, 2.2]], cell=[4.6, 4.8, 5], pbc=True)
    (job,) = _jobs([atoms], Settings(Mesh((2, 1, 1)), cutoff=30.0), Path("frames.xyz"))
    made["gap"] = 2.5
    found = calculate(job, str(tmp_path / "log"))
    atoms.calc = LennardJones(sigma=2.2, epsilon=0.05, rc=4.0)
    np.testing.assert_allclose(found["F"], atoms.get_forces(), atol=1e-12)
    assert np.abs(found["F"]).max() > 0.01
    assert found["E"] == pytest.approx(atoms.get_potential_energy()) and found["gap"] == pytest.approx(2.5)
    assert found["sym"] == ["Ar", "Ne", "Ar"] and found["V"] is tensors
    np.testing.assert_allclose(found["pos"], atoms.positions)
    assert made["mode"] == pytest.approx(30 * 27.211386, rel=1e-6) and made["xc"] == "PBE"
    assert len(made["kpts"]) == 2 and found["identity"] == job["identity"]
    made["gap"] = 0.0
    with pytest.raises(ValueError, match="no band gap"):
        calculate(job, str(tmp_path / "log"))
