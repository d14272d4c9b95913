"""What the ML-IAP coupling itself costs: time of models that do nothing, and peak memory up to 100,000 atoms.

usage: python benchmarks/coupling.py [--host-lmp LMP --host-packages SITE] [--out FILE]
All on one rank. The kinds of run alternate; each is compared with LAMMPS' pair_style zero of the same round, with the
same cutoff, skin and settings of the neighbour list, on the same trajectory (no force acts in any of them). Times are
those that the process had on a processor, user and system together, which other programs disturb less than a clock's.
"""

import argparse
import json
import os
import pickle
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import coupling_objects
from ase.io import read
from speed import processor

ROOT = Path(__file__).resolve().parents[1]
CUTOFF = 5.0  # angstrom
TIMED = {(6, 6, 6): 800, (12, 12, 12): 100}  # cells of fcc, four atoms each: steps
REPEATS = 5
MEMORY = [(6, 6, 7), (14, 13, 14), (20, 19, 20), (29, 29, 30)]
PEROVSKITES = [(2, 2, 3), (5, 5, 4), (7, 7, 7), (10, 10, 11)]  # cells of 96 atoms
STEPS_FOR_MEMORY = 2

ARGON = """
units metal
lattice fcc 3.2
region box block 0 {0} 0 {1} 0 {2}
create_box 1 box
create_atoms 1 box
mass 1 40.0
{pair}
neighbor 1.0 bin
neigh_modify every 1 delay 5 check yes one 4000
velocity all create 300 1 loop geom
fix 1 all nve
timestep 0.001
thermo {steps}
run 0 post no
shell exec sh state.sh
run {steps} pre no
shell exec sh state.sh
"""
PEROVSKITE = f"""
units metal
read_data start.data
replicate {{0}} {{1}} {{2}}
mass 5 2.014
pair_style mliap unified {ROOT / "potentials" / "mapbi3" / "energy.safetensors"} 0
pair_coeff * * Pb I C N H
neighbor 1.0 bin
velocity all create 300 1 loop geom
fix 1 all nve
timestep 0.001
run 0 post no
shell exec sh state.sh
run {{steps}} pre no
shell exec sh state.sh
"""
# Called by LAMMPS between commands: the processor time and the peak memory of LAMMPS' own process.
STATE = "cat /proc/$PPID/stat >> stat; grep VmHWM /proc/$PPID/status > peak\n"


class Host(NamedTuple):
    """A LAMMPS: the words that start it on a script, and what its environment needs."""

    command: tuple[str, ...]
    variables: dict[str, str]


class Run(NamedTuple):
    """A finished run: processor time and clock time of its steps in seconds, peak memory in MB, neighbours per atom."""

    processor: float
    clock: float
    memory: float
    neighbours: float


class Failed(Exception):
    """LAMMPS ended with an error."""


def mliap(name: str) -> str:
    """The pair commands of a pickled object."""
    return f"pair_style mliap unified {name}.pickle 0\npair_coeff * * Ar"


def run(folder: Path, host: Host, deck: str) -> Run:
    """Run LAMMPS once."""
    (folder / "in.lmp").write_text(deck)
    (folder / "stat").unlink(missing_ok=True)
    variables = {k: v for k, v in os.environ.items() if k != "LAMMPS_PLUGIN_PATH"}
    variables |= {"OMP_NUM_THREADS": "1", "EFGMD_ALLOW_PICKLE": "1"} | host.variables
    done = subprocess.run(host.command, cwd=folder, env=variables, capture_output=True, text=True)
    if done.returncode != 0:
        told = re.findall(r"^ERROR.*", done.stdout, re.MULTILINE)
        raise Failed(told[0] if told else f"LAMMPS ended with {done.returncode}: {done.stderr[-500:]}")
    ticks = [sum(map(int, line.split()[13:15])) for line in (folder / "stat").read_text().splitlines()]
    return Run(
        (ticks[1] - ticks[0]) / os.sysconf("SC_CLK_TCK"),
        float(re.findall(r"Loop time of ([\d.e+-]+)", done.stdout)[-1]),
        int((folder / "peak").read_text().split()[1]) / 1024,
        float(re.findall(r"Ave neighs/atom = ([\d.]+)", done.stdout)[-1]),
    )


def overhead(folder: Path, cells: tuple[int, int, int], steps: int, hosts: dict[str, Host]) -> dict:
    """Time per atom and step of each kind of run, and how much of it is not that of pair_style zero."""
    atoms = 4 * cells[0] * cells[1] * cells[2]
    zero = f"pair_style zero {CUTOFF} full\npair_coeff * *"
    kinds = {"zero": (hosts["efgmd"], zero)}
    kinds["fast path"] = (hosts["fast path"], mliap("nothing"))
    kinds |= {name: (hosts["efgmd"], mliap(name)) for name in ("nothing", "pairs")}
    if "upstream" in hosts:
        kinds["upstream zero"] = (hosts["upstream"], zero)
        kinds |= {f"upstream {name}": (hosts["upstream"], mliap(name)) for name in ("nothing", "pairs")}
    rounds = []
    for _ in range(REPEATS):
        told = {
            name: run(folder, host, ARGON.format(*cells, pair=pair, steps=steps))
            for name, (host, pair) in kinds.items()
        }
        rounds.append(told)

    def each(name: str, field: str = "processor") -> list[float]:
        """Microseconds per atom and step, one for each round."""
        return [1e6 * getattr(told[name], field) / atoms / steps for told in rounds]

    def over_zero(name: str) -> list[float]:
        reference = "upstream zero" if name.startswith("upstream") else "zero"
        return [a - b for a, b in zip(each(name), each(reference), strict=True)]

    table = {}
    for name in kinds:
        table[name] = {
            "processor": round(statistics.median(each(name)), 3),
            "over_zero": round(statistics.median(over_zero(name)), 3),
            "clock": round(statistics.median(each(name, "clock")), 3),
            "rounds": [round(value, 3) for value in each(name)],
        }
        ours = name.removeprefix("upstream ")
        if ours not in (name, "zero"):
            ratios = [a / b for a, b in zip(over_zero(name), over_zero(ours), strict=True)]
            table[name]["over_zero_relative_to_ours"] = round(statistics.median(ratios), 2)
    return {
        "atoms": atoms,
        "steps": steps,
        "neighbours_per_atom": rounds[0]["zero"].neighbours,
        "microseconds_per_atom_step": table,
    }


