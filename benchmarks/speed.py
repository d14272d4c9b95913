"""Speed and memory of the shipped MAPbI3 potentials in LAMMPS: NPT dynamics alone, and with an EFG sample every 20 fs.

usage: python benchmarks/speed.py [OUT.json]
Each case is one `lmp` process on one core; dynamics alone, with EFG samples, and with the samples of all members of the
committee run in turn, several times each, and medians are kept. Times are LAMMPS' own: of its loop, and of the fixes
and computes in it, which tell what samples cost from the rest of the same run, however fast the machine then is.
"""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from ase.io import read

from efgmd import _kernels

ROOT = Path(__file__).resolve().parents[1]
POTENTIALS = ROOT / "potentials" / "mapbi3"
ENERGY = POTENTIALS / "energy-d3.safetensors"
SIZES = {96: 4000, 768: 600, 6144: 80}  # atoms: steps
EVERY = 20  # steps of 1 fs between EFG samples
REPEATS = 5

DECK = """
units metal
atom_style atomic
read_data {data}
mass 5 2.014
pair_style mliap unified {energy} 0
pair_coeff * * Pb I C N H
neighbor 1.0 bin
comm_modify cutoff 8.0
neigh_modify every 1 delay 5 check yes
timestep 0.001
velocity all create 300 1
fix 1 all npt temp 300 300 0.1 aniso 0 0 1
{sampling}
run {every}
run {steps}
"""
SAMPLING = """compute efg all efg/atom {efg} Pb I C N H {options}
fix avg all ave/atom {every} 1 {every} c_efg[*]"""
KINDS = {"dynamics": None, "efg": "", "members": "members yes"}  # options of the compute


def write_start(folder: Path, copies: int) -> int:
    """Write ``start.data`` with so many copies of the example structure along each axis; return the number of atoms."""
    structure = read(ROOT / "examples" / "mapbi3" / "structure.extxyz") * (copies, copies, copies)
    structure.write(folder / "start.data", format="lammps-data", specorder=["Pb", "I", "C", "N", "H"], masses=True)
    return len(structure)


@dataclass
class Run:
    """Of the last run of a deck: loop time and how much of it fixes and computes took, seconds; peak memory, MB."""

    loop: float
    modify: float
    memory: float


def run_once(folder: Path, energy: Path, steps: int, options: str | None) -> Run:
    """Run LAMMPS once, with EFG samples unless the options of their compute are None."""
    sampling = ""
    if options is not None:
        sampling = SAMPLING.format(efg=POTENTIALS / "efg.safetensors", every=EVERY, options=options)
    deck = DECK.format(
        data=folder / "start.data",
        energy=energy,
        sampling=sampling,
        steps=steps,
        every=EVERY,
    )
    status, text, memory = lmp_output(folder, deck)
    return Run(last_loop_time(status, text), float(re.findall(r"Modify *\| *([\d.e+-]+)", text)[-1]), memory)


def lmp_output(folder: Path, deck: str) -> tuple[int, str, float]:
    """Run a deck on one core; return the exit status, what LAMMPS printed and the peak memory in MB."""
    (folder / "in.lmp").write_text(deck)
    lmp = Path(sys.executable).with_name("lmp")
    command = [str(lmp), "-in", "in.lmp", "-log", "none"]
    before = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=folder, env=before, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, text, usage.ru_maxrss / 1024


def last_loop_time(status: int, text: str) -> float:
    """Loop time of the last run of LAMMPS in seconds, from its exit status and what it printed."""
    if status != 0:
        raise SystemExit(f"lmp ended with {status}: {text[-500:]}")
    return float(re.findall(r"Loop time of ([\d.e+-]+)", text)[-1])


def measure(atoms: int, steps: int) -> dict:
    """Time one system size."""
    copies = round((atoms / 96) ** (1 / 3))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_start(folder, copies)
        rounds = [
            {kind: run_once(folder, ENERGY, steps, options) for kind, options in KINDS.items()} for _ in range(REPEATS)
        ]
    plain = statistics.median(done["dynamics"].loop for done in rounds)
    samples = steps // EVERY
    sampled = {}
    for kind in list(KINDS)[1:]:
        seconds = [done[kind].modify - done["dynamics"].modify for done in rounds]
        within = [spent / (done[kind].loop - spent) for spent, done in zip(seconds, rounds, strict=True)]
        sampled[kind] = {
            "samples_over_the_rest": round(statistics.median(within), 4),
            "time_over_dynamics": round(
                statistics.median(done[kind].loop / done["dynamics"].loop for done in rounds), 3
            ),
            "atoms_per_second": round(atoms * samples / statistics.median(seconds)),
        }
    return {
        "atoms": atoms,
        "steps": steps,
        "atom_steps_per_second": round(atoms * steps / plain),
        "sampled_every_20_steps": sampled,
        "peak_memory_MB": {kind: round(rounds[0][kind].memory) for kind in KINDS},
        "loop_seconds": [{kind: round(done[kind].loop, 3) for kind in KINDS} for done in rounds],
        "modify_seconds": [{kind: round(done[kind].modify, 3) for kind in KINDS} for done in rounds],
    }


def processor() -> str:
    """Name of the processor."""
    match = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.processor()


def write_results(name: str, sizes: dict[int, int], measure: Callable[[int, int], dict], **more) -> None:
    """Measure all sizes and write the results, with the machine, to ``NAME.json`` or the file named as an argument."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "benchmarks" / f"{name}.json"
    results = []
    for atoms, steps in sizes.items():
        results.append(measure(atoms, steps))
        print(results[-1], flush=True)
    record = {
        "command": f"python benchmarks/{name}.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_at_end": os.getloadavg()[0],
        "instruction_set": _kernels.instruction_set(),
        "versions": {package: version(package) for package in ("efgmd", "lammps", "torch", "numpy")},
        **more,
        "results": results,
    }
    out.write_text(json.dumps(record, indent=1) + "\n")


def main():
    write_results("speed", SIZES, measure, ranks=1)


if __name__ == "__main__":
    main()
