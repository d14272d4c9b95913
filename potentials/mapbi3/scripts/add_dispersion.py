"""Add Grimme's D3 dispersion with Becke-Johnson damping (PBE parameters) to labelled energies, forces and stresses.

usage: python add_dispersion.py IN.xyz OUT.xyz        (pip install "efgmd[distill]")
J. Chem. Phys. 132, 154104 (2010); J. Comput. Chem. 32, 1456 (2011).
"""

import sys
import time

from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from dftd3.ase import DFTD3


def main():
    frames = read(sys.argv[1], ":")
    dispersion = DFTD3(method="PBE", damping="d3bj")
    start = time.time()
    for number, atoms in enumerate(frames, 1):
        labels = {name: atoms.calc.results[name] for name in ("energy", "forces", "stress")}
        bare = atoms.copy()
        bare.calc = dispersion
        labels["energy"] += bare.get_potential_energy()
        labels["forces"] = labels["forces"] + bare.get_forces()
        labels["stress"] = labels["stress"] + bare.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **labels)
        if number % 50 == 0:
            left = (time.time() - start) / number * (len(frames) - number)
            print(f"{number}/{len(frames)} frames, {left:.0f} s left", flush=True)
    write(sys.argv[2], frames, format="extxyz")


if __name__ == "__main__":
    main()
