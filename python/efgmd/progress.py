"""Progress of a counted piece of work: a bar with the time left on a terminal, lines now and then elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Seconds between lines where there is no terminal to draw a bar on.
_QUIET_INTERVAL = 10.0


class Counter:
    """Counts finished items and shows how far the work is; a context manager.

    Parameters
    ----------
    description
        What is counted, for example "frames".
    total
        Number of items.
    console
        Where to show it.
    """

    def __init__(self, description: str, total: int, console: Console) -> None:
        self._description = description
        self._total = total
        self._console = console
        self._done = 0
        self._start = self._spoken = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("left"),
            # Items may take minutes each, so all of them count for the speed.
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=86400.0,
        )
        self._task = self._progress.add_task(description, total=total)

    def __enter__(self) -> "Counter":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Show a line above the bar."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def advance(self, items: int = 1) -> None:
        """One more item is done, or several."""
        self._done += items
        self._progress.advance(self._task, items)
        now = time.monotonic()
        quiet = not self._console.is_terminal and self._done < self._total
        if quiet and self._done and now - self._spoken >= _QUIET_INTERVAL:
            self._spoken = now
            left = (now - self._start) / self._done * (self._total - self._done)
            self.say(f"{self._description}: {self._done} of {self._total}, {_duration(left)} left")


def _duration(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"
