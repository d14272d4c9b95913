"""Runs: migration between ranks, empty ranks, isolated atoms, changing boxes, averages; every frame against ASE."""

import shutil

import numpy as np
import pytest
from ase_reference import RELATIVE, ase_results, assert_frame_is_right
from lammps_cases import (
    DUMP,
    ELEMENT_LIST,
    ELEMENTS,
    OUTPUT,
    PRECISE,
    columns,
    efg_columns,
    full_tensors,
    header,
    perovskite,
    read_dump,
    succeed,
    write_data,
)


def hot_velocities(atoms, speed, seed=0):
    """Velocities in angstrom/ps, the same whatever the number of ranks."""
    return np.random.default_rng(seed).normal(scale=speed, size=(len(atoms), 3))


@pytest.fixture(scope="module")
def migrating(models, tmp_path_factory):
    """Fast atoms for 60 steps on 1 and 4 ranks, dumped every 20 steps, averaged by LAMMPS over the last three."""
    atoms = perovskite((3, 1, 1), seed=5)
    velocities = hot_velocities(atoms, 60.0)
    results = {}
    for ranks in (1, 4):
        folder = tmp_path_factory.mktemp(f"migrating{ranks}")
        for file in models.iterdir():
            shutil.copy(file, folder)
        write_data(folder / "start.data", atoms, velocities=velocities)
        deck = f"""
{header(extra="processors 4 1 1" if ranks == 4 else "")}
{OUTPUT}
compute rank all property/atom proc
thermo_style custom step pe etotal press
{PRECISE}
thermo 20
timestep 0.0002
fix 1 all nve
fix mean all ave/atom 20 3 60 c_efg[*]
dump 1 all custom 20 run.dump {DUMP} c_rank
dump 2 all custom 60 mean.dump id f_mean[*]
dump_modify 1 format float %.17g
dump_modify 2 format float %.17g
run 60
"""
        finished = succeed(folder, deck, ranks)
        results[ranks] = finished, read_dump(folder / "run.dump"), read_dump(folder / "mean.dump")
    return atoms, results


@pytest.mark.parametrize("ranks", [1, 4])
def test_every_frame_of_a_run_is_right(models, migrating, ranks):
    atoms, results = migrating
    _, frames, _ = results[ranks]
    assert [frame["step"] for frame in frames] == [0, 20, 40, 60]
    for frame in frames:
        assert_frame_is_right(models, frame, atoms)


def test_atoms_cross_boundaries(migrating):
    _, results = migrating
    _, frames, _ = results[4]
    assert np.sum(frames[0]["c_rank"] != frames[-1]["c_rank"]) > 3
    first, last = columns(frames[0], "x", "y", "z"), columns(frames[-1], "x", "y", "z")
    assert np.abs(first - last).max() > 3.0, "no atom went through the periodic boundary"


def test_trajectory_does_not_depend_on_ranks(migrating):
    _, results = migrating
    (_, one, _), (_, four, _) = results[1], results[4]
    assert np.abs(columns(one[-1], "fx", "fy", "fz") - columns(four[-1], "fx", "fy", "fz")).max() < 1e-5


@pytest.mark.parametrize("ranks", [1, 4])
def test_ave_atom_is_the_mean_of_the_samples(migrating, ranks):
    _, results = migrating
    _, frames, means = results[ranks]
    averaged = full_tensors(columns(means[-1], *(f"f_mean[{c + 1}]" for c in range(6))))
    samples = np.mean([efg_columns(frame) for frame in frames if frame["step"] in (20, 40, 60)], axis=0)
    assert means[-1]["step"] == 60
    assert np.abs(averaged - samples).max() < 1e-12 * np.abs(samples).max()


@pytest.mark.parametrize("ranks", [1, 4])
def test_empty_rank_and_isolated_atoms(models, workdir, ranks):
    """A cluster in one quarter of a long box, and two atoms far from everything, one on a rank of its own."""
    atoms = perovskite((1, 1, 1), seed=6)
    atoms.set_cell([80.0, 14.0, 14.0])
    atoms.positions += 3.0
    atoms.append("I")
    atoms.positions[-1] = (70.0, 7.0, 7.0)
    atoms.append("H")
    atoms.positions[-1] = (14.9, 12.0, 12.0)
    write_data(workdir / "start.data", atoms)
    deck = f"""
{header(extra="processors 4 1 1" if ranks == 4 else "", boundary="p p p")}
{OUTPUT}
thermo_style custom step pe
{PRECISE}
thermo 1
dump 1 all custom 1 run.dump {DUMP}
dump_modify 1 format float %.17g
timestep 0.0002
fix 1 all nve
run 2
"""
    finished = succeed(workdir, deck, ranks)
    frames = read_dump(workdir / "run.dump")
    for frame, total in zip(frames, finished.thermo()["PotEng"], strict=True):
        assert_frame_is_right(models, frame, atoms)
        assert abs(total - frame["c_energy"].sum()) < RELATIVE * abs(total)
    assert np.all(efg_columns(frames[0])[-2:] == 0.0), "an isolated atom has no field gradient"
    if ranks == 4:
        assert "Nlocal:" in finished.output and " 0 min" in finished.output.split("Nlocal:")[1].splitlines()[0]


