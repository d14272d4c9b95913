"""Progress of all temperatures in the terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.text import Text

from efgmd.campaign.runner import Job

_LINE_INTERVAL = 30.0


class Display(Protocol):
    """Anything that is told about the jobs a few times a second."""

    def __call__(self, jobs: list[Job], /) -> None: ...


class _TimeLeft(ProgressColumn):
    """Time left at the worker's own speed, so that a resumed run does not count the steps it did before."""

    def render(self, task: Task) -> Text:
        seconds = task.fields["seconds_left"]
        return Text(_clock(seconds) if seconds is not None else "-:--:--", style="cyan")


def seconds_left(job: Job) -> float | None:
    """Wall-clock seconds a job still needs at its present speed, None while unknown."""
    if job.ns_per_day <= 0:
        return None
    steps = job.spec.total_steps - job.step
    return steps * job.spec.timestep_fs * 1e-6 / job.ns_per_day * 86400


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}"


@contextmanager
def show_progress(jobs: list[Job], console: Console) -> Iterator[Display]:
    """Show one bar per temperature on a terminal, or a line every half minute elsewhere."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        TextColumn("{task.fields[phase]:13}"),
        TextColumn("{task.fields[speed]:>12}"),
        TextColumn("left"),
        _TimeLeft(),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        tasks = {
            id(job): progress.add_task(
                job.spec.label, total=job.spec.total_steps, phase="waiting", speed="", seconds_left=None
            )
            for job in jobs
        }

        def update(current: list[Job]) -> None:
            for job in current:
                done = job.phase == "done"
                progress.update(
                    tasks[id(job)],
                    completed=job.spec.total_steps if done else job.step,
                    phase=job.phase,
                    speed=f"{job.ns_per_day:.3g} ns/day" if job.ns_per_day else "",
                    seconds_left=0.0 if done else seconds_left(job),
                )

        yield update


class _Lines:
    """Progress for logs: one line for all temperatures, every half minute and when a temperature is done."""

    def __init__(self, console: Console) -> None:
        self._console, self._last, self._done = console, time.monotonic(), 0

    def __call__(self, jobs: list[Job]) -> None:
        done = sum(job.phase == "done" for job in jobs)
        if done == self._done and time.monotonic() - self._last < _LINE_INTERVAL:
            return
        self._last, self._done = time.monotonic(), done
        parts = []
        for job in jobs:
            percent = 100 if job.phase == "done" else 100 * job.step // job.spec.total_steps
            left = seconds_left(job)
            time_left = f", {job.ns_per_day:.3g} ns/day, {_clock(left)} left" if left and job.phase != "done" else ""
            parts.append(f"{job.spec.label} {percent} % ({job.phase}{time_left})")
        self._console.print("; ".join(parts), soft_wrap=True)
