"""One structure, a deck that evaluates a model on it, and the comparison with an ASE calculator."""

from pathlib import Path

import numpy as np
from ase.io import read
from lammps_cases import ELEMENT_LIST, EV_PER_A3_IN_BAR, PRECISE, columns, read_dump, succeed, write_data

DECK = f"""
units metal
atom_modify map array
{{extra}}
read_data start.data
pair_style mliap unified {{model}} 0
pair_coeff * * {ELEMENT_LIST}
neighbor 1.0 bin
compute energy all pe/atom
compute energies all reduce sum c_energy
compute virial all pressure NULL virial
thermo_style custom step pe c_energies c_virial[*]
{PRECISE}
dump 1 all custom {{every}} run.dump id x y z fx fy fz c_energy
dump_modify 1 format float %.17g
{{run}}
"""


def perovskite_cell(seed=0):
    """CH3NH3PbI3, 96 atoms, shaken by 0.05 angstrom."""
    atoms = read(Path(__file__).parents[2] / "examples" / "mapbi3" / "structure.extxyz")
    atoms.positions += np.random.default_rng(seed).normal(scale=0.05, size=atoms.positions.shape)
    atoms.wrap()
    return atoms


def compare(folder, model, atoms, calculator, ranks, tolerance, run="run 0", extra=""):
    """Evaluate in LAMMPS and in ASE and compare energy, forces and stress of the last frame.

    `tolerance` is relative: to the energy, to the largest force and to the largest component of the stress.
    """
    every = int(run.split()[-1]) or 1
    write_data(folder / "start.data", atoms)
    deck = DECK.format(model=model, run=run, every=every, extra=extra)
    finished = succeed(folder, deck, ranks, timeout=600, EFGMD_ALLOW_PICKLE="1")
    thermo = {key: values[-1] for key, values in finished.thermo().items()}
    frame = read_dump(folder / "run.dump")[-1]

    copy = atoms.copy()
    copy.positions = columns(frame, "x", "y", "z")
    copy.calc = calculator
    forces, stress = copy.get_forces(), copy.get_stress(voigt=True)
    energy = copy.get_potential_energy()
    ours = -np.array([thermo[f"c_virial[{k}]"] for k in (1, 2, 3, 6, 5, 4)]) / EV_PER_A3_IN_BAR
    errors = {
        "energy": abs(thermo["PotEng"] - energy) / abs(energy),
        "atomic energies": abs(thermo["c_energies"] - energy) / abs(energy),
        "forces": np.abs(columns(frame, "fx", "fy", "fz") - forces).max() / np.abs(forces).max(),
        "stress": np.abs(ours - stress).max() / np.abs(stress).max(),
    }
    told = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    print(f"{Path(model).name}, {ranks} ranks, {run.splitlines()[-1]}: {told}")
    assert max(errors.values()) < tolerance, errors
    return finished


def slab():
    """The cell in the lower part of a box three times as high: on 4 ranks in a column some have no atoms."""
    atoms = perovskite_cell(1)
    a, b, c = atoms.cell.lengths()
    atoms.set_cell([a, b, 3 * c])
    return atoms


def compare_moving_slab(folder, model, calculator, ranks, tolerance):
    """Five steps of a slab with ranks that have no atoms; the last frame is compared."""
    run = "velocity all create 300 1 loop geom\nfix 1 all nve\ntimestep 0.0005\nrun 5"
    compare(folder, model, slab(), calculator, ranks, tolerance, run, extra="processors 1 1 *")
