"""The stages of a round. Each leaves files in the round's folder, and is passed over when they are there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from rich.console import Console

from efgmd.campaign.deck import write_start
from efgmd.campaign.runner import Job, run_jobs
from efgmd.distillation.checks import CheckedDistillation
from efgmd.distillation.spec import StudentRun, StudentSpec, finished, read_run
from efgmd.distillation.structures import perturbed, read_all, with_initial, write_all
from efgmd.distillation.teacher import Labelled, label_frames
from efgmd.errors import DataError, StoreError
from efgmd.models.io import load_model
from efgmd.progress import Counter
from efgmd.training.selection import choose_frames
from efgmd.training.session import TrainingFiles, train


@dataclass(frozen=True)
class Round:
    """Where a round, from 1, keeps its files.

    Attributes
    ----------
    folder
        Of the round.
    number
        Of the round.
    """

    folder: Path
    number: int

    @property
    def chosen(self) -> Path:
        """Frames to label and train on."""
        return self.folder / "chosen.xyz"

    @property
    def training(self) -> Path:
        """Labelled frames that training learns from."""
        return self.folder / "training.xyz"

    @property
    def validation(self) -> Path:
        """Labelled frames that choose the epoch."""
        return self.folder / "validation.xyz"

    @property
    def labels(self) -> Path:
        """Folder of the labels of the chosen frames."""
        return self.folder / "labels"

    @property
    def held_out_labels(self) -> Path:
        """Folder of the labels of frames of held-out runs."""
        return self.folder / "held-out-labels"

    @property
    def held_out(self) -> Path:
        """Labelled frames that no training sees."""
        return self.folder / "held-out.xyz"

    @property
    def dynamics(self) -> Path:
        """Folders of the runs."""
        return self.folder / "dynamics"

    def student(self, member: int) -> Path:
        """Model file of a student, from 0."""
        return self.folder / f"student{member + 1}.safetensors"


def set_apart(count: int, fraction: float, seed: int) -> list[int]:
    """Frames for validation, at least one and not all, drawn at random.

    Frames of one run may end on either side: they only choose the epoch, and must resemble all that is learnt. What
    judges the student are the runs that are held out.
    """
    wanted = min(count - 1, max(1, round(fraction * count)))
    return sorted(np.random.default_rng(seed).permutation(count)[:wanted].tolist())


def _too_few(chosen: Path, found: Labelled) -> str:
    """What to say when the first round leaves nothing to learn from."""
    count = len(found.frames) + len(found.failures) + found.large_forces
    if len(found.failures) == count:
        return f"the teacher fails on all {count} frames: {found.failures[0]}"
    failed = f"it fails on {len(found.failures)} ({found.failures[0]}); " if found.failures else ""
    return (
        f"{chosen}: the teacher labels only {len(found.frames)} of {count} frames; {failed}{found.large_forces} have "
        "a force above teacher.largest_force: use a smaller perturbation"
    )


class Rounds:
    """A distillation on its way.

    Parameters
    ----------
    checked
        Settings, structures and teacher.
    folder
        Output folder.
    console
        For progress and tables.
    """

    def __init__(self, checked: CheckedDistillation, folder: Path, console: Console) -> None:
        self.checked, self.config, self.console = checked, checked.config, console
        self.folder = folder
        self.rounds = [Round(folder / f"round{number:02d}", number) for number in range(1, checked.config.rounds + 1)]

    def begin(self) -> None:
        """Choose the frames of the first round: perturbed copies of the structures.

        Raises
        ------
        StoreError
            The folder has a later round than the last that is asked for: its force field would be replaced by an older.
        """
        last = max(
            (int(path.name[5:]) for path in self.folder.glob("round[0-9]*") if path.name[5:].isdigit()), default=0
        )
        if last > len(self.rounds):
            raise StoreError(
                f"{self.folder} has round {last} already; give rounds: {last} or more, or choose another output folder"
            )
        first = self.rounds[0]
        first.folder.mkdir(exist_ok=True)
        if first.chosen.exists():
            return
        frames = []
        for index, atoms in enumerate(self.checked.structures):
            rng = np.random.default_rng((self.config.seed, 0, index))
            for copy in range(self.config.perturbation.frames):
                frame = perturbed(atoms, self.config.perturbation, rng)
                frame.info["tag"] = f"structure{index + 1}-copy{copy}"
                frames.append(frame)
        write_all(first.chosen, frames)

    def label(self, item: Round) -> None:
        """Label the chosen frames and part them into training and validation.

        Raises
        ------
        DataError
            In the first round, fewer than two frames have labels: there is nothing to learn from.
        """
        if item.training.exists():
            return
        frames = read_all(item.chosen)
        found = self._labels(frames, item.labels)
        labelled = found.frames
        if item.number == 1 and len(labelled) < 2:
            raise DataError(_too_few(item.chosen, found))
        fraction = self.config.training_config(item.number).validation_fraction
        apart = set_apart(len(labelled), fraction, self.config.seed) if len(labelled) > 1 else []
        write_all(item.validation, [labelled[k] for k in apart])
        write_all(item.training, [atoms for k, atoms in enumerate(labelled) if k not in apart])

    def train(self, item: Round) -> None:
        """Train the students on the frames of this and all former rounds."""
        former = self.rounds[: item.number]
        data = [r.training for r in former if r.training.stat().st_size]
        validation = [r.validation for r in former if r.validation.stat().st_size]
        for member in range(self.config.selection.students):
            output = item.student(member)
            if output.exists():
                continue
            own: dict[str, Any] = {"elements": self.checked.elements, "seed": self.config.seed + member}
            if item.number > 1:
                own["initialise"] = self.rounds[item.number - 2].student(member)
            train(
                self.config.training_config(item.number, **own),
                TrainingFiles(data, validation, [], output),
                console=self.console,
            )

    def run(self, item: Round) -> None:
        """Run the first student at all temperatures, from all structures."""
        jobs = self._jobs(item)
        steps = self.config.dynamics.interval_steps
        total = sum(job.spec.total_steps // steps for job in jobs)
        with Counter("frames of dynamics", total, self.console) as progress:
            done = 0

            def show(current: list[Job]) -> None:
                nonlocal done
                ended = [job.spec.total_steps if job.phase == "done" else job.step for job in current]
                now = sum(step // steps for step in ended)
                progress.advance(now - done)
                done = now

            run_jobs(jobs, 1, show)

    def hold_out(self, item: Round) -> None:
        """Label frames of the held-out runs."""
        if item.held_out.exists():
            return
        # Their starts are perturbed structures, which the student would not visit.
        frames = [atoms for run in self._held_out_runs(item) for atoms in run.frames[1:]]
        wanted = min(self.config.selection.held_out, len(frames))
        picked = [frames[k] for k in np.linspace(0, len(frames) - 1, wanted).round().astype(int)] if wanted else []
        write_all(item.held_out, self._labels(picked, item.held_out_labels).frames)

    def choose(self, item: Round) -> None:
        """Choose the frames that the next round labels."""
        target = self.rounds[item.number]
        target.folder.mkdir(exist_ok=True)
        if target.chosen.exists():
            return
        pool: list[Atoms] = []
        last: list[int] = []
        for run in self._training_runs(item):
            pool += run.frames
            if run.broken and run.frames:
                last.append(len(pool) - 1)
        if not pool:
            raise DataError(
                f"{item.dynamics}: no run has a sane configuration, not even its start; lower "
                "perturbation.displacement or dynamics.closest"
            )
        known = [
            atoms for r in self.rounds[: item.number] for file in (r.training, r.validation) for atoms in read_all(file)
        ]
        students = [load_model(item.student(member), "energy") for member in range(self.config.selection.students)]
        count = min(self.config.selection.frames, len(pool))
        choices = choose_frames(
            students,
            [(atoms, f"{atoms.info['tag']}, step {atoms.info['step']}") for atoms in pool],
            [(atoms, "labelled frame") for atoms in known],
            count,
            last[:count],
        )
        for choice in choices:
            pool[choice.index].info["spread_eV_per_A"] = choice.spread
        write_all(target.chosen, [pool[choice.index] for choice in choices])

    def runs(self, item: Round) -> list[StudentRun]:
        """All runs of a round."""
        found = []
        for index, _, _, folder in self._planned(item):
            run = read_run(folder)
            for frame in run.frames:  # LAMMPS knows nothing of these
                with_initial(frame, self.checked.structures[index])
            found.append(run)
        return found

    def _training_runs(self, item: Round) -> list[StudentRun]:
        each = self.config.dynamics.runs
        return [run for number, run in enumerate(self.runs(item)) if number % each != each - 1]

    def _held_out_runs(self, item: Round) -> list[StudentRun]:
        return self.runs(item)[self.config.dynamics.runs - 1 :: self.config.dynamics.runs]

    def _labels(self, frames: Sequence[Atoms], folder: Path) -> Labelled:
        return label_frames(frames, self.checked.teacher, folder, self.config.teacher.largest_force, self.console)

    def _planned(self, item: Round) -> Iterator[tuple[int, float, int, Path]]:
        """Structure, temperature, number and folder of the runs of a round, the held-out one of each two last."""
        dynamics = self.config.dynamics
        for index in range(len(self.checked.structures)):
            for temperature in dynamics.temperatures:
                for run in range(dynamics.runs):
                    name = f"round{item.number}-structure{index + 1}-{temperature:g}K-run{run + 1}"
                    yield index, temperature, run, item.dynamics / name

    def _jobs(self, item: Round) -> list[Job]:
        """The runs of a round that have not finished; their folders are made."""
        config, dynamics = self.config, self.config.dynamics
        model = load_model(item.student(0), "energy")
        jobs = []
        for index, temperature, run, folder in self._planned(item):
            if finished(folder):
                continue
            atoms = self.checked.structures[index]
            seed = (config.seed, item.number, index, round(1000 * temperature), run)
            rng = np.random.default_rng(seed)
            spec = StudentSpec(
                temperature=temperature,
                symbols=atoms.get_chemical_symbols(),
                elements=list(self.checked.elements),
                masses=[float(atomic_masses[atomic_numbers[element]]) for element in self.checked.elements],
                energy_model=str(item.student(0)),
                energy_sha256=model.sha256,
                cutoff=float(model.cutoff),
                dtype="float32",
                ensemble=dynamics.ensemble.model_dump(),
                timestep_fs=dynamics.timestep_fs,
                minimize=False,
                seed=int(rng.integers(1, 100_000_000)),
                name=folder.name,
                interval_steps=dynamics.interval_steps,
                n_frames=dynamics.n_frames,
                closest=dynamics.closest,
                largest_force=dynamics.largest_force,
            )
            folder.mkdir(parents=True, exist_ok=True)
            write_start(folder, perturbed(atoms, config.perturbation, rng), spec)
            spec.write(folder)
            jobs.append(Job(spec, folder, worker="efgmd.distillation.worker"))
        return jobs
