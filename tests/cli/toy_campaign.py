"""A toy campaign: 16 atoms of rock salt, tiny random models, a few dozen steps."""

import os
import subprocess
import sys
import time
from pathlib import Path

from efgmd.errors import StoreError
from efgmd.store import Store

CAMPAIGN = """
structure: {file: cell.extxyz, supercell: [2, 1, 1], cells: [1, 1, 1]}
models: {energy: energy.safetensors, efg: efg.safetensors, elements: [Na, Cl]}
nuclei: [23Na, 35Cl]
temperatures: [80, 100]
ensemble: {kind: npt, pressure_control: aniso}
timestep_fs: 1
equilibration_ps: 0.02
production_ps: 0.12
sampling_fs: 4
trajectory_ps: 0.02
restart_minutes: 0
minimize: false
seed: 5
"""
FOLDERS = ("T0080K", "T0100K")
SAMPLES, EQUILIBRATION, INTERVAL = 30, 20, 4


def write_toy(folder: Path, text: str = CAMPAIGN) -> Path:
    """Write models, structure and campaign file; returns the campaign file."""
    import torch
    from ase.build import bulk

    from efgmd.models import EFGModel, EnergyModel
    from efgmd.models.io import save_model

    torch.manual_seed(1)
    sizes = {"cutoff": 4.0, "n_radial": 4, "lmax": 2, "channels": 3, "hidden": 8}
    energy = EnergyModel(("Na", "Cl"), **sizes)
    for head in energy.heads:  # a weak potential: the toy crystal must not fall apart within its few steps
        for parameter in head.parameters():
            parameter.data *= 0.1
    save_model(folder / "energy.safetensors", energy)
    save_model(folder / "efg.safetensors", EFGModel(("Na", "Cl"), outputs=3, **sizes))
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.05, seed=2)
    atoms.write(folder / "cell.extxyz")
    path = folder / "toy.yaml"
    path.write_text(text)
    return path


def efgmd(*arguments: object, cwd: Path | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "efgmd.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout, check=False)


def samples_of(output):
    """Steps that the first temperature's store holds so far."""
    try:
        return Store(output / FOLDERS[0] / "efg.h5").sample_steps
    except StoreError:
        return []


def workers_of(output):
    """Process ids of workers of this campaign that are still alive."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as stream:
                    command = stream.read().decode(errors="replace")
            except OSError:
                continue
            if "efgmd.campaign.worker" in command and str(output) in command:
                found.append(int(entry))
    return found


def wait_for(condition, timeout=240):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.02)
