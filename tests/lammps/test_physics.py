"""What must hold whatever the model: pressure is -dE/dV, tensors turn with the box, energy is conserved."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from lammps_cases import (
    DUMP,
    EV_PER_A3_IN_BAR,
    OUTPUT,
    PRECISE,
    columns,
    efg_columns,
    header,
    perovskite,
    read_dump,
    succeed,
    write_data,
)

POTENTIALS = Path(__file__).parents[2] / "potentials" / "mapbi3"
COMPONENTS = {"Pxx": (0, 0), "Pyy": (1, 1), "Pzz": (2, 2), "Pxy": (0, 1), "Pxz": (0, 2), "Pyz": (1, 2)}


def test_pressure_is_the_derivative_of_the_energy(workdir):
    """All six components: strain the box by x' = (1 + h e_a e_b) x, which keeps it lower triangular."""
    atoms = perovskite((2, 1, 1), seed=11, tilt=0.1)
    h = 1e-5

    def evaluation(name, deformation):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ deformation.T, scale_atoms=True)
        write_data(workdir / f"{name}.data", strained)
        return f"clear\n{header(f'{name}.data')}\nthermo_style custom step pe vol {' '.join(COMPONENTS).lower()}\n" + (
            f"{PRECISE}\nrun 0\n"
        )

    deck = evaluation("unstrained", np.eye(3))
    for name, (a, b) in COMPONENTS.items():
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[a, b] += sign * h
            deck += evaluation(f"{name}{sign}", deformation)
    finished = succeed(workdir, deck)

    unstrained = finished.thermo(0)
    scale = max(abs(unstrained[name][0]) for name in COMPONENTS)
    for k, name in enumerate(COMPONENTS):
        plus, minus = finished.thermo(1 + 2 * k)["PotEng"][0], finished.thermo(2 + 2 * k)["PotEng"][0]
        derivative = -(plus - minus) / (2 * h) / unstrained["Volume"][0] * EV_PER_A3_IN_BAR
        assert abs(unstrained[name][0] - derivative) < 1e-6 * scale, name


@pytest.mark.parametrize("ranks", [1, 2])
def test_tensors_turn_with_the_box(workdir, ranks):
    """The cell vectors in another order are the same crystal in another orientation: V(R x) = R V R^T."""
    atoms = perovskite((2, 1, 1), seed=12, tilt=0.15)
    other_order = atoms.cell.array[[1, 2, 0]]
    orthogonal, upper = np.linalg.qr(other_order.T)
    rotation = (orthogonal * np.sign(np.diag(upper))).T
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert np.abs(rotation - np.eye(3)).max() > 0.5
    turned = atoms.copy()
    turned.set_cell(np.tril(other_order @ rotation.T))
    turned.positions = atoms.positions @ rotation.T

    deck = ""
    for name, structure in (("straight", atoms), ("turned", turned)):
        write_data(workdir / f"{name}.data", structure)
        for dtype in ("float64", "float32"):
            deck += f"""
clear
{header(f"{name}.data", dtype)}
compute energy all pe/atom
dump 1 all custom 1 {name}.{dtype} {DUMP}
dump_modify 1 format float %.17g
run 0
"""
    succeed(workdir, deck, ranks)
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-5)):
        (before,), (after,) = read_dump(workdir / f"straight.{dtype}"), read_dump(workdir / f"turned.{dtype}")
        tensors = rotation @ efg_columns(before) @ rotation.T
        assert np.abs(efg_columns(after) - tensors).max() < tolerance * np.abs(tensors).max()
        forces = columns(before, "fx", "fy", "fz") @ rotation.T
        assert np.abs(columns(after, "fx", "fy", "fz") - forces).max() < tolerance * np.abs(forces).max() * 10


def test_energy_and_momentum_are_conserved(workdir):
    """A short run with a small random model, in float32."""
    atoms = perovskite((2, 1, 1), seed=13)
    velocities = np.random.default_rng(0).normal(scale=5.0, size=(len(atoms), 3))
    write_data(workdir / "start.data", atoms, velocities=velocities)
    deck = f"""
{header(dtype="float32")}
{OUTPUT}
compute p all momentum
thermo_style custom step ke etotal c_p[*]
{PRECISE}
thermo 10
timestep 0.0001
fix 1 all nve
run 200
"""
    thermo = succeed(workdir, deck).thermo()
    energy = thermo["TotEng"]
    assert np.ptp(thermo["KinEng"]) > 0.1
    assert np.ptp(energy) < 2e-3 * np.ptp(thermo["KinEng"]) + 1e-4 * len(atoms)
    for c in range(3):
        assert np.ptp(thermo[f"c_p[{c + 1}]"]) < 1e-3


@pytest.mark.slow
def test_no_drift_with_the_shipped_potential(tmp_path):
    """NVE at 300 K for 10 ps: the total energy drifts by less than 1 meV per atom."""
    shutil.copy(POTENTIALS / "energy.safetensors", tmp_path)
    atoms = perovskite((2, 2, 2), shake=0.01)
    write_data(tmp_path / "start.data", atoms)
    deck = f"""
units metal
read_data start.data
pair_style mliap unified energy.safetensors 0
pair_coeff * * Pb I C N H
minimize 0.0 0.05 200 1000
reset_timestep 0
velocity all create 450 8 mom yes rot no
timestep 0.0005
fix heat all langevin 300 300 0.05 9
fix move all nve
run 2000
unfix heat
thermo_style custom step time temp etotal
{PRECISE}
thermo 40
run 20000
"""
    thermo = succeed(tmp_path, deck, timeout=3600).thermo()
    assert 200 < thermo["Temp"].mean() < 400
    slope = np.polyfit(thermo["Time"], thermo["TotEng"] / len(atoms), 1)[0]
    assert abs(slope * 10.0) < 1e-3, f"{1e3 * slope * 10:.3f} meV per atom in 10 ps"
