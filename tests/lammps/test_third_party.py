"""Third-party ML-IAP objects: a Lennard-Jones class driven through the data object against LAMMPS' own lj/cut."""

import subprocess
import sys

import numpy as np
import pytest
from lammps_cases import columns, read_dump, run_lmp, succeed

OBJECTS = '''
"""Lennard-Jones as an ML-IAP unified object, in two ways of handing over results."""
import numpy as np

class Base:
    element_types = ["Ar", "Kr"]
    ndescriptors = nparams = 1
    rcutfac = 2.5
    epsilon, sigma = 0.01, 2.0
    def compute_gradients(self, data): pass
    def compute_descriptors(self, data): pass
    def pairs(self, data):
        assert data.rij.shape == (data.npairs, 3) and data.npairs == data.numneighs.sum()
        assert np.array_equal(data.pair_j, data.jatoms) and data.f.shape == (data.ntotal, 3)
        assert np.array_equal(data.elems[data.pair_i], np.repeat(data.ielems, data.numneighs))
        assert np.array_equal(data.elems[data.jatoms], data.jelems) and data.pair_i.max() < data.nlocal
        square = (data.rij**2).sum(1)
        six = (self.sigma**2 / square) ** 3
        energies = 4 * self.epsilon * (six**2 - six)
        slopes = 4 * self.epsilon * (6 * six - 12 * six**2) / square
        return energies, slopes[:, None] * data.rij

class ByPairs(Base):
    def compute_forces(self, data):
        energies, gradients = self.pairs(data)
        data.update_pair_energy(energies)
        data.update_pair_forces(0.5 * gradients)

class ByAtoms(Base):
    def compute_forces(self, data):
        energies, gradients = self.pairs(data)
        rows = np.searchsorted(data.iatoms, data.pair_i, sorter=(order := np.argsort(data.iatoms)))
        data.eatoms = 0.5 * np.bincount(order[rows], weights=energies, minlength=data.nlistatoms)
        data.energy = data.eatoms.sum() if data.nlistatoms else 0.0
        data.update_pair_forces(0.5 * gradients)

class Nothing: pass
'''
MAKE = """
import pickle, sys
import objects
class InMain(objects.ByPairs): pass
for name in ("ByPairs", "ByAtoms", "Nothing"):
    pickle.dump(getattr(objects, name)(), open(name + ".pickle", "wb"))
pickle.dump(InMain(), open("InMain.pickle", "wb"))
"""
SYSTEM = """
units metal
atom_modify map array
lattice fcc 3.2
region box block 0 5 0 4 0 4
create_box 2 box
create_atoms 1 box
change_box all triclinic
change_box all xy final 1.0 xz final 0.5 yz final -0.8 remap units box
set type 1 type/ratio 2 0.5 17
mass * 40.0
displace_atoms all random 0.1 0.1 0.1 8
{pair}
compute energy all pe/atom
compute stress all stress/atom NULL virial
thermo_style custom step pe pxx pyy pzz pxy pxz pyz
thermo_modify format float %.16g norm no
dump 1 all custom 5 {name}.dump id fx fy fz c_energy c_stress[*]
dump_modify 1 format float %.17g
timestep 0.001
velocity all create 300 4 loop geom
fix 1 all nve
run 5
"""
REFERENCE = "pair_style lj/cut 5.0\npair_coeff * * 0.01 2.0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with the pickled objects."""
    folder = tmp_path_factory.mktemp("third_party")
    (folder / "objects.py").write_text(OBJECTS)
    subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True)
    return folder


def mliap(name):
    """The pair commands of a pickled object."""
    return f"pair_style mliap unified {name}.pickle 0\npair_coeff * * Ar Kr"


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", ["ByPairs", "ByAtoms"])
def test_lennard_jones_object_equals_lj_cut(folder, name, ranks):
    permitted = {"EFGMD_ALLOW_PICKLE": "1", "PYTHONPATH": str(folder)}
    ours = succeed(folder, SYSTEM.format(pair=mliap(name), name="ours"), ranks, **permitted).thermo()
    theirs = succeed(folder, SYSTEM.format(pair=REFERENCE, name="theirs"), ranks).thermo()
    for key in ("PotEng", "Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz"):
        assert ours[key] == pytest.approx(theirs[key], rel=1e-9, abs=1e-6)
    for a, b in zip(read_dump(folder / "ours.dump"), read_dump(folder / "theirs.dump"), strict=True):
        for names in (["fx", "fy", "fz"], ["c_energy"], [f"c_stress[{c + 1}]" for c in range(6)]):
            assert np.abs(columns(a, *names) - columns(b, *names)).max() < 1e-9 * np.abs(columns(b, *names)).max()


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    ("name", "allowed", "parts"),
    [
        ("ByPairs", "0", ["ByPairs.pickle is not an efgmd model file", "EFGMD_ALLOW_PICKLE=1"]),
        ("InMain", "1", ["cannot be unpickled", "must be importable, not defined in __main__", "PYTHONPATH"]),
        ("Nothing", "1", ["holds a Nothing, not an ML-IAP unified object"]),
    ],
)
def test_object_is_refused(folder, name, allowed, parts, ranks):
    deck = SYSTEM.format(pair=mliap(name), name="refused")
    finished = run_lmp(folder, deck, ranks, EFGMD_ALLOW_PICKLE=allowed, PYTHONPATH=str(folder))
    assert finished.status != 0
    (line,) = finished.errors
    for part in parts:
        assert part in line
    assert finished.seconds < 5.0
