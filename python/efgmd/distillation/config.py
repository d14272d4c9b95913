"""The distillation file: every field, its unit, its default, and what is accepted."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from efgmd.campaign.config import Count, Counts3, Ensemble, ExistingFile, NotNegative, Positive, Temperatures, steps_of
from efgmd.campaign.reading import load_settings
from efgmd.campaign.section import Section
from efgmd.errors import ConfigError
from efgmd.models import EnergyModel
from efgmd.training.config import TrainingConfig, check_hyperparameters, read_config

#: Settings of training that the distillation itself decides.
_OWN = ("kind", "elements", "initialise", "seed", "split_by", "keys")


class Start(Section):
    """A structure that perturbed copies and the student's dynamics start from.

    Attributes
    ----------
    file
        Any structure file that ASE reads, relative to the distillation file; periodic in three directions.
    supercell
        Repeats of that cell along its axes.
    """

    file: ExistingFile
    supercell: Counts3 = (1, 1, 1)


class Teacher(Section):
    """Where energies, forces and, if it has them, stresses come from.

    Attributes
    ----------
    calculator
        Import path of an ASE calculator, as ``ase.calculators.lj:LennardJones``.
    arguments
        Keyword arguments that it is created with.
    largest_force
        Frames on which the teacher finds a larger force (eV/angstrom) are left out.
    """

    calculator: str
    arguments: dict[str, Any] = Field(default={})
    largest_force: Positive = 15.0

    @field_validator("calculator")
    @classmethod
    def _import_path(cls, value: str) -> str:
        module, _, name = value.partition(":")
        if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(f"found {value!r}, expected MODULE:CLASS such as ase.calculators.lj:LennardJones")
        return value


class Perturbation(Section):
    """Copies of the structures with displaced atoms and a strained cell.

    Attributes
    ----------
    frames
        Copies of each structure that the teacher labels in the first round.
    displacement
        Largest standard deviation of the displacements (angstrom) in these copies; each copy has its own.
    strain
        Largest component of the strain in these copies; each copy has its own.
    """

    frames: Annotated[int, Field(ge=4)] = 40
    displacement: Positive = 0.08
    strain: Annotated[float, Field(ge=0, lt=0.3)] = 0.025


class Dynamics(Section):
    """Molecular dynamics with the student, in LAMMPS.

    Attributes
    ----------
    temperatures
        Kelvin.
    length_ps
        Length of each run.
    interval_fs
        Time between the frames of a run; each is checked, and can be chosen.
    runs
        Runs of each structure at each temperature and round. The last one is held out: its frames are never trained on.
    ensemble
        Thermostat and barostat.
    timestep_fs
        MD time step.
    closest
        A run is broken when two atoms are nearer than this share of the sum of their covalent radii.
    largest_force
        A run is broken when the student finds a larger force (eV/angstrom).
    """

    temperatures: Temperatures
    length_ps: Positive = 5.0
    interval_fs: Positive = 50.0
    runs: Annotated[int, Field(ge=2)] = 2
    ensemble: Ensemble = Ensemble()
    timestep_fs: Positive = 0.5
    closest: NotNegative = 0.5
    largest_force: Positive = 25.0

    @property
    def interval_steps(self) -> int:
        """Time steps between frames."""
        return steps_of("interval_fs", self.interval_fs, self.timestep_fs)

    @property
    def n_frames(self) -> int:
        """Frames of a whole run, its start left out."""
        return int(self.length_ps * 1000 / self.interval_fs + 1e-6)

    @model_validator(mode="after")
    def _times_fit(self) -> "Dynamics":
        steps_of("interval_fs", self.interval_fs, self.timestep_fs)
        if self.n_frames < 1:
            raise ValueError(
                f"length_ps: found {self.length_ps:g}, expected at least one interval_fs ({self.interval_fs / 1000:g})"
            )
        return self


class Selection(Section):
    """What the teacher labels after each round.

    Attributes
    ----------
    frames
        Frames to train on, from the runs that are not held out: the last sane ones of broken runs, then those with the
        largest disagreement of the students times distance from all that is known.
    held_out
        Frames to judge by, spread evenly over the held-out runs.
    students
        Models trained alike from different seeds. Only the first is the result, the others tell where it is uncertain.
    """

    frames: Count = 40
    held_out: Count = 10
    students: Annotated[int, Field(ge=2)] = 2


class Distillation(Section):
    """A distillation: rounds of labelling, training and dynamics.

    Attributes
    ----------
    structures
        What the dynamics start from.
    teacher
        Calculator whose labels the student learns.
    dynamics
        How the student samples.
    perturbation
        Frames of the first round, and starts of the dynamics.
    selection
        How many frames are chosen.
    training
        Settings of training, as in the file of ``efgmd train``.
    retraining
        Settings that differ from the second round on, in which training starts from the models of the round before.
    rounds
        Rounds in all; may be raised later to continue a finished distillation.
    seed
        Of everything random.
    output
        Folder to write, relative to the distillation file; by default the file's name with ``-run`` for its suffix.
    """

    EXPECTED: ClassVar[dict[str, str]] = {
        "structures": "a list of sections with `file:` (a structure file)",
        "teacher": "a section with `calculator:` (an ASE calculator such as ase.calculators.lj:LennardJones)",
        "teacher.calculator": "an ASE calculator such as ase.calculators.lj:LennardJones",
        "dynamics": "a section with `temperatures:`",
        "dynamics.temperatures": "a list of temperatures in kelvin",
    }

    structures: Annotated[tuple[Start, ...], Field(min_length=1)]
    teacher: Teacher
    dynamics: Dynamics
    perturbation: Perturbation = Perturbation()
    selection: Selection = Selection()
    training: dict[str, Any] = Field(default={})
    retraining: dict[str, Any] = Field(default={})
    rounds: Count = 3
    seed: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    output: Path | None = None

    def training_config(self, number: int, **own: Any) -> TrainingConfig:
        """Settings of training in a round, from 1.

        Raises
        ------
        ConfigError
            With one line per mistake.
        """
        given = dict(self.training)
        for name, value in self.retraining.items() if number > 1 else ():
            inside = given.get(name)
            given[name] = {**inside, **value} if isinstance(value, dict) and isinstance(inside, dict) else value
        return read_config(None, given | {"kind": "energy"} | own)

    @model_validator(mode="after")
    def _settings_of_training(self) -> "Distillation":
        for number, field in enumerate(("training", "retraining"), 1):
            reserved = [name for name in getattr(self, field) if name in _OWN]
            if reserved:
                raise ValueError(f"{field}.{reserved[0]}: is decided by the distillation, leave it out")
            try:
                config = self.training_config(number)
                check_hyperparameters(EnergyModel, config.model)
            except ConfigError as error:
                raise ValueError(f"{field}.{error.problems[0]}") from error
        return self


def load_distillation(path: Path) -> Distillation:
    """Read and validate a distillation file (its fields only; see `efgmd.distillation.checks` for what they name).

    Raises
    ------
    ConfigError
        With one line per mistake.
    """
    return load_settings(path, Distillation, "distillation file", "`structures:` and `teacher:`")
