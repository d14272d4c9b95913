"""lj/cut as a Python object reproduces LAMMPS' own lj/cut: trajectory, pressure, energy and stress of each atom.

Every setup runs with the two objects of `lennard_jones`, all in one launch for each number of ranks. The reference is
LAMMPS' own style on one rank. Atoms are hot, so that a few steps take some of them to other ranks.
"""

import pickle
from functools import cache
from pathlib import Path
from typing import NamedTuple

import lennard_jones
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from lammps_cases import PRECISE, columns, read_dump, succeed, write_data

OBJECTS = ("ByPairs", "ByAtoms")
STYLES = {
    "lj_cut": lennard_jones.LJ_CUT,
    **{name: f"pair_style mliap unified {name}.pickle 0\npair_coeff * * Ar Kr\n" for name in OBJECTS},
}
PRESSURE = ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")
BOX = ("Lx", "Ly", "Lz", "Xy", "Xz", "Yz")
RELATIVE = 1e-9


class Setup(NamedTuple):
    """A structure, the boundaries of its box, what moves it, and whether ranks share x alone."""

    atoms: Atoms
    move: str = "nve"
    boundary: str = "p p p"
    along_x: bool = False


def crystal(repeat, shear=0.0, seed=0):
    """A shaken fcc crystal of both elements; `shear` makes its cell triclinic."""
    random = np.random.default_rng(seed)
    atoms = bulk("Ar", "fcc", 3.2, cubic=True).repeat(repeat)
    atoms.symbols[random.random(len(atoms)) < 0.4] = "Kr"
    atoms.positions += random.normal(scale=0.08, size=atoms.positions.shape)
    if shear:
        cell = atoms.cell.array.copy()
        cell[1, 0], cell[2, 0], cell[2, 1] = shear * cell[0, 0], -0.6 * shear * cell[0, 0], 0.5 * shear * cell[1, 1]
        atoms.set_cell(cell, scale_atoms=True)
    return atoms


def in_vacuum(atoms, axes, length):
    """The atoms away from the faces of a box that is `length` long along `axes`."""
    cell = atoms.cell.array.copy()
    for axis in axes:
        cell[axis, axis] = length
        atoms.positions[:, axis] += 2.0
    atoms.set_cell(cell)
    return atoms


def cluster_and_loner():
    """A cluster in the first quarter of a long box and an atom alone in the last: two quarters are empty."""
    atoms = in_vacuum(crystal((3, 3, 3), seed=1), (0, 1, 2), 30.0)
    atoms.set_cell([80.0, 30.0, 30.0])
    return atoms + Atoms("Kr", positions=[(70.0, 15.0, 15.0)])


SETUPS = {
    "bulk": Setup(crystal((4, 4, 4), shear=0.2)),
    "empty ranks": Setup(cluster_and_loner(), along_x=True),
    "slab with fixed faces": Setup(in_vacuum(crystal((4, 4, 2), seed=2), [2], 24.0), boundary="p p f"),
    "slab with shrinking faces": Setup(in_vacuum(crystal((4, 4, 2), seed=3), [2], 24.0), boundary="p p s"),
    "free cluster": Setup(in_vacuum(crystal((3, 3, 3), seed=4), (0, 1, 2), 20.0), boundary="f s m"),
    "npt iso": Setup(crystal((4, 4, 3), seed=5), "npt temp 2000 2000 0.05 iso 0 5000 0.05"),
    "npt aniso": Setup(crystal((4, 3, 4), seed=6), "npt temp 2000 2000 0.05 aniso 0 5000 0.05"),
    "npt tri": Setup(crystal((3, 4, 4), shear=0.2, seed=7), "npt temp 2000 2000 0.05 tri 0 5000 0.05"),
}


