"""The sparse trajectory of a run: extended XYZ with tensors, cut back like the store when a run resumes."""

from pathlib import Path

import numpy as np

from efgmd.campaign.sampling import Sample, cell_matrix
from efgmd.tensors import six_to_matrix

TRAJECTORY_FILE = "trajectory.extxyz"


def append_frame(path: Path, symbols: list[str], sample: Sample, step: int, time_fs: float) -> None:
    """Append one configuration, unwrapped, with its tensors (``efg``, nine numbers per atom, a.u.) and its step.

    Written by hand, because ASE's writer talks to all MPI ranks and only rank 0 has the configuration.
    """
    cell = cell_matrix(sample.cell)
    lattice = " ".join(f"{value:.10g}" for value in cell.ravel())
    comment = (
        f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:efg:R:9 pbc="T T T" '
        f"step={step} time_fs={time_fs:.10g} temperature_K={sample.scalars['temperature']:.8g}"
    )
    numbers = np.hstack([sample.scaled @ cell, six_to_matrix(sample.efg).reshape(-1, 9)])
    lines = [symbol + "".join(f" {value:.9g}" for value in row) for symbol, row in zip(symbols, numbers, strict=True)]
    with open(path, "a", encoding="utf-8") as stream:
        stream.write("\n".join([str(len(symbols)), comment, *lines]) + "\n")


def cut_trajectory(path: Path, step: int) -> None:
    """Remove frames after ``step`` and an unfinished last frame."""
    if not path.exists():
        return
    kept = 0
    with open(path, "rb") as stream:
        while header := stream.readline():
            comment = stream.readline().decode()
            fields = dict(word.split("=", 1) for word in comment.split() if "=" in word)
            lines = [stream.readline() for _ in range(int(header))]
            if not lines[-1].endswith(b"\n") or int(fields["step"]) > step:
                break
            kept = stream.tell()
    with open(path, "rb+") as stream:
        stream.truncate(kept)
