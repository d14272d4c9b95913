"""Checkpoints: written whole each epoch, resumed only by the run they belong to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from efgmd.errors import DataError

_FORMAT = "efgmd-checkpoint-3"


def save_checkpoint(path: Path, fingerprint: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a checkpoint beside its place and move it there, so that a kill never leaves half of one."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        torch.save({"format": _FORMAT, "fingerprint": dict(fingerprint), **state}, stream)
    partial.replace(path)


def load_checkpoint(path: Path, fingerprint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read a checkpoint, or return None if there is none. Nothing in it is executed.

    Parameters
    ----------
    path
        Of the checkpoint.
    fingerprint
        Of the run that wants to resume: settings, hashes of its inputs.

    Raises
    ------
    DataError
        The checkpoint is damaged, or belongs to a run with other inputs; names what differs.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        stored = state["fingerprint"] if state["format"] == _FORMAT else None
    except Exception as error:  # torch raises anything on a damaged file
        raise DataError(f"{path}: not a readable checkpoint; say --restart to begin anew") from error
    if stored is None:
        raise DataError(f"{path}: is of another efgmd version; say --restart to begin anew")
    differing = sorted(key for key in {*stored, *fingerprint} if stored.get(key) != fingerprint.get(key))
    if differing:
        detail = ", ".join(f"{key} (was {stored.get(key)!r}, now {fingerprint.get(key)!r})" for key in differing)
        raise DataError(
            f"{path}: belongs to a run with other {detail}; repeat that run's inputs to resume it, "
            "or say --restart to begin anew"
        )
    return state
