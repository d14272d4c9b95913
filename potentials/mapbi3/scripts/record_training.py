"""Record the training atoms in an energy model that was trained before models did so; its weights stay as they are.

usage: python record_training.py MODEL.safetensors FRAMES.xyz
FRAMES are those that `efgmd train energy` was given; the split into training and validation is done again as then.
"""

import sys
from functools import partial
from pathlib import Path

from efgmd.models.io import load_model, save_model
from efgmd.training.config import TrainingConfig
from efgmd.training.dataset import load, prepare, run_names, split_runs
from efgmd.training.session import neighbourhoods_of


def main():
    path, frames = map(Path, sys.argv[1:])
    model = load_model(path, "energy")
    training = model.metadata["training"]
    config = TrainingConfig.model_validate(training["settings"])
    data = load([frames], "energy", config.label_keys())
    parts = split_runs(run_names(data, config.split_by), config.validation_fraction, config.seed)
    sizes = {"training": len(parts[0]), "validation": len(parts[1])}
    if sizes != training["frames"]:
        raise SystemExit(
            f"{frames}: split into {sizes}, but {path} was trained on {training['frames']}: give its frames"
        )
    prepared = [prepare(data.subset(rows), "energy", model.elements, model.cutoff, model.dtype) for rows in parts]
    model.record_training(*(partial(neighbourhoods_of, frames) for frames in prepared))
    save_model(path, model, training)


if __name__ == "__main__":
    main()
