"""Long dynamics with the shipped force field: 1 ns of NPT at 400 and 500 K, 0.2 ns of NVE at 300 K.

usage: python benchmarks/robustness.py FOLDER [RESULT.json]     two runs at a time, 40 minutes on two cores
A run that was interrupted begins anew from its last restart file; one that is done is only read again.
"""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from ase.io import read

from efgmd.campaign.provenance import machine, versions

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "potentials" / "mapbi3" / "energy-d3.safetensors"
START = ROOT / "examples" / "mapbi3" / "structure.extxyz"
ELEMENTS = ["Pb", "I", "C", "N", "H"]
MASSES = [207.2, 126.90447, 12.011, 14.007, 2.014]
LOOK = 1000  # steps between frames
RUNS = {  # name: temperature, time step (fs), length (ps), integrator
    "npt-400": (400, 1.0, 1000, "npt temp 400 400 0.1 aniso 0 0 1"),
    "npt-500": (500, 1.0, 1000, "npt temp 500 500 0.1 aniso 0 0 1"),
    "nve-300": (300, 0.5, 200, "nve"),
}
BONDS = {("C", "N"): 2.0, ("C", "H"): 1.6, ("N", "H"): 1.6}  # within a molecule: those shorter than this at the start


def deck(name, folder):
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
pair_style mliap unified {MODEL} 0
pair_coeff * * {" ".join(ELEMENTS)}
neighbor 1.0 bin
timestep {timestep / 1000}
thermo 0
{"" if restarts else equilibrate}
compute grade all extrapolation/atom {MODEL} {" ".join(ELEMENTS)}
compute worst all reduce max c_grade
fix md all {fix}
thermo_style custom step temp press etotal lx ly lz c_worst
thermo_modify flush yes format float %.8g
thermo {LOOK}
dump frames all custom {LOOK} frames.dump id type xu yu zu
dump_modify frames sort id append yes format float %.5f
restart 50000 restart.*
run {round(length * 1000 / timestep)} upto
"""


def run(name, folder):
    """Run to the end, or go on where the last call was stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "done").exists():
        return
    if not (folder / "start.data").exists():
        read(START).write(folder / "start.data", format="lammps-data", specorder=ELEMENTS, masses=True)
    (folder / "in.run").write_text(deck(name, folder))
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
            if not re.match(r"\s+Step .*c_worst", line):
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


def longest_bonds(folder):
    """Longest length of each kind of bond in all frames (angstrom)."""
    start = read(START)
    pairs = {}
    for (a, b), limit in BONDS.items():
        distances = start.get_all_distances(mic=True)
        found = np.argwhere((distances < limit) & (start.symbols == a)[:, None] & (start.symbols == b)[None, :])
        vectors = np.array([start.get_distance(i, j, mic=True, vector=True) for i, j in found])
        shifts = vectors - (start.positions[found[:, 1]] - start.positions[found[:, 0]])
        cells = np.rint(shifts @ np.linalg.inv(start.cell.array))  # images of the neighbours, kept by unwrapped dumps
        pairs[f"{a}-{b}"] = (found, cells)
    longest = dict.fromkeys(pairs, 0.0)
    with open(folder / "frames.dump") as stream:
        while header := [line for _, line in zip(range(9), stream, strict=False)]:
            size = np.array([[float(word) for word in line.split()] for line in header[5:8]])
            cell = size[:, 1] - size[:, 0]
            rows = [next(stream).split() for _ in range(len(start))]
            x = np.array([row[2:5] for row in rows], dtype=float)
            for name, (found, cells) in pairs.items():
                lengths = np.linalg.norm(x[found[:, 1]] - x[found[:, 0]] + cells * cell, axis=1)
                longest[name] = max(longest[name], float(lengths.max()))
    return longest


def result(name, folder):
    temperature, timestep, length, _ = RUNS[name]
    found = table(folder)
    grades = found["c_worst"]
    energy, time_ns = found["TotEng"], found["Step"] * timestep * 1e-6
    record = {
        "temperature_K": temperature,
        "length_ps": float(found["Step"][-1] * timestep / 1000),
        "complete": bool(found["Step"][-1] * timestep / 1000 == length),
        "timestep_fs": timestep,
        "atoms": len(read(START)),
        "mean_temperature_K": float(found["Temp"].mean()),
        "longest_bonds_angstrom": longest_bonds(folder),
        "frames": len(grades),
        "largest_grade": float(grades.max()),
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
    folder = Path(sys.argv[1]).resolve()
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_suffix(".json")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: run(name, folder / name), RUNS))
    found = {name: result(name, folder / name) for name in RUNS}
    record = {"model": MODEL.name, "runs": found, "versions": versions(), "machine": machine()}
    target.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
