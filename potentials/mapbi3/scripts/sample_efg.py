"""Thermal frames for first-principles EFG labels: runs of 12-atom and 48-atom cells with an energy model.

usage: python sample_efg.py MODEL.safetensors OUT.xyz SEED RUNS [12|48 [COLDEST]]
Each run starts from a random structure, equilibrates for 2 ps at 150 (or COLDEST) to 450 K and gives three frames 1 ps
apart, which share the run's name in ``tag``. Even runs keep a cell near the experimental one (6.2 to 6.4 A), odd runs
are NPT.
"""

import sys

import numpy as np
from ase import Atoms, units
from ase.io import write
from ase.md.bussi import Bussi
from ase.md.nptberendsen import Inhomogeneous_NPTBerendsen
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from structures import pseudocubic, sqrt2_cell

from efgmd.calculators import EnergyCalculator


def dynamics(atoms: Atoms, temperature: float, npt: bool, rng):
    """Return an ASE integrator of 1 fs; hydrogen has the mass of tritium, the averages do not depend on it."""
    if not npt:
        return Bussi(atoms, units.fs, temperature_K=temperature, taut=100 * units.fs, rng=rng)
    return Inhomogeneous_NPTBerendsen(
        atoms,
        units.fs,
        temperature_K=temperature,
        pressure_au=0.0,
        taut=100 * units.fs,
        taup=1000 * units.fs,
        compressibility_au=1 / (15 * units.GPa),
    )


def main():
    model, out, seed, runs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    size = int(sys.argv[5]) if len(sys.argv) > 5 else 12
    coldest = float(sys.argv[6]) if len(sys.argv) > 6 else 150.0
    rng = np.random.default_rng(seed)
    calculator = EnergyCalculator(model)
    for run in range(runs):
        a, tilt, npt = rng.uniform(6.2, 6.4), rng.uniform(0, 12), bool(run % 2)
        atoms = pseudocubic(a, a, (1, 1, 1), 0, rng) if size == 12 else sqrt2_cell(a, a * 1.01, tilt, rng)
        masses = atoms.get_masses()
        masses[atoms.numbers == 1] = 3.0
        atoms.set_masses(masses)
        atoms.calc = calculator
        temperature = rng.uniform(coldest, 450)
        MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
        md = dynamics(atoms, temperature, npt, rng)
        tag = f"{'npt' if npt else 'nvt'}{size}-seed{seed}run{run}"
        md.run(1000)
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
