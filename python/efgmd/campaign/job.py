"""What a worker tells the runner that started it: how far it is, and why it failed."""

import json
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from efgmd.campaign.spec import DynamicsSpec
from efgmd.errors import EfgmdError, first_line
from efgmd.files import write_whole

PROGRESS_FILE = "progress.json"
ERROR_FILE = "error.txt"


class Progress:
    """Writes ``progress.json`` (step, total, phase, ns per day) at most twice a second."""

    def __init__(self, folder: Path, spec: DynamicsSpec) -> None:
        self._path, self._spec = folder / PROGRESS_FILE, spec
        self._first: tuple[float, int] | None = None
        self._last = 0.0

    def report(self, step: int, phase: str, force: bool = False) -> None:
        """Write the state at ``step``."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, step)
        if not force and now - self._last < 0.5:
            return
        self._last = now
        elapsed, advanced = now - self._first[0], step - self._first[1]
        speed = advanced * self._spec.timestep_fs * 1e-6 / elapsed * 86400 if elapsed > 0 else 0.0
        state = {"step": step, "total": self._spec.total_steps, "phase": phase, "ns_per_day": speed}
        write_whole(self._path, json.dumps(state))


@contextmanager
def telling_failures(folder: Path, comm: Any) -> Iterator[None]:
    """Turn any failure inside into ``error.txt`` and the end of all ranks of this run."""
    try:
        yield
    except BaseException as error:
        traceback.print_exc()
        message = first_line(error)
        if not isinstance(error, EfgmdError):
            message = f"{type(error).__name__}: {message}"
        try:
            with open(folder / ERROR_FILE, "x", encoding="utf-8") as stream:
                stream.write(message + "\n")
        except FileExistsError:
            pass  # another rank was first, and the first error is the cause
        sys.stderr.flush()
        comm.Abort(1)
