"""Label frames with the energy teacher, SevenNet-0 (pip install "efgmd[distill]"; weights come with the package).

usage: python label.py IN.xyz OUT.xyz [--variants N --seed S]
Resumable: each label is a file in the folder OUT.labels; frames with a force above 15 eV/A are not written. With
--variants each frame is labelled N more times after random displacements (0.01-0.08 A), strains (up to 2.5 %) and, in
two of five, a turn of one cation.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import iread
from rich.console import Console
from scipy.spatial.transform import Rotation
from sevenn.calculator import SevenNetCalculator

from efgmd.distillation.config import Perturbation
from efgmd.distillation.structures import perturbed, write_all
from efgmd.distillation.teacher import label_frames


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
    return perturbed(out, Perturbation(), rng)


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
    teacher = SevenNetCalculator("7net-0", device="cpu")
    for atoms, tag in work:
        atoms.info["tag"] = tag
    frames = [atoms for atoms, _ in work]
    # Closer contacts are left to the repulsion.
    write_all(
        Path(arguments.output), label_frames(frames, teacher, Path(arguments.output + ".labels"), 15.0, Console())
    )


if __name__ == "__main__":
    main()
