"""Frames for the next round of distillation: molecular dynamics with the student itself, hot and strained.

usage: python sample_student.py MODEL.safetensors OUT.xyz SEED MINUTES
Runs start from random structures (48 and 192 atoms, random tilts, strains, cation orientations) at 150 to 700 K, with a
Berendsen barostat in most and a fixed strained cell in the others. A run that leaves the student's domain (a force
above 25 eV/A) ends there, and the frames that led to it are kept: they are the ones that teach most.
"""

import sys
import time

import numpy as np
from ase import Atoms, units
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.nptberendsen import Inhomogeneous_NPTBerendsen
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from structures import pseudocubic, sqrt2_cell

from efgmd.calculators import EnergyCalculator


def start(rng) -> tuple[str, Atoms]:
    """Return a random starting structure and the name of its kind."""
    a = rng.uniform(6.15, 6.45)
    c = a * rng.uniform(0.98, 1.04)
    tilt = rng.uniform(0, 14)
    if rng.random() < 0.3:
        return "cell48", sqrt2_cell(a, c, tilt, rng)
    return "cell192", pseudocubic(a, c, tuple(rng.permutation([2, 2, 4])), tilt, rng)


def dynamics(atoms: Atoms, temperature: float, rng):
    """Langevin in a strained cell, or a Berendsen barostat that lets each axis breathe."""
    if rng.random() < 0.3:
        shear = rng.uniform(-0.02, 0.02, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (shear + shear.T) / 2), scale_atoms=True)
        return Langevin(atoms, units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng)
    return Inhomogeneous_NPTBerendsen(
        atoms,
        units.fs,
        temperature_K=temperature,
        pressure_au=rng.normal(0, 0.3) * units.GPa,
        taut=50 * units.fs,
        taup=500 * units.fs,
        compressibility_au=1 / (15 * units.GPa),
    )


def main():
    model, out, seed, minutes = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    rng = np.random.default_rng(seed)
    calculator = EnergyCalculator(model)
    end = time.time() + 60 * minutes
    run = 0
    while time.time() < end:
        kind, atoms = start(rng)
        temperature = rng.choice([150, 250, 320, 400, 500, 700])
        masses = atoms.get_masses()
        masses[atoms.numbers == 1] = 3.0
        atoms.set_masses(masses)
        atoms.calc = calculator
        MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
        md = dynamics(atoms, temperature, rng)
        tag = f"student-{kind}-seed{seed}-{run}"
        kept, broken = [], False
        for block in range(150):
            md.run(20)
            broken = np.abs(atoms.get_forces()).max() > 25
            if block % 10 == 9 or broken:
                frame = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
                frame.info["tag"] = tag
                kept.append(frame)
            if broken:
                break
        write(out, kept, append=True, format="extxyz")
        lengths = " ".join(f"{x:.2f}" for x in atoms.cell.lengths())
        print(tag, temperature, f"K {'broke' if broken else 'ran'} {20 * (block + 1)} fs, cell {lengths}", flush=True)
        run += 1


if __name__ == "__main__":
    main()
