"""Structures, input decks and output readers for the tests that run the real LAMMPS."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

ELEMENTS = ("Pb", "I", "C", "N", "H")
ELEMENT_LIST = " ".join(ELEMENTS)
EV_PER_A3_IN_BAR = 1602176.5  # LAMMPS' own factor, which is rounded
BIN = Path(sys.executable).parent


def perovskite(repeat=(2, 2, 2), seed=0, tilt=0.0, shake=0.08):
    """MAPbI3-like cell: 12 atoms per formula unit, shaken; `tilt` shears the cell into a triclinic one.

    The cell is lower triangular, as LAMMPS wants it.
    """
    a = 6.3
    molecule = [("C", (0.47, 0.5, 0.5)), ("N", (0.59, 0.5, 0.5))]
    hydrogens = [(0.41, 0.55, 0.65), (0.41, 0.65, 0.42), (0.41, 0.36, 0.44)]
    hydrogens += [(0.65, 0.45, 0.36), (0.65, 0.36, 0.57), (0.65, 0.64, 0.54)]
    sites = [("Pb", (0, 0, 0)), ("I", (0.5, 0, 0)), ("I", (0, 0.5, 0)), ("I", (0, 0, 0.5)), *molecule]
    sites += [("H", place) for place in hydrogens]
    unit = Atoms([s for s, _ in sites], scaled_positions=[p for _, p in sites], cell=[a] * 3, pbc=True)
    atoms = unit.repeat(repeat)
    atoms.positions += np.random.default_rng(seed).normal(scale=shake, size=atoms.positions.shape)
    if tilt:
        cell = atoms.cell.array.copy()
        cell[1, 0], cell[2, 0], cell[2, 1] = tilt * cell[0, 0], -0.7 * tilt * cell[0, 0], 0.5 * tilt * cell[1, 1]
        atoms.set_cell(cell, scale_atoms=True)
    return atoms


def save_random_models(folder):
    """Save small random models energy, efg and committee (.safetensors, an EFG model too); returns the folder.

    The EFG model sees further than the energy model, so its neighbours are not those of the pair style. The energy
    model has recorded perovskites that are shaken less than those of the tests.
    """
    import torch

    from efgmd.frames.neighbours import batch_of
    from efgmd.models import EFGModel, EnergyModel
    from efgmd.models.io import save_model

    torch.manual_seed(3)
    sizes = {"n_radial": 4, "lmax": 2, "channels": 6, "hidden": 8}
    energy = EnergyModel(ELEMENTS, cutoff=4.5, **sizes)
    energy.set_energy_references({element: -1.0 - k for k, element in enumerate(ELEMENTS)})
    known = [perovskite(seed=seed, shake=0.05) for seed in range(21, 27)]
    energy.record_training(lambda: (batch_of(a, 4.5, ELEMENTS, energy.dtype).neighbourhoods for a in known), list)
    save_model(folder / "energy.safetensors", energy)
    efg = EFGModel(ELEMENTS, cutoff=5.5, outputs=6, **sizes)
    committee = EFGModel(ELEMENTS, cutoff=5.5, outputs=6, committee=3, **sizes)
    for part in [*efg.linear, *committee.linear]:
        part.pair.normal_()
        part.triple.normal_(std=0.1)
    save_model(folder / "efg.safetensors", efg)
    committee.spread_scales.copy_(torch.tensor([0.5, 2.0, 1.0, 3.0, 0.7]))
    committee.spread_limits.copy_(torch.tensor([1.0, 0.5, 0.25, 2.0, 4.0]))
    save_model(folder / "committee.safetensors", committee)
    return folder


def write_data(path, atoms, elements=ELEMENTS, velocities=None):
    """Write a data file (atom style atomic); types number `elements` from 1, ids are the atoms' order from 1."""
    cell = atoms.cell.array
    assert abs(np.triu(cell, 1)).max() < 1e-9, "the cell must be lower triangular"
    lines = ["written by the tests", "", f"{len(atoms)} atoms", f"{len(elements)} atom types", ""]
    lines += [f"0 {float(cell[d, d])!r} {c}lo {c}hi" for d, c in enumerate("xyz")]
    if abs(np.tril(cell, -1)).max() > 1e-12:
        lines.append(" ".join(repr(float(cell[i, j])) for i, j in ((1, 0), (2, 0), (2, 1))) + " xy xz yz")
    lines += ["", "Masses", ""]
    lines += [f"{k + 1} {atomic_masses[atomic_numbers[e]]:.6f}" for k, e in enumerate(elements)]
    lines += ["", "Atoms # atomic", ""]
    types = [elements.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    for k, (kind, place) in enumerate(zip(types, atoms.positions, strict=True)):
        lines.append(f"{k + 1} {kind} " + " ".join(repr(float(c)) for c in place))
    if velocities is not None:
        lines += ["", "Velocities", ""]
        lines += [f"{k + 1} " + " ".join(repr(float(c)) for c in v) for k, v in enumerate(velocities)]
    Path(path).write_text("\n".join(lines) + "\n")


@dataclass
class Finished:
    """A finished LAMMPS process: exit status, standard output and error together, seconds it took."""

    status: int
    output: str
    seconds: float

    @property
    def errors(self):
        """Lines that report an error."""
        return [line for line in self.output.splitlines() if line.startswith("ERROR")]

    def thermo(self, run=-1):
        """Columns of the thermodynamic output of one run, by name."""
        lines, tables = self.output.splitlines(), []
        for k, line in enumerate(lines):
            names = line.split()
            if names[:1] != ["Step"]:
                continue
            rows = []
            for row in lines[k + 1 :]:
                try:
                    rows.append([float(word) for word in row.split()])
                except ValueError:
                    break
                if len(rows[-1]) != len(names):
                    rows.pop()
                    break
            tables.append({name: np.array([row[c] for row in rows]) for c, name in enumerate(names)})
        return tables[run]


def run_lmp(folder, deck, ranks=1, program=("lmp",), timeout=120, **environment):
    """Run an input deck with the real program under mpiexec (one rank: without)."""
    import time

    (Path(folder) / "in.lmp").write_text(deck)
    launcher = [str(BIN / "mpiexec"), "-n", str(ranks)] if ranks > 1 else []
    command = [*launcher, str(BIN / program[0]), *program[1:], "-in", "in.lmp"]
    clean = {k: v for k, v in os.environ.items() if k not in ("EFGMD_ALLOW_PICKLE", "LAMMPS_PLUGIN_PATH")}
    begin = time.monotonic()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**clean, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return Finished(done.returncode, done.stdout, time.monotonic() - begin)


def succeed(*args, **kwargs):
    """`run_lmp`, which must end well."""
    finished = run_lmp(*args, **kwargs)
    assert finished.status == 0, finished.output[-4000:]
    return finished


def read_dump(path):
    """Frames of a text dump: for each a dict of columns sorted by id, with `step`."""
    frames, lines = [], Path(path).read_text().splitlines()
    at = 0
    while at < len(lines):
        step, count = int(lines[at + 1]), int(lines[at + 3])
        names = lines[at + 8].split()[2:]
        rows = np.array([[float(word) for word in line.split()] for line in lines[at + 9 : at + 9 + count]])
        rows = rows[np.argsort(rows[:, names.index("id")])]
        frame = {name: rows[:, c] for c, name in enumerate(names)}
        frame["step"] = step
        frames.append(frame)
        at += 9 + count
    return frames


def columns(frame, *names):
    """Several columns of a dumped frame as one array."""
    return np.stack([frame[name] for name in names], axis=1)


def efg_columns(frame, compute="efg"):
    """The 6 columns of a compute efg/atom as tensors (N, 3, 3)."""
    six = columns(frame, *(f"c_{compute}[{c + 1}]" for c in range(6)))
    return full_tensors(six)


def full_tensors(six):
    """Symmetric tensors (N, 3, 3) from xx yy zz xy xz yz."""
    xx, yy, zz, xy, xz, yz = six.T
    return np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=1).reshape(-1, 3, 3)


def header(data="start.data", dtype="float64", boundary="p p p", units="metal", extra="", energy="energy"):
    """First lines of a deck: the system, the pair style and the compute."""
    return f"""
units {units}
boundary {boundary}
atom_modify map array
{extra}
read_data {data}
pair_style mliap unified {energy}.safetensors 0 dtype {dtype}
pair_coeff * * {ELEMENT_LIST}
compute efg all efg/atom efg.safetensors {ELEMENT_LIST} dtype {dtype}
comm_modify cutoff 7.5
neighbor 1.0 bin
"""


OUTPUT = """
compute energy all pe/atom
compute virial all stress/atom NULL virial
compute centroid all centroid/stress/atom NULL virial
compute virial_sum all reduce sum c_virial[*]
compute centroid_sum all reduce sum c_centroid[*]
"""
PRECISE = "thermo_modify format float %.16g norm no"
DUMP = "id type x y z fx fy fz c_energy c_efg[*]"
