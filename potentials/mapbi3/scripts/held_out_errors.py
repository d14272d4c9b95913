"""Errors of a force field on labelled held-out frames, by the temperature of the run that they come from.

usage: python held_out_errors.py MODEL.safetensors LABELLED.xyz OUT.json LABELS
LABELS says in words what the labels are. Forces in meV/angstrom, energies in meV per atom, stress in GPa.
"""

import hashlib
import json
import sys
from pathlib import Path

from efgmd.models.io import load_model
from efgmd.training.dataset import load
from efgmd.training.evaluation import evaluate


def main():
    model_file, labelled, out, labels = sys.argv[1:]
    data, model = load([labelled], "energy"), load_model(model_file)
    runs: dict[str, list[int]] = {}
    for k, frame in enumerate(data.frames):
        temperature = frame.info["tag"].removeprefix("heldout-").removesuffix("K")
        runs.setdefault(f"{temperature} K", []).append(k)
    record = {
        "model_sha256": hashlib.sha256(Path(model_file).read_bytes()).hexdigest(),
        "labels": labels,
        "runs": {
            name: {"errors_against_teacher": evaluate(model, data.subset(rows)).numbers} for name, rows in runs.items()
        },
    }
    Path(out).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
