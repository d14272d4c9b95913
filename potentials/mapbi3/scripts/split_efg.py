"""Split labelled EFG frames by run into training, validation and test files.

usage: python split_efg.py IN.xyz FOLDER
Runs are taken in the order of the file: of every five, the first goes to test and the third to validation.
"""

import re
import sys
from pathlib import Path

from ase.io import read, write


def main():
    runs: dict[str, list] = {}
    for frame in read(sys.argv[1], ":"):
        runs.setdefault(re.sub(r"-\d+$", "", str(frame.info["tag"])), []).append(frame)
    parts: dict[str, list] = {"test": [], "validation": [], "train": []}
    for number, frames in enumerate(runs.values()):
        parts[{0: "test", 2: "validation"}.get(number % 5, "train")] += frames
    for name, frames in parts.items():
        write(Path(sys.argv[2]) / f"efg_{name}.xyz.gz", frames, format="extxyz")
        print(name, len(frames), "frames,", sum(len(f) for f in frames), "atoms")


if __name__ == "__main__":
    main()
