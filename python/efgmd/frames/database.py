"""Databases of ASE (SQLite ``.db`` files) with EFG tensors among the data of each row."""

from pathlib import Path

import numpy as np
from ase import Atoms

from efgmd.errors import DataError


def read(path: Path, _structure: Path | None = None) -> list[Atoms]:
    """All rows of a database, in the order of their ids.

    Arrays among the ``data`` of a row with one entry per atom become arrays of the frame, the rest of the data and the
    key-value pairs go to ``atoms.info``. So ``data={"efg": tensors}`` is the EFG, in a.u.

    Raises
    ------
    DataError
        The database cannot be read.
    """
    from ase.db import connect

    frames = []
    try:
        for row in connect(path, type="db").select(sort="id"):
            atoms = row.toatoms()
            for name, value in row.get("data", {}).items():
                array = np.asarray(value)
                if array.ndim and len(array) == len(atoms) and array.dtype.kind in "fib":
                    atoms.arrays[name] = array
                else:
                    atoms.info[name] = value
            atoms.info.update(row.key_value_pairs)
            frames.append(atoms)
    except Exception as error:  # ASE and SQLite raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read as an ASE database ({reason})") from error
    return frames
