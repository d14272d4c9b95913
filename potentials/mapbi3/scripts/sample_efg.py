"""Thermal frames for first-principles EFG labels: NPT runs of 12-atom and 48-atom cells with the shipped energy model.

usage: python sample_efg.py MODEL.safetensors OUT.xyz SEED RUNS [12|48]
Each run starts from a random structure, equilibrates for 3 ps at 150 to 450 K and gives three frames 1 ps apart, which
share the run's name in ``tag``.
"""

import sys

import numpy as np
from ase import Atoms, units
from ase.io import write
from ase.md.nptberendsen import Inhomogeneous_NPTBerendsen
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from structures import pseudocubic, sqrt2_cell

from efgmd.calculators import EnergyCalculator


def main():
    model, out, seed, runs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    size = int(sys.argv[5]) if len(sys.argv) > 5 else 12
    rng = np.random.default_rng(seed)
    calculator = EnergyCalculator(model)
    for run in range(runs):
        a, tilt = rng.uniform(6.2, 6.4), rng.uniform(0, 12)
        atoms = pseudocubic(a, a, (1, 1, 1), 0, rng) if size == 12 else sqrt2_cell(a, a * 1.01, tilt, rng)
        masses = atoms.get_masses()
        masses[atoms.numbers == 1] = 3.0
        atoms.set_masses(masses)
        atoms.calc = calculator
        temperature = rng.uniform(150, 450)
        MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
        md = Inhomogeneous_NPTBerendsen(
            atoms,
            units.fs,
            temperature_K=temperature,
            pressure_au=0.0,
            taut=100 * units.fs,
            taup=1000 * units.fs,
            compressibility_au=1 / (15 * units.GPa),
        )
        tag = f"npt{size}-seed{seed}-{run}"
        md.run(2000)
        for _ in range(3):
            md.run(1000)
            frame = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
            frame.info.update(tag=tag, bath_temperature_K=round(temperature, 1))
            write(out, frame, append=True, format="extxyz")
        lengths = " ".join(f"{x:.2f}" for x in atoms.cell.lengths())
        largest = np.abs(atoms.get_forces()).max()
        print(tag, f"{temperature:.0f} K, cell {lengths}, largest force {largest:.1f} eV/A", flush=True)


if __name__ == "__main__":
    main()
