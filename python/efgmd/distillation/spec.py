"""What one run of the student's dynamics is made of, and what came out of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from efgmd.campaign.spec import DynamicsSpec
from efgmd.distillation.structures import read_all

FRAMES_FILE = "frames.xyz"
OUTCOME_FILE = "outcome.json"


@dataclass(frozen=True)
class StudentSpec(DynamicsSpec):
    """One run.

    Attributes
    ----------
    name
        Of the run; the tag of its frames.
    interval_steps
        Steps between frames.
    n_frames
        Frames after that of the start.
    closest
        See `efgmd.distillation.structures.fault`.
    largest_force
        Beyond which the run is broken, eV/angstrom.
    """

    name: str
    interval_steps: int
    n_frames: int
    closest: float
    largest_force: float

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.n_frames * self.interval_steps

    @property
    def label(self) -> str:
        """What the run is called in messages."""
        return self.name


@dataclass(frozen=True)
class StudentRun:
    """A finished run.

    Attributes
    ----------
    frames
        Sane configurations, from the start on.
    share
        Of the run that stayed intact, 0 to 1.
    broken
        Why it ended early, or nothing.
    """

    frames: list[Atoms]
    share: float
    broken: str


def finished(folder: Path) -> bool:
    """Whether a run has left its outcome."""
    return (folder / OUTCOME_FILE).exists()


def read_run(folder: Path) -> StudentRun:
    """What a finished run left in its folder."""
    outcome: dict[str, Any] = json.loads((folder / OUTCOME_FILE).read_text(encoding="utf-8"))
    return StudentRun(read_all(folder / FRAMES_FILE), outcome["share"], outcome["broken"])
