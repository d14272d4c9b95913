"""Bootstrap frames for the energy model: short SevenNet-0 Langevin runs from random MAPbI3 structures.

usage: python sample_teacher.py OUT.xyz SEED MINUTES
Appends to OUT.xyz; each frame carries energy (eV), forces (eV/A), stress (eV/A^3) and the tag of the run it came from.
"""

import sys
import time

import numpy as np
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from sevenn.calculator import SevenNetCalculator
from structures import pseudocubic, sqrt2_cell


def snapshot(atoms, tag):
    """Copy ``atoms`` with the teacher's labels and the name of its run."""
    frame = atoms.copy()
    frame.info = {"tag": tag}
    frame.set_momenta(np.zeros((len(atoms), 3)))
    del frame.arrays["momenta"]
    frame.calc = SinglePointCalculator(
        frame, energy=atoms.get_potential_energy(), forces=atoms.get_forces(), stress=atoms.get_stress()
    )
    return frame


def main():
    out, seed, minutes = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    rng = np.random.default_rng(seed)
    teacher = SevenNetCalculator("7net-0", device="cpu")
    end = time.time() + 60 * minutes
    run = 0
    while time.time() < end:
        kind = rng.choice(["cubic12", "cell48", "double24"], p=[0.2, 0.6, 0.2])
        a = rng.uniform(6.12, 6.48)
        c = a * rng.uniform(0.97, 1.05)
        tilt = rng.uniform(0, 12)
        if kind == "cell48":
            atoms = sqrt2_cell(a, c, tilt, rng)
        else:
            repeats = (1, 1, 1) if kind == "cubic12" else tuple(rng.permutation([1, 1, 2]))
            atoms = pseudocubic(a, c, repeats, 0.0, rng)
        shear = rng.normal(0, 0.012, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (shear + shear.T) / 2), scale_atoms=True)
        atoms.rattle(0.03, rng=rng)
        temperature = rng.choice([150, 300, 450, 600, 900])
        masses = atoms.get_masses()
        masses[atoms.numbers == 1] = 3.0
        atoms.set_masses(masses)
        atoms.calc = teacher
        MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
        md = Langevin(atoms, 1.0 * units.fs, temperature_K=temperature, friction=0.03 / units.fs, fixcm=False, rng=rng)
        tag = f"{kind}-seed{seed}-{run}"
        for _ in range(6):
            md.run(20)
            write(out, snapshot(atoms, tag), append=True, format="extxyz")
        print(tag, temperature, f"{atoms.get_temperature():.0f} K", flush=True)
        run += 1


if __name__ == "__main__":
    main()
