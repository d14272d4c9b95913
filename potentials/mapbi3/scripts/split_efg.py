"""Divide labelled EFG frames by run among the training, validation and test files of a folder.

usage: python split_efg.py NEW.xyz FOLDER [train]
Frames that the files hold already stay where they are. Frames of one run share their `tag` and stay together: new ones
join the frames of their run, and new runs are taken in the order of the file: of every five, the first goes to test
and the third to validation; with `train`, all new runs go to training.
"""

import sys
from pathlib import Path

from ase.io import read, write

PARTS = ("train", "validation", "test")


def main():
    paths = {name: Path(sys.argv[2]) / f"efg_{name}.xyz.gz" for name in PARTS}
    parts = {name: read(path, ":") if path.exists() else [] for name, path in paths.items()}
    known = {str(frame.info["tag"]): name for name, frames in parts.items() for frame in frames}
    runs: dict[str, list] = {}
    for frame in read(sys.argv[1], ":"):
        runs.setdefault(str(frame.info["tag"]), []).append(frame)
    new = [tag for tag in runs if tag not in known]
    turns = {} if sys.argv[3:] == ["train"] else {0: "test", 2: "validation"}
    known |= {tag: turns.get(number % 5, "train") for number, tag in enumerate(new)}
    held = {frame.positions.tobytes() for frames in parts.values() for frame in frames}
    for tag, frames in runs.items():
        parts[known[tag]] += [frame for frame in frames if frame.positions.tobytes() not in held]
    for name, frames in parts.items():
        write(paths[name], frames, format="extxyz")
        print(name, len(frames), "frames,", sum(len(f) for f in frames), "atoms")


if __name__ == "__main__":
    main()
