"""Our models in a LAMMPS that runs Python models by itself: the compute from the plugin, energies from the export."""

import numpy as np
import pytest
from lammps_cases import (
    ELEMENT_LIST,
    EV_PER_A3_IN_BAR,
    PRECISE,
    columns,
    efg_columns,
    perovskite,
    read_dump,
    write_data,
)

SYSTEM = f"""
units metal
atom_modify map array
{{extra}}
read_data {{name}}.data
pair_style mliap unified {{file}} 0
pair_coeff * * {ELEMENT_LIST}
compute efg all efg/atom efg.safetensors {ELEMENT_LIST} dtype float64
comm_modify cutoff 7.5
neighbor 1.0 bin
compute energy all pe/atom
compute virial all stress/atom NULL virial
compute pressure all pressure NULL virial
compute virial_sum all reduce sum c_virial[*]
thermo_style custom step pe vol c_pressure[*] c_virial_sum[*] etotal
{PRECISE}
dump 1 all custom {{every}} {{name}}.dump id type x y z fx fy fz c_energy c_efg[*]
dump_modify 1 format float %.17g
"""
STRUCTURES = {"orthogonal": perovskite(seed=1), "triclinic": perovskite(seed=2, tilt=0.12)}


def deck(name, atoms, folder, file="energy.mliap", run="run 0", extra="", every=1):
    """Input script for a structure, whose data file is written."""
    write_data(folder / f"{name}.data", atoms)
    return SYSTEM.format(name=name, file=file, extra=extra, every=every) + run + "\n"


def succeeded(finished):
    assert finished.status == 0, finished.output[-4000:]
    return finished


def compare_with_ase(folder, atoms, frame, thermo, tolerance=1e-8):
    """Energy, energies, forces, stress and tensors against the ASE calculators; returns the largest force error."""
    from efgmd.calculators import EFGCalculator, EnergyCalculator

    atoms = atoms.copy()
    atoms.calc = EnergyCalculator(folder / "energy.safetensors", dtype="float64")
    forces = atoms.get_forces()
    assert thermo["PotEng"] == pytest.approx(atoms.get_potential_energy(), rel=tolerance)
    assert np.abs(frame["c_energy"] - atoms.get_potential_energies()).max() < tolerance
    assert np.abs(columns(frame, "fx", "fy", "fz") - forces).max() < tolerance * np.abs(forces).max()
    pressure = -atoms.get_stress(voigt=True)[[0, 1, 2, 5, 4, 3]] * EV_PER_A3_IN_BAR
    ours = np.array([thermo[f"c_pressure[{k + 1}]"] for k in range(6)])
    assert np.abs(ours - pressure).max() < tolerance * np.abs(pressure).max()
    sums = -np.array([thermo[f"c_virial_sum[{k + 1}]"] for k in range(6)]) / thermo["Volume"]
    assert np.abs(sums - pressure).max() < tolerance * np.abs(pressure).max()
    efg = EFGCalculator(folder / "efg.safetensors", dtype="float64").get_property("efg", atoms)
    assert np.abs(efg_columns(frame) - efg).max() < tolerance * np.abs(efg).max()
    return np.abs(columns(frame, "fx", "fy", "fz") - forces).max()


def test_plugin_adds_only_the_compute(host):
    output = succeeded(host("plugin list\n")).output
    assert "compute style plugin efg/atom" in output
    assert "pair style" not in output and "WARNING" not in output


@pytest.mark.parametrize(
    ("file", "ranks"), [("energy.mliap", 1), ("energy.mliap", 2), ("energy.mliap", 4), ("energy.pt", 2)]
)
@pytest.mark.parametrize("name", STRUCTURES)
def test_equal_to_ase(host, name, file, ranks):
    atoms = STRUCTURES[name]
    finished = succeeded(host(deck(name, atoms, host.folder, file), ranks))
    thermo = {key: values[0] for key, values in finished.thermo().items()}
    (frame,) = read_dump(host.folder / f"{name}.dump")
    error = compare_with_ase(host.folder, atoms, frame, thermo)
    print(f"{name} {file} {ranks} ranks: largest error of a force {error:.1e} eV/angstrom")


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_dynamics_with_empty_ranks(host, ranks):
    """A slab that fills half of the box, in motion: on 4 ranks some have no atoms."""
    atoms = perovskite((2, 2, 1), seed=3)
    atoms.set_cell([*atoms.cell.lengths()[:2], 40.0])
    velocities = np.random.default_rng(4).normal(scale=3.0, size=(len(atoms), 3))
    run = "timestep 0.00002\nfix 1 all nve\nthermo 5\nrun 20"
    text = deck("slab", atoms, host.folder, run=run, extra="processors 1 1 *", every=20)
    write_data(host.folder / "slab.data", atoms, velocities=velocities)
    finished = succeeded(host(text, ranks))
    thermo = finished.thermo()
    assert np.ptp(thermo["TotEng"]) < 1e-3 * np.ptp(thermo["PotEng"]) + 1e-4
    last = read_dump(host.folder / "slab.dump")[-1]
    moved = atoms.copy()
    moved.positions = columns(last, "x", "y", "z")
    compare_with_ase(host.folder, moved, last, {key: values[-1] for key, values in thermo.items()})
