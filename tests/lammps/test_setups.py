"""The ways people set up a simulation: whatever the settings, the last frame is what ASE finds for its positions.

All setups of one number of ranks run in one launch, one after the other with `clear` between them.
"""

import shutil
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from ase import Atoms
from ase_reference import ase_results, assert_frame_is_right, dumped_structures
from lammps_cases import ELEMENT_LIST, columns, perovskite, read_dump, run_lmp, succeed, write_data

RUN = "fix 1 all nve\nrun 8"


class Setup(NamedTuple):
    """Commands before the box exists, after the models are there, and what runs; `data` names the structure."""

    before: str = ""
    after: str = ""
    run: str = RUN
    data: str = "crystal"


SETUPS = {
    "list every step, unchecked": Setup(after="neigh_modify every 1 delay 0 check no"),
    "list seldom, thick skin": Setup(after="neighbor 2.0 bin\nneigh_modify every 4 delay 8 check yes"),
    "list without a skin": Setup(after="neighbor 0.0 bin\nneigh_modify every 1 delay 0 check no"),
    "list once": Setup(after="neighbor 2.0 bin\nneigh_modify once yes"),
    "list without bins": Setup(after="neighbor 1.0 nsq"),
    "small bins, small pages": Setup(after="neigh_modify binsize 2.5 one 500 page 5000"),
    "far ghosts": Setup(after="comm_modify cutoff 11.0"),
    "tiled, balanced": Setup(data="block", before="comm_style tiled", run=f"balance 1.0 rcb\n{RUN}"),
    "balanced while running": Setup(run=f"fix 2 all balance 3 1.0 shift xyz 5 1.05\n{RUN}"),
    "hashed map, sorted often": Setup(before="atom_modify map hash sort 2 3.0"),
    "never sorted": Setup(before="atom_modify map array sort 0 0.0"),
    "charges": Setup(before="atom_style charge"),
    "molecules": Setup(before="atom_style full"),
    "replicated": Setup(run=f"replicate 1 2 1\n{RUN}"),
    "triclinic": Setup(data="triclinic"),
    "flipping box": Setup(
        data="tilted",
        run="fix 1 all nve\nfix 2 all deform 1 xy erate 40.0 xz erate -30.0 remap v flip yes\nrun 8\nunfix 2\nrun 0",
    ),
    "constant pressure": Setup(data="triclinic", run="fix 1 all npt temp 300 300 0.05 tri 0 0 0.1\nrun 8"),
    "slab": Setup(data="slab", before="boundary p p f"),
    "shrink-wrapped slab": Setup(data="slab", before="boundary p p s"),
    "shrink-wrapped to a minimum": Setup(data="slab", before="boundary p p m"),
    "cluster": Setup(data="cluster", before="boundary s s s"),
    "cluster in a fixed box": Setup(data="cluster", before="boundary f f f"),
    "one step at a time": Setup(run="fix 1 all nve\nrun 2\nrun 3 pre no\nrun 1 every 1 NULL\nrun 2 pre no post no"),
    "minimised": Setup(run="minimize 0 0 4 20"),
    "relaxed box": Setup(data="triclinic", run="fix 2 all box/relax tri 0.0\nminimize 0 0 3 20"),
    "atoms taken away": Setup(run=f"run 2\ngroup gone id 3 17\ndelete_atoms group gone compress no\n{RUN}"),
    "atoms moved by hand": Setup(run=f"run 0\ndisplace_atoms all random 0.1 0.1 0.1 7\n{RUN}"),
    "box changed by hand": Setup(run=f"run 0\nchange_box all x scale 1.02 xy delta 0.3 remap\n{RUN}", data="triclinic"),
    "model given again": Setup(
        run=f"run 2\npair_style mliap unified energy.safetensors 0 dtype float64\npair_coeff * * {ELEMENT_LIST}\n{RUN}"
    ),
}


def structures():
    """Structures by name; boxes begin at the origin."""
    slab = perovskite((2, 2, 1), seed=2)
    slab.positions[:, 2] += 4.0
    cell = slab.cell.array.copy()
    cell[2, 2] = 15.0
    slab.set_cell(cell)
    cluster = perovskite((1, 1, 1), seed=4)
    cluster.set_cell(np.diag([16.0, 15.0, 14.0]))
    cluster.positions += 4.0
    return {
        "crystal": perovskite((2, 2, 1), seed=1),
        "block": perovskite((2, 2, 2), seed=6),
        "triclinic": perovskite((2, 1, 1), seed=3, tilt=0.1),
        "tilted": perovskite((2, 1, 1), seed=5, tilt=0.45),
        "slab": slab,
        "cluster": cluster,
    }


def write_styled(path, atoms, style):
    """A data file for an atom style."""
    write_data(path, atoms)
    if style == "atomic":
        return
    head, body = path.read_text().split("Atoms # atomic\n\n")
    rows = [line.split() for line in body.strip().splitlines()]
    molecule = [] if style == "charge" else ["1"]
    rows = [" ".join([number, *molecule, kind, "0.1", *place]) for number, kind, *place in rows]
    path.write_text(f"{head}Atoms # {style}\n\n" + "\n".join(rows) + "\n")


