"""Time and memory of `efgmd analyze` on a store of many frames and atoms.

usage: python benchmarks/analysis.py [OUT.json] [--frames 10000] [--cells 2000]
Writes a synthetic store (float32, some 4 GB for the default of 10,000 frames of 10,000 atoms) into a temporary folder,
analyses it in a process of its own on at most two threads, and keeps the time and the peak memory of that process.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms

from efgmd.campaign.config import NucleusChoice, Sites
from efgmd.store import StoreWriter
from efgmd.trajectories.importing import ImportedRun

OUT = Path(__file__).with_name("analysis.json")
SUPERCELL = (10, 10, 20)  # of a cell of five atoms
SECONDS, MEGABYTES = 120, 1000  # what the analysis may take


def structure() -> Atoms:
    """A cubic perovskite, five atoms."""
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return Atoms("PbCsI3", scaled_positions=places, cell=[6.3] * 3, pbc=True)


def write(folder: Path, frames: int) -> None:
    """Write run.json and a store of correlated tensors with the symmetry of the crystal."""
    atoms = structure().repeat(SUPERCELL)
    run = ImportedRun(300.0, 1.0, 20, 1, 0, frames, False, [], [])
    run.write(folder)
    rng = np.random.default_rng(0)
    count = len(atoms)
    mean = np.zeros((count, 6), dtype=np.float32)
    for kind, axis in ((2, 0), (3, 1), (4, 2)):  # iodine: axial along the bond
        mean[kind::5, :3] = -1.5
        mean[kind::5, axis] = 3.0
    cell = np.array([*atoms.cell.lengths(), 0, 0, 0])
    start = atoms.get_scaled_positions(wrap=False).astype(np.float32)
    noise = np.zeros((count, 6), dtype=np.float32)
    with StoreWriter(
        folder / "efg.h5", identity=run.identity, header={}, symbols=atoms.get_chemical_symbols(), n_samples=frames
    ) as store:
        for row in range(frames):
            fresh = rng.standard_normal((count, 6), dtype=np.float32)
            noise = np.float32(0.9) * noise + np.float32(0.4) * fresh
            noise[:, 2] = -noise[:, 0] - noise[:, 1]
            scaled = start + np.float32(0.002) * fresh[:, :3]
            scalars = {"temperature": 300 + fresh[0, 0], "pressure": 0.0, "potential_energy": 0.0}
            values = {"cell": cell + 0.01 * fresh[0] * [1, 1, 1, 0, 0, 0], "volume": float(np.prod(cell[:3]))}
            store.write_sample(row, 20 * (row + 1), {**values, **scalars})
            means = {"efg": mean + noise, "abs_vzz": np.abs(mean[:, 2]) + 1, "scaled": scaled, "cell": values["cell"]}
            store.write_block(row, 20 * (row + 1), means)


def analyse(folder: Path) -> None:
    """Analyse the store and print seconds and megabytes; runs in a process of its own."""
    from efgmd.analysis.temperature import TemperatureAnalysis

    nuclei = [NucleusChoice(name=name).nucleus() for name in ("127I", "133Cs")]
    begin, used = time.perf_counter(), time.process_time()
    analysis = TemperatureAnalysis(nuclei, Sites(framework=("Pb", "I", "Cs")), SUPERCELL, SUPERCELL)
    entry = analysis.compute(folder, structure().repeat(SUPERCELL))
    seconds, used = time.perf_counter() - begin, time.process_time() - used
    found = {f"{site['nucleus']} {site['site']}": [site["count"], site["cq_MHz"]] for site in entry["sites"]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu_seconds": used, "peak_memory_MB": peak, "sites": found}))


def main() -> None:
    """Write the store, analyse it, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, default=OUT)
    parser.add_argument("--frames", type=int, default=10000)
    parser.add_argument("--analyse", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.analyse:
        analyse(options.analyse)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, options.frames)
        size = (folder / "efg.h5").stat().st_size
        done = subprocess.run(
            [sys.executable, __file__, "--analyse", name],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "2"},
        )
    measured = json.loads(done.stdout)
    results = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_at_end": os.getloadavg()[0],
        "versions": {package: version(package) for package in ("efgmd", "numpy", "h5py", "spglib")},
        "frames": options.frames,
        "atoms": 5 * int(np.prod(SUPERCELL)),
        "store_MB": size / 1e6,
        **measured,
        "within": {"seconds": SECONDS, "peak_memory_MB": MEGABYTES},
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
