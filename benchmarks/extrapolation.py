"""Whether the grade of extrapolation tells where a force field is wrong: grades and errors against the teacher.

usage: python benchmarks/extrapolation.py [RESULT.json]        (pip install "efgmd[distill]"; about ten minutes)
Frames of 96 atoms of CH3NH3PbI3 that training never saw, from ordinary dynamics to broken crystals, are labelled by
SevenNet-0.
"""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
from ase import units
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from scipy.stats import spearmanr
from sevenn.calculator import SevenNetCalculator

from efgmd.calculators import EnergyCalculator
from efgmd.campaign.provenance import machine, versions

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "potentials" / "mapbi3" / "energy.safetensors"  # learnt SevenNet-0 without dispersion
START = ROOT / "examples" / "mapbi3" / "structure.extxyz"
EDGES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, np.inf)
LIMITS = (1.0, 1.5, 2.0)


def dynamics(temperature, count=6):
    """Frames of NVT dynamics of the force field itself."""
    atoms = read(START)
    atoms.calc = EnergyCalculator(MODEL)
    rng = np.random.default_rng(round(temperature))
    thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
    md = Langevin(atoms, 0.5 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng)
    md.run(1000)
    frames = []
    for _ in range(count):
        md.run(300)
        frames.append(atoms.copy())
    return frames


def scaled(atoms, factor, _):
    atoms.set_cell(atoms.cell * factor, scale_atoms=True)


def displaced(atoms, size, rng):
    atoms.positions += rng.normal(0, size, atoms.positions.shape)


def without(atoms, element, rng):
    del atoms[int(rng.choice(np.flatnonzero(atoms.symbols == element)))]


def exchanged(atoms, elements, rng):
    i, j = (int(rng.choice(np.flatnonzero(atoms.symbols == element))) for element in elements)
    atoms.positions[[i, j]] = atoms.positions[[j, i]]


def dissociated(atoms, size, rng):
    """One hydrogen of an ammonium group pulled out by `size` angstrom."""
    nitrogen = int(rng.choice(np.flatnonzero(atoms.symbols == "N")))
    hydrogens = np.flatnonzero(atoms.symbols == "H")
    vectors = atoms.get_distances(nitrogen, hydrogens, mic=True, vector=True)
    nearest = int(np.argmin(np.linalg.norm(vectors, axis=1)))
    atoms.positions[hydrogens[nearest]] += size * vectors[nearest] / np.linalg.norm(vectors[nearest])


CHANGES = [
    ("cell scaled by 0.94", scaled, 0.94),
    ("cell scaled by 0.97", scaled, 0.97),
    ("cell scaled by 1.03", scaled, 1.03),
    ("cell scaled by 1.06", scaled, 1.06),
    ("displaced by 0.05 A", displaced, 0.05),
    ("displaced by 0.08 A", displaced, 0.08),
    ("displaced by 0.12 A", displaced, 0.12),
    ("one I missing", without, "I"),
    ("one H missing", without, "H"),
    ("one N-H stretched by 0.4 A", dissociated, 0.4),
    ("one N-H stretched by 0.8 A", dissociated, 0.8),
    ("a Pb and an I exchanged", exchanged, ("Pb", "I")),
]


def make_sets():
    sets = {f"{t} K": dynamics(t) for t in (300, 450, 600, 800, 1000, 1400)}
    rng = np.random.default_rng(0)
    for name, change, argument in CHANGES:
        sets[name] = []
        for frame in sets["300 K"]:
            atoms = frame.copy()
            change(atoms, argument, rng)
            sets[name].append(atoms)
    return sets


def measure(sets):
    """Per set: grades and magnitudes of the force errors of all atoms, one array for each frame."""
    student, teacher = EnergyCalculator(MODEL), SevenNetCalculator("7net-0", device="cpu")
    measured, start, done = {}, time.time(), 0
    total = sum(map(len, sets.values()))
    for name, frames in sets.items():
        measured[name] = []
        for atoms in frames:
            grades = student.get_property("extrapolation", atoms)
            error = student.get_property("forces", atoms) - teacher.get_property("forces", atoms)
            measured[name].append((grades, np.linalg.norm(error, axis=1)))
            done += 1
        left = (time.time() - start) / done * (total - done)
        print(f"{name}: {done} of {total} frames, {left:.0f} s left", flush=True)
    return measured


def rmse(errors):
    """Root mean square of force components (meV/angstrom) from magnitudes (eV/angstrom)."""
    return 1e3 * float(np.sqrt(np.mean(errors**2) / 3))


def evaluate(measured):
    rows = {}
    for name, frames in measured.items():
        worst = np.array([grades.max() for grades, _ in frames])
        errors = np.concatenate([error for _, error in frames])
        rows[name] = {
            "frames": len(frames),
            "forces_rmse_meV_per_A": rmse(errors),
            "largest_error_meV_per_A": 1e3 * float(errors.max()),
            "largest_grade_of_a_frame": {"mean": float(worst.mean()), "max": float(worst.max())},
            "share_of_frames_beyond": {str(limit): float((worst > limit).mean()) for limit in LIMITS},
        }
    frames = [frame for each in measured.values() for frame in each]
    grades, errors = (np.concatenate([frame[k] for frame in frames]) for k in (0, 1))
    bins = []
    for low, high in pairwise(EDGES):
        inside = (grades >= low) & (grades < high)
        if inside.any():
            bins.append(
                {
                    "grade_from": low,
                    "grade_to": None if np.isinf(high) else high,
                    "atoms": int(inside.sum()),
                    "median_error_meV_per_A": 1e3 * float(np.median(errors[inside])),
                    "error_of_nine_in_ten_below_meV_per_A": 1e3 * float(np.quantile(errors[inside], 0.9)),
                }
            )
    by_frame = [(grade.max(), np.sqrt(np.mean(error**2))) for grade, error in frames]
    return {
        "sets": rows,
        "atoms_by_grade": bins,
        "rank_correlation_of_frames": float(spearmanr(*zip(*by_frame, strict=True))[0]),
        "rank_correlation_of_atoms": float(spearmanr(grades, errors)[0]),
    }


def draw(measured, bins, path):
    figure, axes = plt.subplots(figsize=(5.2, 3.8), layout="constrained")
    for names, label, colour in (
        ([n for n in measured if n.endswith(" K")], "dynamics, 300 to 1400 K", "tab:blue"),
        ([n for n in measured if not n.endswith(" K")], "pressed, displaced, broken", "tab:orange"),
    ):
        pairs = [frame for name in names for frame in measured[name]]
        grades, errors = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
        axes.loglog(grades, 1e3 * errors, ".", ms=2, alpha=0.4, color=colour, label=label, rasterized=True)
    edges = [(row["grade_from"] or 0.03, row["grade_to"] or 30) for row in bins]
    centres = [float(np.sqrt(low * high)) for low, high in edges]
    axes.plot(centres, [row["median_error_meV_per_A"] for row in bins], "k-o", ms=4, label="median of a bin")
    axes.axvline(1, color="0.4", lw=0.8, ls="--")
    axes.set(xlabel="grade of extrapolation of an atom", ylabel="error of its force (meV/Å)", xlim=(0.03, 30))
    axes.legend(loc="upper left", fontsize=8)
    figure.savefig(path, dpi=150)


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".json")
    measured = measure(make_sets())
    found = evaluate(measured)
    record = {"model": MODEL.name, "teacher": "SevenNet-0 (7net-0)", **found}
    target.write_text(json.dumps(record | {"versions": versions(), "machine": machine()}, indent=1) + "\n")
    draw(measured, found["atoms_by_grade"], target.with_suffix(".png"))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
