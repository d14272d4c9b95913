"""One process at a time in an output folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from efgmd.errors import ConfigError

LOCK_FILE = ".lock"


@contextmanager
def locked(folder: Path, command: str) -> Iterator[None]:
    """Keep a second ``command`` out of the same folder; the lock goes with the process, however it ends.

    Raises
    ------
    ConfigError
        Another one is working there.
    """
    with open(folder / LOCK_FILE, "w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"another {command} is working in {folder}; wait for it or choose another --output"
            ) from error
        yield
