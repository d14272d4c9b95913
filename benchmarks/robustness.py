"""Long dynamics with a force field of CH3NH3PbI3: 1 ns of NPT at 400 and 500 K, 0.1 ns of NVE at 300 K.

usage: python benchmarks/robustness.py MODEL.safetensors FOLDER [--at-a-time 2]     up to 80 minutes of one core
A run that was interrupted begins anew from its last restart file; one that is done is only read again. The results are
put into robustness.json beside this script, under the name of the model.
"""

import argparse
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from ase.io import read

from efgmd.calculators import EnergyCalculator
from efgmd.campaign.provenance import machine, versions

ROOT = Path(__file__).parents[1]
START = ROOT / "examples" / "mapbi3" / "structure.extxyz"
ELEMENTS = ["Pb", "I", "C", "N", "H"]
MASSES = [207.2, 126.90447, 12.011, 14.007, 2.014]
LOOK = 1000  # steps between frames
RUNS = {  # name: temperature, time step (fs), length (ps), integrator
    "npt-400": (400, 1.0, 1000, "npt temp 400 400 0.1 aniso 0 0 1"),
    "npt-500": (500, 1.0, 1000, "npt temp 500 500 0.1 aniso 0 0 1"),
    "nve-300": (300, 0.5, 100, "nve"),
}
BONDS = {("C", "N"): 2.0, ("C", "H"): 1.6, ("N", "H"): 1.6}  # within a molecule: those shorter than this at the start


def deck(name, model, folder):
    """LAMMPS input: from the start, or from the newest restart file."""
    temperature, timestep, length, fix = RUNS[name]
    restarts = sorted(folder.glob("restart.*"), key=lambda path: int(path.suffix[1:]))
    begin = f"read_restart {restarts[-1].name}" if restarts else "read_data start.data"
    equilibrate = f"""
velocity all create {2 * temperature} 4821 mom yes rot no dist gaussian
fix warm all nvt temp {temperature} {temperature} 0.1
run 20000
unfix warm
reset_timestep 0
"""
    return f"""units metal
atom_style atomic
{begin}
{chr(10).join(f"mass {k} {mass}" for k, mass in enumerate(MASSES, 1))}
pair_style mliap unified {model} 0
pair_coeff * * {" ".join(ELEMENTS)}
neighbor 1.0 bin
timestep {timestep / 1000}
thermo 0
{"" if restarts else equilibrate}
fix md all {fix}
thermo_style custom step temp press etotal lx ly lz
thermo_modify flush yes format float %.8g
thermo {LOOK}
dump frames all custom {LOOK} frames.dump id type xu yu zu
dump_modify frames sort id append yes format float %.5f
restart 50000 restart.*
run {round(length * 1000 / timestep)} upto
"""


def run(name, model, folder):
    """Run to the end, or go on where the last call was stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "done").exists():
        return
    if not (folder / "start.data").exists():
        read(START).write(folder / "start.data", format="lammps-data", specorder=ELEMENTS, masses=True)
    (folder / "in.run").write_text(deck(name, model, folder))
    log = f"log.{len(list(folder.glob('log.*'))):02d}"
    command = [Path(sys.executable).parent / "lmp", "-in", "in.run", "-log", log, "-screen", "none"]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if finished.returncode:
        raise SystemExit(f"{name}: {finished.stdout[-500:]} {finished.stderr[-500:]} (log: {folder / log})")
    (folder / "done").touch()


def table(folder):
    """Rows of thermodynamic output of all logs, each step once, as columns by name."""
    rows, names = {}, []
    for log in sorted(folder.glob("log.*")):
        lines = iter(log.read_text().splitlines())
        for line in lines:
            if not re.match(r"\s+Step .*TotEng", line):
                continue
            names = line.split()
            for row in lines:
                try:
                    numbers = [float(word) for word in row.split()]
                except ValueError:
                    break
                if len(numbers) == len(names):
                    rows[numbers[0]] = numbers
    columns = np.array([rows[step] for step in sorted(rows)])
    return {name: columns[:, k] for k, name in enumerate(names)}


def frames_of(folder):
    """Configurations of a run."""
    atoms = read(START)
    with open(folder / "frames.dump") as stream:
        while len(header := list(islice(stream, 9))) == 9:
            bounds = np.array([[float(word) for word in line.split()] for line in header[5:8]])
            atoms.set_cell(bounds[:, 1] - bounds[:, 0])
            atoms.positions = [[float(word) for word in next(stream).split()[2:5]] for _ in range(len(atoms))]
            yield atoms.copy()


def bonds():
    """Pairs of bonded atoms of the start, by kind."""
    start = read(START)
    distances = start.get_all_distances(mic=True)
    close = {kind: distances < limit for kind, limit in BONDS.items()}
    return {
        (a, b): np.argwhere(near & (start.symbols == a)[:, None] & (start.symbols == b)[None, :])
        for (a, b), near in close.items()
    }


def lengths(atoms, pairs):
    vectors = (atoms.positions[pairs[:, 1]] - atoms.positions[pairs[:, 0]]) / atoms.cell.lengths()
    return np.linalg.norm((vectors - np.rint(vectors)) * atoms.cell.lengths(), axis=1)


def result(name, model, folder):
    temperature, timestep, length, _ = RUNS[name]
    found = table(folder)
    calculator, pairs = EnergyCalculator(model), bonds()
    frames = list(frames_of(folder))
    longest = {f"{a}-{b}": max(float(lengths(f, pairs[a, b]).max()) for f in frames) for a, b in pairs}
    grades = np.array([calculator.get_property("extrapolation", atoms).max() for atoms in frames])
    energy, time_ns = found["TotEng"], found["Step"] * timestep * 1e-6
    record = {
        "temperature_K": temperature,
        "length_ps": float(found["Step"][-1] * timestep / 1000),
        "complete": bool(found["Step"][-1] * timestep / 1000 == length),
        "timestep_fs": timestep,
        "atoms": len(frames[0]),
        "mean_temperature_K": float(found["Temp"].mean()),
        "longest_bonds_angstrom": longest,
        "frames": len(grades),
        "largest_grade": float(grades.max()),
        "median_of_the_largest_grade_of_a_frame": float(np.median(grades)),
        "share_of_frames_beyond": {str(limit): float((grades > limit).mean()) for limit in (1.0, 1.5, 2.0)},
    }
    if name.startswith("nve"):
        slope = np.polyfit(time_ns, energy, 1)[0]
        record["drift_meV_per_atom_per_ns"] = 1e3 * float(slope) / record["atoms"]
        record["energy_fluctuation_meV_per_atom"] = 1e3 * float(energy.std()) / record["atoms"]
    else:
        record["cell_angstrom"] = [float(found[name].mean()) for name in ("Lx", "Ly", "Lz")]
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at-a-time", type=int, default=2)
    arguments = parser.parse_args()
    model = arguments.model.resolve()
    folder = arguments.folder.resolve() / model.stem
    with ThreadPoolExecutor(arguments.at_a_time) as pool:
        list(pool.map(lambda name: run(name, model, folder / name), RUNS))
    found = {name: result(name, model, folder / name) for name in RUNS}
    target = Path(__file__).with_suffix(".json")
    record = json.loads(target.read_text()) if target.exists() else {}
    record[model.name] = {"runs": found, "versions": versions(), "machine": machine()}
    target.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
