"""Sparse frames of a run: extended XYZ, cut back like the store when a run resumes."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efgmd.campaign.sampling import FloatArray, cell_matrix

TRAJECTORY_FILE = "trajectory.extxyz"


def append_frame(
    path: Path,
    symbols: list[str],
    cell: FloatArray,
    scaled: FloatArray,
    arrays: dict[str, NDArray[Any]],
    info: dict[str, float],
) -> None:
    """Append one configuration, unwrapped.

    Written by hand, because ASE's writer talks to all MPI ranks and only rank 0 has the configuration.

    Parameters
    ----------
    path
        Extended XYZ file.
    symbols
        Elements of the N atoms.
    cell, scaled
        Lx ly lz xy xz yz in angstrom, and fractional coordinates ``(N, 3)``.
    arrays
        Further numbers or truth values of the atoms by name, ``(N, k)``.
    info
        Numbers of the frame; ``step`` among them, by which `cut_trajectory` goes.
    """
    matrix = cell_matrix(cell)
    lattice = " ".join(f"{value:.10g}" for value in matrix.ravel())
    kinds = {name: "L" if values.dtype == bool else "R" for name, values in arrays.items()}
    columns = "".join(f":{name}:{kinds[name]}:{values.shape[1]}" for name, values in arrays.items())
    numbers = " ".join(f"{name}={value:.10g}" for name, value in info.items())
    comment = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3{columns} pbc="T T T" {numbers}'
    lines = list(symbols)
    for values in (scaled @ matrix, *arrays.values()):
        texts = np.where(values, "T", "F") if values.dtype == bool else np.vectorize("{:.9g}".format)(values)
        for k, row in enumerate(texts):
            lines[k] += "".join(f" {text}" for text in row)
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
