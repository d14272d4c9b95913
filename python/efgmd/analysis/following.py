"""A trajectory as the crystal's own axes see it: the frames pass through whatever the user asked to follow."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from ase import Atoms

from efgmd.analysis.averaging import NucleusAverage
from efgmd.analysis.axes import AxisFollower, AxisFrame, CellFrame, Segment, UniqueAxis
from efgmd.analysis.molecular_frame import MolecularFrame
from efgmd.campaign.config import Sites
from efgmd.errors import DataError
from efgmd.trajectories.frames import FloatArray, TensorFrames, TensorTrajectory


class Transformation(Protocol):
    """Changes frames one by one, by their step and content."""

    def apply(self, frames: TensorFrames) -> TensorFrames:
        """The changed frames."""


class Followed:
    """A trajectory whose frames pass through transformations.

    Parameters
    ----------
    trajectory
        Where frames come from.
    transformations
        Applied in this order.
    """

    def __init__(self, trajectory: TensorTrajectory, transformations: list[Transformation]) -> None:
        self._trajectory, self._transformations = trajectory, transformations

    @property
    def symbols(self) -> list[str]:
        """Element of each atom."""
        return self._trajectory.symbols

    def apply(self, frames: TensorFrames) -> TensorFrames:
        """Some frames of the trajectory, transformed."""
        for transformation in self._transformations:
            frames = transformation.apply(frames)
        return frames

    def frames(self) -> Iterator[TensorFrames]:
        """All frames, transformed, a chunk at a time."""
        return (self.apply(frames) for frames in self._trajectory.frames())


class FrameFollower:
    """Decides what has to be followed in a trajectory.

    Parameters
    ----------
    sites
        The user's choices: ``frame``, ``follow_axis``, ``axis_window_ps``, ``framework``.
    cells
        Pseudo-cubic cells along the axes of the simulated cell.
    """

    def __init__(self, sites: Sites, cells: tuple[int, int, int]) -> None:
        self._sites, self._cells = sites, cells
        if sites.follow_axis and len(set(cells)) != 1:
            raise DataError(
                f"sites.follow_axis needs the same number of pseudo-cubic cells along each axis, got {cells}; set "
                "structure.cells and supercell so, or do not follow the axis"
            )
        if sites.frame == "molecule" and not sites.framework:
            raise DataError("sites.frame: molecule needs sites.framework, the elements that belong to no molecule")

    def compute(
        self,
        trajectory: TensorTrajectory,
        start: Atoms,
        steps: np.ndarray,
        cell: FloatArray,
        frame_ps: float,
        onto: AxisFrame | None = None,
    ) -> "FrameFollower":
        """Set up the transformations.

        Parameters
        ----------
        trajectory
            Of n frames.
        start
            Starting structure of all atoms, molecules intact.
        steps, cell
            Step and cell of each frame, of shapes ``(n,)`` and ``(n, 6)``.
        frame_ps
            Time between frames.
        onto
            Crystal of another run that this one is laid onto if the axis is followed, however clear the axis is.

        Sets
        ----
        followed : Followed
            The trajectory, transformed.
        axis : AxisFollower or None
            What relabels the crystal, if anything does.
        molecular : MolecularFrame or None
            Of which the sites replace those of symmetry.
        description : dict
            JSON-able account of what was followed.
        """
        transformations: list[Transformation] = []
        self.molecular: MolecularFrame | None = None
        self.description: dict[str, Any] = {"frame": self._sites.frame, "cell_rotation_undone": False, "segments": []}
        self.axis: AxisFollower | None = None
        in_crystal = np.ones(len(start), dtype=bool)
        if self._sites.frame == "molecule":
            framework = tuple(self._sites.framework or ())
            self.molecular = MolecularFrame(start, framework)
            transformations.append(self.molecular)
            in_crystal = np.isin(start.get_chemical_symbols(), framework)
        if np.ptp(cell[:, 3:], axis=0).max() > 0.0:
            transformations.append(CellFrame(cell.mean(axis=0), in_crystal))
            self.description["cell_rotation_undone"] = True
        if self._sites.follow_axis and self.molecular is None:
            seen = Followed(trajectory, list(transformations))
            self.axis = self._follow_axis(seen, start, steps, cell, frame_ps, onto)
            transformations += [self.axis] if self.axis else []
        self.followed = Followed(trajectory, transformations)
        return self

    def _follow_axis(
        self,
        trajectory: Followed,
        start: Atoms,
        steps: np.ndarray,
        cell: FloatArray,
        frame_ps: float,
        onto: AxisFrame | None,
    ) -> AxisFollower | None:
        found = UniqueAxis(self._cells, round(self._sites.axis_window_ps / frame_ps)).compute(cell)
        self.description["axis_amplitude_angstrom"] = found.amplitude
        self.description["axis_is_clear"] = found.clear
        if found.clear:
            segments = found.segments
        elif onto is not None:
            segments = [Segment(0, len(cell), onto.axis)]
        else:
            return None
        averages = [
            NucleusAverage((int(steps[part.first - 1]) if part.first else int(steps[0]) - 1, int(steps[part.last - 1])))
            for part in segments
        ]
        for frames in trajectory.frames():
            for average in averages:
                average.compute(frames)
        follower = AxisFollower(start, self._sites.framework).compute(
            steps, segments, [average.scaled for average in averages], [average.cell for average in averages], onto
        )
        self.description["segments"] = [
            {
                "first_step": int(steps[part.first]),
                "last_step": int(steps[part.last - 1]),
                "axis": "abc"[part.axis],
                "mapped_within_angstrom": relabelling.rms,
            }
            for part, relabelling in zip(segments, follower.relabellings, strict=True)
        ]
        return follower
