"""What each step towards a fast force field gained: energies and forces of 768 atoms in each form.

usage: python benchmarks/steps.py [OUT.json]
The shipped model as operations of torch, then with kernels for the sums over neighbours and the products of densities,
then as one fused kernel, for SSE2, AVX2 with FMA, and AVX-512; last a whole step of NPT dynamics in LAMMPS with the
fastest. One thread. The forms take turns; medians and the medians of the ratios of neighbouring turns are kept.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from ase.io import read
from speed import DECK, ENERGY, EVERY, ROOT, last_loop_time, lmp_output, write_results, write_start

from efgmd import _kernels
from efgmd.frames.neighbours import batch_of
from efgmd.models import backbone
from efgmd.models.density import reference_density
from efgmd.models.io import load_model
from efgmd.models.products import reference_product

ROUNDS = 9
STEPS = 200  # of dynamics
ATOMS = 768
SETS = {"fused, SSE2": "generic", "fused, AVX2 and FMA": "x86-64-v3", "fused, AVX-512": "x86-64-v4"}


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """Kernels of this instruction set."""
    best = _kernels.instruction_set()
    _kernels.set_instruction_set(name)
    try:
        yield
    finally:
        _kernels.set_instruction_set(best)


def forms() -> dict[str, Callable[[], float]]:
    """Each form as a function that takes the seconds of one evaluation."""
    torch.set_num_threads(1)
    model = load_model(ENERGY, kind="energy")
    atoms = read(ROOT / "examples" / "mapbi3" / "structure.extxyz") * (2, 2, 2)
    atoms.rattle(0.03, seed=1)
    nb = batch_of(atoms, model.cutoff, model.elements, model.dtype).neighbourhoods

    def seconds(evaluate: Callable[[], object]) -> float:
        evaluate()  # the first is slower
        start = time.perf_counter()
        evaluate()
        return time.perf_counter() - start

    def plain() -> float:
        with patch.object(backbone, "density", reference_density), patch.object(backbone, "product", reference_product):
            return seconds(lambda: model.differentiated(nb))

    def fused(name: str) -> float:
        with instruction_set(name):
            return seconds(lambda: model.energies_and_pair_forces(nb))

    def with_kernels() -> float:
        with instruction_set("generic"):
            return seconds(lambda: model.differentiated(nb))

    known = {"torch": plain, "kernels, SSE2": with_kernels}
    for form, name in SETS.items():
        try:
            with instruction_set(name):
                known[form] = lambda name=name: fused(name)
        except ValueError:
            print(f"{form}: not on this processor")
    return known


def dynamics() -> float:
    """Seconds of one step of NPT dynamics."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_start(folder, 2)
        deck = DECK.format(data=folder / "start.data", energy=ENERGY, sampling="", steps=STEPS, every=EVERY)
        return last_loop_time(*lmp_output(folder, deck)[:2]) / STEPS


def measure(atoms: int, rounds: int) -> dict:
    """Time all forms in turn."""
    known = forms() | {"step in LAMMPS": dynamics}
    turns = [{form: take() for form, take in known.items()} for _ in range(rounds)]
    out, before = {}, None
    for form in known:
        taken = statistics.median(turn[form] for turn in turns)
        out[form] = {"milliseconds": round(1e3 * taken, 3), "atoms_per_second": round(atoms / taken)}
        if before:
            out[form]["speed_over_the_one_before"] = round(
                statistics.median(turn[before] / turn[form] for turn in turns), 2
            )
        before = form
    return {"atoms": atoms, "rounds": rounds, "forms": out}


if __name__ == "__main__":
    write_results("steps", {ATOMS: ROUNDS}, measure)
