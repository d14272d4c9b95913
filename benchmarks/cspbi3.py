"""Energy models of CsPbI3, trained on the first-principles set of Baldwin et al. (Small 20, 2303565 (2024)).

usage: OMP_NUM_THREADS=1 python benchmarks/cspbi3.py train.xyz.gz FOLDER [--minutes 12] [--set NAME=VALUE ...]
       [--name NAME]
The data (alpha, beta, gamma and delta phase, 40 and 160 atoms, energies, forces, stresses) are in the public repository
WillBaldwin0/cspbi3_mlip_docker. One frame in ten is tested on and one in ten chooses the epoch.
The results of NAME are put into cspbi3.json beside this script; training that was interrupted goes on.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from ase.io import read, write

from efgmd.campaign.provenance import machine, versions
from efgmd.models.io import read_metadata


def split(frames, folder):
    """Write train, validation and test files, random frames of each configuration type."""
    groups = defaultdict(list)
    for frame in frames:
        groups[frame.info["config_type"]].append(frame)
    parts = {"train": [], "validation": [], "test": []}
    rng = np.random.default_rng(0)
    place = 0
    for name in sorted(groups):
        for k in rng.permutation(len(groups[name])):
            parts[{0: "test", 5: "validation"}.get(place % 10, "train")].append(groups[name][k])
            place += 1
    paths = {name: folder / f"{name}.xyz" for name in parts}
    for name, path in paths.items():
        write(path, parts[name], format="extxyz")
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--name", default="default")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    paths = split(read(arguments.data, ":"), arguments.folder)
    model = arguments.folder / f"{arguments.name}.safetensors"
    command = [Path(sys.executable).parent / "efgmd", "train", "energy", paths["train"], "-o", model]
    command += ["--validation", paths["validation"], "--test", paths["test"], "--elements", "Cs Pb I"]
    command += ["--split-by", "frame", "--minutes", arguments.minutes, "--seed", 1]
    command += [word for item in arguments.set for word in ("--set", item)]
    subprocess.run(list(map(str, command)), check=True)
    trained = read_metadata(model)["training"]
    target = Path(__file__).with_suffix(".json")
    record = json.loads(target.read_text()) if target.exists() else {}
    record[arguments.name] = {
        "hyperparameters": trained["settings"]["model"],
        "frames": {name: len(read(path, ":")) for name, path in paths.items()},
        "epochs": trained["epochs"],
        "minutes_of_training": trained["seconds"] / 60,
        "test": trained["accuracy"]["test"],
        "versions": versions(),
        "machine": machine(),
    }
    target.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