def deck(number, setup, style, ranks):
    """One run of a setup, from a clean state; everything is dumped every 10 steps."""
    return f"""
clear
units metal
boundary {setup.boundary}
{f"processors {ranks} 1 1" if setup.along_x else ""}
read_data {number}.data
{"change_box all triclinic" if " tri" in setup.move else ""}
{STYLES[style]}
neighbor 0.4 bin
neigh_modify every 1 delay 0 check yes
compute energy all pe/atom
compute stress all stress/atom NULL virial
compute centroid all centroid/stress/atom NULL virial
compute rank all property/atom proc
thermo_style custom step pe etotal {" ".join((*PRESSURE, *BOX)).lower()}
{PRECISE}
thermo 10
timestep 0.002
fix move all {setup.move}
dump 1 all custom 10 {number}.{style}.dump id xu yu zu vx vy vz fx fy fz c_energy c_stress[*] c_centroid[*] c_rank
dump_modify 1 format float %.17g
run 20
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """`runs(ranks)[setup, style]`: thermodynamic columns and dumped frames; one launch for all."""

    @cache
    def launch(ranks):
        folder = tmp_path_factory.mktemp(f"lennard_jones_{ranks}")
        styles = STYLES if ranks == 1 else OBJECTS
        for name in OBJECTS:
            (folder / f"{name}.pickle").write_bytes(pickle.dumps(getattr(lennard_jones, name)()))
        script = ""
        for number, setup in enumerate(SETUPS.values()):
            velocities = np.random.default_rng(number).normal(scale=10.0, size=(len(setup.atoms), 3))
            write_data(folder / f"{number}.data", setup.atoms, lennard_jones.TYPES, velocities)
            script += "".join(deck(number, setup, style, ranks) for style in styles)
        permitted = {"EFGMD_ALLOW_PICKLE": "1", "PYTHONPATH": str(Path(__file__).parent)}
        finished = succeed(folder, script, ranks, **permitted)
        keys = [(name, number, style) for number, name in enumerate(SETUPS) for style in styles]
        return {
            (name, style): (finished.thermo(k), read_dump(folder / f"{number}.{style}.dump"))
            for k, (name, number, style) in enumerate(keys)
        }

    return launch


def assert_close(ours, theirs, what):
    """Equal to RELATIVE of the largest value."""
    assert np.abs(ours - theirs).max() <= RELATIVE * np.abs(theirs).max(), what


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("style", OBJECTS)
@pytest.mark.parametrize("setup", SETUPS)
def test_trajectory_is_that_of_lj_cut(runs, setup, style, ranks):
    ours, our_frames = runs(ranks)[setup, style]
    theirs, their_frames = runs(1)[setup, "lj_cut"]
    for names in (["PotEng"], ["TotEng"], PRESSURE, BOX):
        table, expected = (np.stack([t[name] for name in names]) for t in (ours, theirs))
        assert expected.shape[1] == 3
        assert_close(table, expected, names)
    assert [frame["step"] for frame in our_frames] == [0, 10, 20]
    for ours, theirs in zip(our_frames, their_frames, strict=True):
        for names in (["xu", "yu", "zu"], ["vx", "vy", "vz"], ["fx", "fy", "fz"], ["c_energy"]):
            assert_close(columns(ours, *names), columns(theirs, *names), names)
        for compute, size in (("c_stress", 6), ("c_centroid", 9)):
            names = [f"{compute}[{c + 1}]" for c in range(size)]
            assert_close(columns(ours, *names), columns(theirs, *names), names)


def test_setups_are_what_they_say(runs):
    """Atoms change ranks, ranks are empty, boxes change: otherwise the comparison above would show little."""
    _, frames = runs(4)["bulk", "ByPairs"]
    assert np.any(frames[0]["c_rank"] != frames[-1]["c_rank"])
    _, frames = runs(4)["empty ranks", "ByPairs"]
    assert set(frames[-1]["c_rank"]) == {0, 3}
    for setup, changing in (("npt iso", "Lx Ly Lz"), ("npt aniso", "Lx Ly Lz"), ("npt tri", " ".join(BOX))):
        thermo, _ = runs(4)[setup, "ByPairs"]
        assert all(abs(thermo[name][-1] - thermo[name][0]) > 1e-3 for name in changing.split()), setup
    thermo, _ = runs(4)["slab with shrinking faces", "ByPairs"]
    assert thermo["Lz"][0] < 12.0
