"""Exported energy models: the file that another LAMMPS reads gives what the model file itself gives."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from lammps_cases import (
    ELEMENTS,
    PRECISE,
    columns,
    header,
    perovskite,
    read_dump,
    succeed,
    write_data,
)

from efgmd.coupling.export import UnifiedEnergy, export_mliap
from efgmd.coupling.mliap import NativeEnergy
from efgmd.errors import CouplingError, ModelFileError

VALUES = f"""
compute energy all pe/atom
compute stress all stress/atom NULL virial
thermo_style custom step pe pxx pyy pzz pxy pxz pyz
{PRECISE}
dump 1 all custom 1 {{name}}.dump id fx fy fz c_energy c_stress[*]
dump_modify 1 format float %.17g
run 0
"""


class PlainData:
    """The data object of LAMMPS' own coupling without Kokkos: arrays may be missing, results can only be written."""

    def __init__(self, elements, centres, pair_i, pair_j, vectors):
        self.elems, self.iatoms = np.asarray(elements, np.int32), np.asarray(centres, np.int32)
        self.nlistatoms, self.ntotal, self.npairs = len(centres), len(elements), len(pair_i)
        self.pair_i = np.asarray(pair_i, np.int32) if len(pair_i) else None
        self.pair_j = np.asarray(pair_j, np.int32) if len(pair_i) else None
        self.rij = vectors if len(pair_i) else None
        if not len(centres):
            self.iatoms = self.elems = None
        self.energy, self.written, self.forces = 123.0, None, np.zeros((len(elements), 3))

    eatoms = property(None, lambda self, values: setattr(self, "written", np.array(values)))

    def update_pair_forces(self, fij):
        assert fij.shape == (self.npairs, 3) and fij.dtype == np.float64 and fij.flags.c_contiguous and self.npairs
        np.add.at(self.forces, self.pair_i, fij)
        np.subtract.at(self.forces, self.pair_j, fij)


