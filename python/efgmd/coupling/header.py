"""Reads what a model file says about itself without torch, so that a wrong file is refused at once."""

import hashlib
import json
from pathlib import Path
from typing import Any

from efgmd.errors import ModelFileError

FORMAT = "efgmd-model"
_LFS = b"version https://git-lfs"
_LARGEST_HEADER = 100_000_000


def read_header(path: str | Path) -> dict[str, Any] | None:
    """Metadata of an efgmd model file.

    A safetensors file begins with the length of its header (8 bytes, little endian) and the header in JSON.

    Returns
    -------
    dict or None
        The metadata; None if this is no safetensors file at all.

    Raises
    ------
    ModelFileError
        If the file is missing, incomplete or a placeholder of Git LFS, or a safetensors file that efgmd did not write.
    """
    target = Path(path)
    if not target.is_file():
        raise ModelFileError(f"model file {path} does not exist: check the path (working directory {Path.cwd()})")
    try:
        with target.open("rb") as file:
            begin = file.read(8)
            if begin + file.read(len(_LFS) - 8) == _LFS:
                raise ModelFileError(f"{path} is a placeholder of Git LFS: fetch the file itself with `git lfs pull`")
            file.seek(8)
            length = int.from_bytes(begin, "little")
            if not 2 <= length <= min(_LARGEST_HEADER, target.stat().st_size):
                return None
            header = json.loads(file.read(length))
    except OSError as error:
        raise ModelFileError(f"model file {path} cannot be read: {error.strerror}") from None
    except ValueError:
        return None
    if not isinstance(header, dict):
        return None
    if _promised(header) + length + 8 != target.stat().st_size:
        raise ModelFileError(f"{path} is cut short or has been altered: copy it again")
    try:
        metadata = json.loads(header["__metadata__"]["efgmd"])
    except (KeyError, TypeError, ValueError):
        metadata = {}
    if metadata.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} is a safetensors file but not an efgmd model: give a file written by `efgmd train`"
        )
    return metadata


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _promised(header: dict[str, Any]) -> int:
    """Bytes of tensors that a safetensors header announces."""
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    try:
        return max((int(tensor["data_offsets"][1]) for tensor in tensors), default=0)
    except (KeyError, TypeError, ValueError, IndexError):
        return -1
