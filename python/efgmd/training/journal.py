"""The record of a training run: progress on the terminal, a log file, the history as CSV and the training curve."""

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from efgmd.training.plots import training_curve

#: Seconds between lines about epochs where there is no terminal to draw a progress bar on.
_QUIET_INTERVAL = 10.0


class _TimeLeft(ProgressColumn):
    """Time left, from the share of the run done since this process took it up."""

    def render(self, task: Task) -> Text:
        done = task.completed - task.fields["begun"]
        if done <= 0 or task.elapsed is None:
            return Text("left -:--", style="cyan")
        seconds = int(task.elapsed * (1.0 - task.completed) / done)
        return Text(f"left {seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}", style="cyan")


class Journal:
    """Writes ``training.log``, ``history.csv`` and ``curve.png`` into a folder, and shows progress; a context manager.

    Parameters
    ----------
    folder
        Created if missing.
    title
        Shown before the progress bar.
    resumed
        Append to the log of an earlier part of the run.
    console
        Where to show things; the terminal by default.
    """

    def __init__(self, folder: Path, title: str, resumed: bool, console: Console | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._console = console or Console(file=sys.stdout)
        self._log = (folder / "training.log").open("a" if resumed else "w", encoding="utf-8")
        self._title = title
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            _TimeLeft(),
            TextColumn("{task.fields[detail]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=1.0, detail="", begun=0.0)
        self._spoken = -_QUIET_INTERVAL
        self._errors = ""
        self._table_begun = False

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if isinstance(value, KeyboardInterrupt):
            self.log("interrupted; give the same command again to resume")
        elif value is not None:
            self.log(f"stopped: {value or type(value).__name__}", show=False)
        self._log.close()

    def log(self, line: str, show: bool = True) -> None:
        """Add a line with the time of day to the log file, and show it."""
        self._log.write(f"{datetime.now().isoformat(timespec='seconds')} {line}\n")
        self._log.flush()
        if show:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def start(self, share: float) -> None:
        """Begin the progress bar at a share of the run that was done before."""
        self._progress.update(self._task, completed=share, begun=share)
        self._progress.start()

    def step(self, share: float, epoch: int, loss: float) -> None:
        """Move the progress bar."""
        detail = f"epoch {epoch} loss {loss:.3g}{self._errors}"
        self._progress.update(self._task, completed=min(share, 1.0), detail=detail)

    def epoch(self, share: float, history: Sequence[Mapping[str, float]]) -> None:
        """Record the last row of the history."""
        row = history[-1]
        errors = " ".join(
            f"{name} {value:.4g}"
            for name, value in row.items()
            if name not in ("epoch", "seconds", "learning_rate", "training_loss")
        )
        # On the terminal's one line only the errors that matter most have room.
        shown = [f"{value:.3g} {_short(name)}" for name, value in list(row.items())[6:]][:5]
        self._errors = f" | validation {', '.join(shown)}"
        self.step(share, int(row["epoch"]), row["training_loss"])
        line = f"epoch {row['epoch']} training_loss {row['training_loss']:.4g} {errors} lr {row['learning_rate']:.2g}"
        quiet = not self._console.is_terminal and time.monotonic() - self._spoken >= _QUIET_INTERVAL
        if quiet:
            self._spoken = time.monotonic()
            line_left = f"{100 * min(share, 1.0):.0f}% {line}"
            self._console.print(line_left, highlight=False, markup=False, soft_wrap=True)
        self.log(line, show=False)
        self._table(history, "a" if self._table_begun else "w")

    def finish(self, history: Sequence[Mapping[str, float]]) -> None:
        """End the progress bar, write the whole history once more and draw the training curve."""
        self._progress.stop()
        self._table(history, "w")
        training_curve(history, self._folder / "curve.png")

    def _table(self, history: Sequence[Mapping[str, float]], mode: Literal["a", "w"]) -> None:
        with (self._folder / "history.csv").open(mode, newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(history[0]))
            if mode == "w":
                writer.writeheader()
            writer.writerows(history if mode == "w" else history[-1:])
        self._table_begun = True


def _short(name: str) -> str:
    for suffix, unit in (("energy_meV_per_atom", "meV/atom"), ("forces_meV_per_A", "meV/A"), ("stress_GPa", "GPa")):
        if name == suffix:
            return unit
    return name.replace("_rmse_per_sigma", "")