def memory(folder: Path, host: Host, deck: Callable[[tuple], str], sizes: dict[tuple, int]) -> list[dict]:
    """Peak memory of the process at each size, and its growth from one size to the next."""
    rows: list[dict] = []
    for cells, atoms in sizes.items():
        row: dict = {"atoms": atoms}
        rows.append(row)
        try:
            told = run(folder, host, deck(cells))
        except Failed as error:
            row["error"] = str(error)
            break
        row |= {"peak_memory_MB": round(told.memory, 1), "neighbours_per_atom": told.neighbours}
        row["kB_per_atom"] = round(1024 * told.memory / atoms, 2)
        if len(rows) > 1:
            grown = told.memory - rows[-2]["peak_memory_MB"]
            row["kB_per_further_atom"] = round(1024 * grown / (atoms - rows[-2]["atoms"]), 2)
    return rows


def all_memory(folder: Path, hosts: dict[str, Host]) -> dict:
    """Memory of each model."""
    structure = read(ROOT / "examples" / "mapbi3" / "structure.extxyz")
    structure.write(folder / "start.data", format="lammps-data", specorder=["Pb", "I", "C", "N", "H"], masses=True)
    argon = {cells: 4 * cells[0] * cells[1] * cells[2] for cells in MEMORY}
    perovskite = {cells: 96 * cells[0] * cells[1] * cells[2] for cells in PEROVSKITES}

    def toy(name: str) -> Callable[[tuple], str]:
        return lambda cells: ARGON.format(*cells, pair=mliap(name), steps=STEPS_FOR_MEMORY)

    def shipped(cells: tuple) -> str:
        return PEROVSKITE.format(*cells, steps=STEPS_FOR_MEMORY)

    cases = {
        "energy.safetensors": (hosts["efgmd"], shipped, perovskite),
        "lennard_jones": (hosts["efgmd"], toy("lennard_jones"), argon),
        "nothing": (hosts["efgmd"], toy("nothing"), argon),
    }
    if "upstream" in hosts:
        cases["upstream lennard_jones"] = (hosts["upstream"], toy("lennard_jones"), argon)
    results = {}
    for name, case in cases.items():
        results[name] = memory(folder, *case)
        print(name, results[name], flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host-lmp", help="a LAMMPS with Python-enabled ML-IAP, to compare with")
    parser.add_argument("--host-packages", help="folder of packages, numpy among them, for its Python")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "coupling.json")
    options = parser.parse_args()

    objects = {"PYTHONPATH": str(ROOT / "benchmarks")}
    script = f"import coupling_objects; coupling_objects.run_fast_path('in.lmp', {CUTOFF})"
    hosts = {
        "efgmd": Host((str(Path(sys.executable).with_name("lmp")), "-in", "in.lmp", "-log", "none"), objects),
        "fast path": Host((sys.executable, "-c", script), objects),
    }
    if options.host_lmp:
        path = os.pathsep.join([objects["PYTHONPATH"], *filter(None, [options.host_packages])])
        hosts["upstream"] = Host((options.host_lmp, "-in", "in.lmp", "-log", "none"), {"PYTHONPATH": path})
    models = {"nothing": coupling_objects.Nothing, "pairs": coupling_objects.Pairs}
    models["lennard_jones"] = coupling_objects.LennardJones
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "state.sh").write_text(STATE)
        for file, model in models.items():
            (folder / f"{file}.pickle").write_bytes(pickle.dumps(model(CUTOFF)))
        timed = []
        for cells, steps in TIMED.items():
            timed.append(overhead(folder, cells, steps, hosts))
            print(timed[-1], flush=True)
        load = os.getloadavg()[0]
        measured = all_memory(folder, hosts)
    versions = {package: version(package) for package in ("efgmd", "lammps", "torch", "numpy")}
    if options.host_lmp:
        told = subprocess.run([options.host_lmp, "-h"], capture_output=True, text=True).stdout
        versions["upstream lammps"] = re.findall(r"Simulator - (.*)", told)[0]
    record = {
        "command": "python benchmarks/coupling.py"
        + (" --host-lmp LMP --host-packages SITE" if options.host_lmp else ""),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_after_timing": load,
        "load_at_end": os.getloadavg()[0],
        "versions": versions,
        "ranks": 1,
        "cutoff": CUTOFF,
        "overhead": timed,
        "memory": measured,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
