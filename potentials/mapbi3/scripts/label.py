"""Label frames with the energy teacher, SevenNet-0 (pip install "efgmd[distill]"; weights come with the package).

usage: python label.py IN.xyz OUT.xyz [--variants N --seed S]
Resumable: a file OUT.done counts the frames that are done; those with a force above 15 eV/A are not written. With
--variants each frame is labelled N more times after random displacements (0.01-0.08 A), strains (up to 2.5 %) and, in
two of five, a turn of one cation.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import iread, write
from scipy.spatial.transform import Rotation
from sevenn.calculator import SevenNetCalculator


def turn_one_cation(atoms: Atoms, rng) -> None:
    """Rotate one methylammonium, found as the atoms within 2.3 A of the middle of a C-N bond, by up to 45 degrees."""
    carbon = rng.choice(np.flatnonzero(atoms.numbers == 6))
    nitrogens = np.flatnonzero(atoms.numbers == 7)
    bonds = atoms.get_distances(carbon, nitrogens, mic=True, vector=True)
    bond = bonds[np.argmin(np.linalg.norm(bonds, axis=1))]
    centre = atoms.positions[carbon] + bond / 2
    probe = atoms.copy()
    probe.append("X")
    probe.positions[-1] = centre
    vectors = probe.get_distances(len(atoms), np.arange(len(atoms)), mic=True, vector=True)
    members = np.flatnonzero((np.linalg.norm(vectors, axis=1) < 2.3) & np.isin(atoms.numbers, [1, 6, 7]))
    if len(members) == 8:
        axis = rng.normal(size=3)
        rotation = Rotation.from_rotvec(axis / np.linalg.norm(axis) * rng.uniform(0.1, 0.8))
        atoms.positions[members] = centre + rotation.apply(vectors[members])


def variant(atoms: Atoms, rng) -> Atoms:
    """Return a perturbed copy."""
    out = atoms.copy()
    if rng.random() < 0.4:
        turn_one_cation(out, rng)
    shear = rng.uniform(-0.025, 0.025, (3, 3))
    out.set_cell(out.cell.array @ (np.eye(3) + (shear + shear.T) / 2), scale_atoms=True)
    out.positions += rng.normal(0, rng.uniform(0.01, 0.08), out.positions.shape)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--variants", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    work = []
    for frame in iread(arguments.input, ":"):
        plain = Atoms(frame.symbols, frame.positions, cell=frame.cell, pbc=True)
        tag = str(frame.info.get("tag", Path(arguments.input).stem))
        work.append((plain, tag))
        work += [(variant(plain, rng), tag) for _ in range(arguments.variants)]
    counter = Path(arguments.output + ".done")
    done = int(counter.read_text()) if counter.exists() else 0
    teacher = SevenNetCalculator("7net-0", device="cpu")
    start = time.time()
    for number, (atoms, tag) in enumerate(work[done:], done):
        atoms.calc = teacher
        energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        atoms.info["tag"] = tag
        if np.abs(forces).max() < 15:  # eV/A; closer contacts are left to the repulsion
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
            write(arguments.output, atoms, append=True, format="extxyz")
        counter.write_text(str(number + 1))
        if number % 20 == 0:
            left = (time.time() - start) / (number - done + 1) * (len(work) - number - 1)
            print(f"{number + 1}/{len(work)} frames, {left:.0f} s left", flush=True)


if __name__ == "__main__":
    main()