@pytest.mark.parametrize("ranks", [2])
def test_box_that_changes_its_shape(models, workdir, ranks):
    """NPT with all six cell parameters free: the last frame against ASE in the last cell."""
    atoms = perovskite((2, 1, 1), seed=7, tilt=0.08, shake=0.03)
    write_data(workdir / "start.data", atoms, velocities=hot_velocities(atoms, 5.0))
    deck = f"""
{header()}
{OUTPUT}
thermo_style custom step pe lx ly lz xy xz yz
{PRECISE}
thermo 15
timestep 0.0002
fix 1 all npt temp 300 300 0.02 tri 0 0 0.05
dump 1 all custom 15 run.dump {DUMP}
dump_modify 1 format float %.17g
run 30
write_data last.data
"""
    finished = succeed(workdir, deck, ranks)
    last = {name: values[-1] for name, values in finished.thermo().items()}
    cell = [[last["Lx"], 0, 0], [last["Xy"], last["Ly"], 0], [last["Xz"], last["Yz"], last["Lz"]]]
    assert np.abs(np.array(cell) - atoms.cell.array).max() > 1e-3
    atoms.set_cell(cell)
    assert_frame_is_right(models, read_dump(workdir / "run.dump")[-1], atoms)


def test_real_units(models, workdir):
    """Units real: energies in kcal/mol, tensors in the same atomic units."""
    atoms = perovskite((1, 1, 1), seed=8)
    write_data(workdir / "start.data", atoms)
    deck = f"""
{header(units="real")}
compute energy all pe/atom
dump 1 all custom 1 run.dump {DUMP}
dump_modify 1 format float %.17g
run 0
"""
    succeed(workdir, deck)
    (frame,) = read_dump(workdir / "run.dump")
    energy, forces, efg = ase_results(models, atoms)
    kcal_per_mol = 23.060549  # LAMMPS' factor between metal and real
    assert frame["c_energy"].sum() == pytest.approx(kcal_per_mol * energy, rel=RELATIVE)
    assert np.abs(columns(frame, "fx", "fy", "fz") - kcal_per_mol * forces).max() < RELATIVE * np.abs(forces).max() * 24
    assert np.abs(efg_columns(frame) - efg).max() < RELATIVE * np.abs(efg).max()


@pytest.mark.parametrize("ranks", [1, 2])
def test_hybrid_with_atoms_the_models_do_not_see(models, workdir, ranks):
    """Types that are NULL belong to another pair style and are invisible to both models."""
    atoms = perovskite((2, 1, 1), seed=9)
    helium = atoms[:3].copy()
    helium.symbols[:] = "He"
    helium.positions += (0.3, 3.0, 0.2)
    write_data(workdir / "start.data", atoms + helium, elements=(*ELEMENTS, "He"))
    deck = f"""
units metal
read_data start.data
pair_style hybrid/overlay mliap unified energy.safetensors 0 dtype float64 zero 4.0
pair_coeff * * mliap {ELEMENT_LIST} NULL
pair_coeff * 6 zero
compute efg all efg/atom efg.safetensors {ELEMENT_LIST} NULL dtype float64
comm_modify cutoff 8.0
compute energy all pe/atom
dump 1 all custom 1 run.dump {DUMP}
dump_modify 1 format float %.17g
run 0
"""
    succeed(workdir, deck, ranks)
    (frame,) = read_dump(workdir / "run.dump")
    real = {name: column[: len(atoms)] for name, column in frame.items() if name != "step"}
    assert_frame_is_right(models, real, atoms)
    assert np.all(columns(frame, "fx", "fy", "fz")[len(atoms) :] == 0.0)
    assert np.all(efg_columns(frame)[len(atoms) :] == 0.0)
