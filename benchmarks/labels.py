"""What k-points and plane-wave cutoff cost and err: EFG tensors of thermal MAPbI3 from several, beside the best.

usage: python benchmarks/labels.py FOLDER [OUT.json]
needs: GPAW, see docs/pages/howto/label.md; about 25 minutes on two cores

Labels three test frames of 12 atoms and one of 48 (PBE) with several sets of k-points at 12 Ha, and the small ones at
several cutoffs. An error is the root mean square deviation from the densest set or highest cutoff, per cent of sigma,
the spread of an element's components in all test frames; `slope` is that of a line through the origin, `rest` what
deviates from the line. Finished labels stay in FOLDER, and the command goes on.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write

from efgmd.training.dataset import efg_scales, known_tensors

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "potentials" / "mapbi3" / "data" / "efg_test.xyz.gz"
FEW, SPARSE = "2,2,6/1,-1,10/0,0,6:shifted", "1,1,4/2,-2,2/0,0,12:shifted"
SETS = ["2x2x2:shifted", "2x2x2:bcc", FEW, SPARSE, "4x4x4:shifted", "1,1,22/2,-2,24/0,0,16:shifted"]
DENSE = "4x4x4:bcc"
LOW, CUTOFFS, HIGHEST = 12, [20, 30], 40  # Ha


def label(frames: Path, kpoints: str, cutoff: int) -> Path:
    """Label a file, or find it done."""
    output = frames.with_name(f"{frames.stem}_{re.sub('[:/]', '_', kpoints)}_{cutoff}.xyz")
    command = [str(Path(sys.executable).parent / "efgmd"), "label", str(frames), str(output), "--kpoints", kpoints]
    subprocess.run([*command, "--primitive", "6.3,6.3,6.3", "--cutoff", str(cutoff)], check=True)
    return output


def deviations(path: Path, best: Path, sigma: dict[str, float]) -> dict:
    """Deviations of each element, per cent of sigma."""
    symbols, tensors = known_tensors(read(path, ":"))
    _, reference = known_tensors(read(best, ":"))
    found = {}
    for element, scale in sigma.items():
        x, y = tensors[symbols == element].ravel(), reference[symbols == element].ravel()
        slope = float(x @ y / (y @ y))
        parts = {"error": x - y, "rest": x - slope * y}
        found[element] = {k: round(100 * float(np.sqrt(np.mean(v**2))) / scale, 2) for k, v in parts.items()}
        found[element]["slope"] = round(slope, 4)
    return found


def points(labelled: Path) -> int:
    """Number of k-points that were computed for a frame."""
    text = next(labelled.with_name(labelled.name + ".frames").glob("*.txt")).read_text()
    return int(re.search(r"(\d+) k-points in the irreducible", text)[1])


def main() -> None:
    """Label, compare, write."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "benchmarks" / "labels.json"
    frames = read(DATA, ":")
    heavy, light = efg_scales(frames, ("Pb", "I")), efg_scales(frames, ("C", "N", "H"))
    names = "npt12", "nvt12", "nvt48-seed501"
    runs = {name: [a for a in frames if str(a.info["tag"]).startswith(name)] for name in names}
    sources = {}
    for atoms, members in {12: runs["npt12"][:2] + runs["nvt12"][:1], 48: runs["nvt48-seed501"][:1]}.items():
        sources[atoms] = folder / f"frames{atoms}.xyz"
        bare = [Atoms(a.symbols, a.positions, cell=a.cell, pbc=True) for a in members]
        write(sources[atoms], bare, format="extxyz")
    record = {"command": "python benchmarks/labels.py FOLDER", "frames": {12: 3, 48: 1}}
    kpoints = []
    for atoms, source in sources.items():
        dense = label(source, DENSE, LOW)
        for mesh in SETS:
            done = label(source, mesh, LOW)
            kpoints.append({"atoms": atoms, "kpoints": mesh, "computed": points(done)} | deviations(done, dense, heavy))
    record["kpoints"] = {"cutoff_hartree": LOW, "dense": DENSE, "results": kpoints}
    highest = label(sources[12], FEW, HIGHEST)
    cutoffs = [{"hartree": c} | deviations(label(sources[12], FEW, c), highest, light) for c in CUTOFFS]
    record["cutoffs"] = {"kpoints": FEW, "highest_hartree": HIGHEST, "results": cutoffs}
    record["method"] = read(highest, "0").info["efg_method"].removesuffix(f" {HIGHEST} Ha")
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
