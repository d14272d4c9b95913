"""Cost against accuracy: energy models of several sizes, trained alike, then timed in LAMMPS.

usage: OMP_NUM_THREADS=1 python benchmarks/front.py FOLDER [--minutes 12] [--only NAME ...]
It takes a quarter of an hour for each size. Models are trained from nothing on the SevenNet-0 labels of
potentials/mapbi3/data, one after the other on one core, timed like in speed.py, and compared with the teacher (held-out
frames of 384 atoms) and with PBE (the EFG model's test frames, which carry forces). The shipped model of the default
size, trained longer and in rounds, is timed and compared too. Training that was interrupted, or had fewer minutes, goes
on, so `--only` can share the work out.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
from ase.io import read
from speed import POTENTIALS, ROOT, run_once, write_start

from efgmd import _kernels
from efgmd.calculators import EnergyCalculator
from efgmd.campaign.provenance import machine, versions
from efgmd.models.io import read_metadata

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SIZES = {  # hyperparameters beside the defaults (cutoff 6, n_radial 8)
    "4 channels, l up to 2": {"channels": 4, "lmax": 2, "hidden": 16, "n_radial": 6},
    "8 channels, l up to 2": {"channels": 8, "lmax": 2, "hidden": 32},
    "12 channels, l up to 3": {"channels": 12, "lmax": 3, "hidden": 48},
    "24 channels, l up to 3": {"channels": 24, "lmax": 3, "hidden": 64},
    "40 channels, l up to 3": {"channels": 40, "lmax": 3, "hidden": 96},
}
SHIPPED = "shipped: 24 channels, l up to 3"
STEPS, REPEATS = 200, 7


def train(path, hyperparameters, minutes):
    data = POTENTIALS / "data" / "energy_train.xyz.gz"
    command = [Path(sys.executable).parent / "efgmd", "train", "energy", data, "-o", path, "--elements", "Pb I C N H"]
    command += ["--minutes", str(minutes), "--seed", "1"]
    for name, value in hyperparameters.items():
        command += ["--set", f"{name}={value}"]
    subprocess.run(command, check=True)


def errors(path, frames, reference):
    """Root mean square and mean of absolute errors of force components (meV/angstrom)."""
    calculator = EnergyCalculator(path)
    found = np.concatenate([calculator.get_property("forces", atoms) - reference(atoms) for atoms in frames])
    return {"rmse": 1e3 * float(np.sqrt(np.mean(found**2))), "mae": 1e3 * float(np.abs(found).mean())}


def measure(models):
    """Errors of each model, and speeds, for which the models take turns."""
    held_out = read(POTENTIALS / "validation" / "held_out.xyz.gz", ":")
    labelled = read(POTENTIALS / "data" / "efg_test.xyz.gz", ":")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        atoms = write_start(folder, 2)
        turns = [{n: run_once(folder, path, STEPS, None).loop for n, path in models.items()} for _ in range(REPEATS)]
    return {
        name: {
            "atom_steps_per_second": round(atoms * STEPS / statistics.median(turn[name] for turn in turns)),
            "loop_seconds": [turn[name] for turn in turns],
            "epochs": read_metadata(path)["training"]["epochs"],
            "minutes_of_training": read_metadata(path)["training"]["seconds"] / 60,
            "forces_against_teacher_meV_per_A": errors(path, held_out, lambda atoms: atoms.get_forces()),
            "forces_against_pbe_meV_per_A": errors(path, labelled, lambda atoms: atoms.arrays["dft_forces"]),
        }
        for name, path in models.items()
    }


def draw(found, path):
    figure, axes = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    for quantity, label, marker in (
        ("forces_against_pbe_meV_per_A", "against PBE, frames of 12 and 48 atoms", "s"),
        ("forces_against_teacher_meV_per_A", "against SevenNet-0, frames of 384 atoms", "o"),
    ):
        points = {name: (row["atom_steps_per_second"], row[quantity]["mae"]) for name, row in found.items()}
        rows = sorted((points[name], name) for name in SIZES)
        (line,) = axes.plot(*zip(*(point for point, _ in rows), strict=True), f"-{marker}", ms=5, label=label)
        axes.plot(*points[SHIPPED], marker, ms=8, mfc="none", color=line.get_color())
    for (x, y), name in rows:
        text = name.replace(" channels, l up to ", " × l ≤ ")
        axes.annotate(text, (x, y), (0, -14), textcoords="offset points", ha="center", fontsize=8)
    ticks = [20_000, 30_000, 50_000, 100_000, 150_000]
    axes.set(xscale="log", xlabel="atom steps per second, one core", ylabel="mean absolute error of forces (meV/Å)")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlim=(ticks[0], ticks[-1]), ylim=(0, None))
    axes.legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--only", nargs="+", choices=list(SIZES), help="train these and measure nothing")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    models = {name: (arguments.folder / f"model{k}.safetensors").resolve() for k, name in enumerate(SIZES)}
    for name in arguments.only or SIZES:
        train(models[name], SIZES[name], arguments.minutes)
    if arguments.only:
        return
    found = measure(models | {SHIPPED: POTENTIALS / "energy.safetensors"})
    record = {
        "sizes": SIZES,
        "models": found,
        "instruction_set": _kernels.instruction_set(),
        "versions": versions(),
        "machine": machine(),
    }
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(record, indent=1) + "\n")
    draw(found, ROOT / "docs" / "pages" / "front.png")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