class KokkosData(PlainData):
    """Its Kokkos form, in which energies can be read and are filled in place."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.written = np.full(self.nlistatoms, 123.0)

    eatoms = property(lambda self: self.written)


@pytest.fixture(scope="module")
def cluster():
    """Elements, ordered pairs and vectors of atoms that are close, with one atom of no element (-1)."""
    random = np.random.default_rng(5)
    places = random.uniform(0, 7, size=(14, 3))
    elements = random.integers(0, len(ELEMENTS), size=14)
    elements[6] = -1
    pair_i, pair_j = np.nonzero(~np.eye(14, dtype=bool))
    near = np.linalg.norm(places[pair_j] - places[pair_i], axis=1) < 4.5
    pair_i, pair_j = pair_i[near], pair_j[near]
    return elements, pair_i, pair_j, places[pair_j] - places[pair_i]


@pytest.mark.parametrize("form", [PlainData, KokkosData])
@pytest.mark.parametrize("ordered", [True, False])
def test_data_object_of_lammps(models, cluster, form, ordered):
    """Against an evaluation of each atom by itself, with pairs in any order and atoms of no element left out."""
    elements, pair_i, pair_j, vectors = cluster
    order = np.arange(len(pair_i)) if ordered else np.random.default_rng(1).permutation(len(pair_i))
    centres = np.arange(14) if ordered else np.random.default_rng(2).permutation(14)
    data = form(elements, centres, pair_i[order], pair_j[order], vectors[order])
    unified = pickle.loads(pickle.dumps(UnifiedEnergy(str(models / "energy.safetensors"), "float64")))
    for _ in range(2):
        data.forces[:] = 0.0
        unified.compute_gradients(data)
        unified.compute_descriptors(data)
        unified.compute_forces(data)

    energy = NativeEnergy(str(models / "energy.safetensors"), "float64")
    expected, forces = np.zeros(14), np.zeros((14, 3))
    for atom in np.flatnonzero(elements >= 0):
        of = (pair_i == atom) & (elements[pair_j] >= 0)
        arguments = elements[[atom]], np.array([0, of.sum()]), elements[pair_j[of]], np.ascontiguousarray(vectors[of])
        (expected[atom],), pulls = energy.evaluate(*arguments)
        forces[atom] += pulls.sum(0)
        np.subtract.at(forces, pair_j[of], pulls)
    assert data.written == pytest.approx(expected[centres], abs=1e-12)
    assert data.energy == pytest.approx(expected.sum(), abs=1e-12)
    assert data.forces == pytest.approx(forces, abs=1e-12)
    assert not forces[6].any()


@pytest.mark.parametrize("form", [PlainData, KokkosData])
def test_nothing_to_do(models, form):
    """No atoms at all, atoms without neighbours, and only atoms of no element: never the energy of the step before."""
    unified = UnifiedEnergy(str(models / "energy.safetensors"), "float64")
    for elements, energy in ([], 0.0), ([0, 3, -1], -1.0 - 4.0), ([-1, -1], 0.0):
        data = form(elements, range(len(elements)), [], [], None)
        unified.compute_forces(data)
        lonely = NativeEnergy(str(models / "energy.safetensors"), "float64")
        known = np.array([e for e in elements if e >= 0], dtype=np.int64)
        none = np.zeros(0, np.int64)
        expected = lonely.evaluate(known, np.zeros(len(known) + 1, np.int64), none, np.zeros((0, 3)))[0]
        assert data.energy == pytest.approx(expected.sum(), abs=1e-12)
        assert abs(data.energy - energy) < 1.0 or not len(known)


def test_arrays_on_a_gpu_are_refused(models):
    unified = UnifiedEnergy(str(models / "energy.safetensors"), "float32")
    data = SimpleNamespace(nlistatoms=1, npairs=0, elems=memoryview(b"\0"), iatoms=memoryview(b"\0"))
    with pytest.raises(CouplingError, match="run on the CPU: run without the suffix kk"):
        unified.compute_forces(data)


@pytest.mark.parametrize("name", ["energy.mliap", "energy.pt"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_exported_model_in_the_plugin(workdir, name, ranks):
    """Read as a third party's object by this plugin, it equals the model file."""
    write_data(workdir / "start.data", perovskite(seed=40, tilt=0.1))
    export_mliap(workdir / "energy.safetensors", workdir / name, "float64")
    deck = header() + VALUES.format(name="own")
    deck += "\nclear\n" + header().replace("energy.safetensors 0 dtype float64", f"{name} 0")
    deck += VALUES.format(name="exported")
    assert deck.count(f"unified {name} 0\n") == 1
    finished = succeed(workdir, deck, ranks, EFGMD_ALLOW_PICKLE="1")
    own, exported = finished.thermo(0), finished.thermo(1)
    for key in own:
        assert exported[key] == pytest.approx(own[key], rel=1e-10, abs=1e-7), key
    (a,), (b,) = read_dump(workdir / "own.dump"), read_dump(workdir / "exported.dump")
    for names in (["fx", "fy", "fz"], ["c_energy"], [f"c_stress[{c + 1}]" for c in range(6)]):
        assert np.abs(columns(a, *names) - columns(b, *names)).max() < 1e-10 * np.abs(columns(a, *names)).max()


@pytest.mark.parametrize(
    ("model", "output", "dtype", "message"),
    [
        ("efg.safetensors", "x.mliap", "float32", "is an efg model where an energy model is needed"),
        ("missing.safetensors", "x.mliap", "float32", "does not exist"),
        ("energy.safetensors", "none/x.mliap", "float32", "cannot be written"),
        ("energy.safetensors", "none/x.pt", "float32", "cannot be written"),
        ("energy.safetensors", "x.mliap", "float16", "use float32 or float64"),
    ],
)
def test_export_is_refused(workdir, model, output, dtype, message):
    with pytest.raises(ModelFileError, match=message):
        export_mliap(workdir / model, workdir / output, dtype)