def deck(name, setup):
    """The commands of one setup."""
    style = next((word.split()[1] for word in setup.before.splitlines() if word.startswith("atom_style")), "atomic")
    sorting = "" if "atom_modify" in setup.before else "atom_modify map array"
    return f"""
clear
units metal
{setup.before}
{sorting}
read_data {setup.data}.{style}
mass * 10.0
pair_style mliap unified energy.safetensors 0 dtype float64
pair_coeff * * {ELEMENT_LIST}
neighbor 1.0 bin
comm_modify cutoff 7.5
compute efg all efg/atom efg.safetensors {ELEMENT_LIST} dtype float64
compute energy all pe/atom
velocity all create 2000 4 loop geom
timestep 0.001
{setup.after.replace("comm_modify cutoff 7.5", "")}
{setup.run}
write_dump all custom {name}.dump id type x y z fx fy fz c_energy c_efg[*] modify format float %.17g
"""


@pytest.fixture(scope="module")
def evaluated(models, tmp_path_factory):
    """`evaluated(ranks)`: folder with the last frame of each setup, and the finished process."""

    @cache
    def evaluate(ranks):
        folder = tmp_path_factory.mktemp(f"setups_{ranks}")
        for file in models.iterdir():
            shutil.copy(file, folder)
        for name, atoms in structures().items():
            for style in ("atomic", "charge", "full"):
                write_styled(folder / f"{name}.{style}", atoms, style)
        script = "".join(deck(name.replace(" ", "_").replace(",", ""), setup) for name, setup in SETUPS.items())
        return folder, run_lmp(folder, script, ranks)

    return evaluate


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("name", SETUPS)
def test_last_frame_is_right(models, evaluated, name, ranks):
    folder, finished = evaluated(ranks)
    path = folder / f"{name.replace(' ', '_').replace(',', '')}.dump"
    assert path.exists(), finished.output[-3000:]
    (frame,), (atoms,) = read_dump(path), dumped_structures(path)
    start = structures()[SETUPS[name].data]
    assert len(atoms) >= len(start) - 2
    if len(atoms) == len(start):
        moved = columns(frame, "x", "y", "z") - start.positions
        assert np.abs(moved).max() > 1e-3
    assert_frame_is_right(models, frame, on_origin(frame, atoms))


def on_origin(frame, atoms):
    """The structure with the positions that the frame names, which need not be those relative to the box."""
    return Atoms(atoms.symbols, positions=columns(frame, "x", "y", "z"), cell=atoms.cell, pbc=atoms.pbc)


@pytest.mark.parametrize("ranks", [1, 2])
def test_atoms_that_are_held(models, workdir, ranks):
    """`fix setforce` on a group: its atoms stay, the others feel them."""
    atoms = perovskite((2, 1, 1), seed=9)
    write_data(workdir / "crystal.atomic", atoms)
    held = "group held type 1 2\ngroup free subtract all held\nvelocity held set 0 0 0\nfix 2 held setforce 0 0 0"
    script = deck("held", Setup(after=held))
    succeed(workdir, script, ranks)
    (frame,) = read_dump(workdir / "held.dump")
    still = frame["type"] <= 2
    places = columns(frame, "x", "y", "z")
    shift = (places - atoms.positions)[still] / atoms.cell.lengths()  # by whole cells
    assert np.abs(shift - np.round(shift)).max() < 1e-12
    assert np.abs(columns(frame, "fx", "fy", "fz")[still]).max() == 0.0
    moved = atoms.copy()
    moved.positions = places
    energy, forces, _ = ase_results(models, moved)
    assert frame["c_energy"].sum() == pytest.approx(energy, rel=1e-8)
    assert np.abs(columns(frame, "fx", "fy", "fz") - forces)[~still].max() < 1e-8 * np.abs(forces).max()


@pytest.mark.parametrize("ranks", [1, 4])
def test_frames_of_a_run_again(models, workdir, ranks):
    """`rerun` of a dump, and `read_dump` of one of its frames."""
    write_data(workdir / "crystal.atomic", perovskite((2, 2, 1), seed=1))
    wanted = "id type x y z fx fy fz c_energy c_efg[*]"
    digits = "format float %.17g"
    dump = f"dump 1 all custom 4 run.dump {wanted}\ndump_modify 1 {digits} sort id"
    script = deck("last", Setup(after=dump))
    again = f"rerun run.dump dump x y z box yes\nwrite_dump all custom again.dump {wanted} modify {digits}"
    one = f"read_dump run.dump 4 x y z box yes\nrun 0\nwrite_dump all custom one.dump {wanted} modify {digits}"
    script += deck("rerun", Setup(run=again)) + deck("read", Setup(run=one))
    succeed(workdir, script, ranks)
    frames = read_dump(workdir / "run.dump")
    assert [frame["step"] for frame in frames] == [0, 4, 8]
    for name, expected in (("again", frames[2]), ("one", frames[1])):
        (found,) = read_dump(workdir / f"{name}.dump")
        for key, values in expected.items():
            assert np.abs(found[key] - values).max() <= 1e-9 * np.abs(values).max(), (name, key)
