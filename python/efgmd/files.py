"""Files that are either whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a file beside ``path`` to write; it takes the place of ``path`` at the end, in one step.

    After an error, or a kill, what was at ``path`` before is still there.
    """
    unfinished = path.with_name(path.name + ".new")
    yield unfinished
    os.replace(unfinished, path)


def write_whole(path: Path, text: str) -> None:
    """Write a text file (UTF-8) in one step."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
