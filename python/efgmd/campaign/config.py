"""The campaign file: every field, its unit, its default, and what is accepted."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from efgmd.campaign.section import Section
from efgmd.campaign.transition import Transition
from efgmd.errors import ConfigError
from efgmd.nuclei import Nucleus, nucleus

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Counts3 = tuple[Count, Count, Count]


def _distinct(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(value)) != len(value):
        raise ValueError("expected each temperature once")
    return value


Temperatures = Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(_distinct)]


def steps_of(name: str, time_fs: float, timestep_fs: float) -> int:
    """Time steps of a time that must be a multiple of the time step, at least one.

    Raises
    ------
    ValueError
        It is not; says so of the field ``name``.
    """
    ratio = time_fs / timestep_fs
    if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-6:
        raise ValueError(f"{name}: found {time_fs:g}, expected a multiple of timestep_fs ({timestep_fs:g})")
    return round(ratio)


def _existing(path: Path, info: ValidationInfo) -> Path:
    """Resolve a path against the campaign file's folder and require the file."""
    resolved = ((info.context or {}).get("folder", Path()) / path.expanduser()).resolve()
    if not resolved.is_file():
        raise ValueError(f"found {str(path)!r}, expected a file; there is none at {resolved}")
    return resolved


ExistingFile = Annotated[Path, AfterValidator(_existing)]


class Structure(Section):
    """Where the run starts.

    Attributes
    ----------
    file
        Any structure file that ASE reads, relative to the campaign file; periodic in three directions.
    supercell
        Repeats of that cell along its axes.
    cells
        Pseudo-cubic (formula) cells along the axes of the file; lattice parameters are also reported per cell.
    """

    file: ExistingFile
    supercell: Counts3 = (1, 1, 1)
    cells: Counts3 = (1, 1, 1)


class Models(Section):
    """The two model files, relative to the campaign file.

    Attributes
    ----------
    energy
        Force field.
    efg
        Electric-field-gradient model.
    elements
        Order of the LAMMPS atom types; by default the order of appearance in the structure.
    dtype
        Precision of the models' arithmetic.
    """

    energy: ExistingFile
    efg: ExistingFile
    elements: tuple[str, ...] | None = None
    dtype: Literal["float32", "float64"] = "float32"


class NucleusChoice(Section):
    """A nucleus to report, optionally with its own quadrupole moment (mb).

    Attributes
    ----------
    name
        Mass number and element, for example ``127I``.
    moment_mb
        Replaces the built-in quadrupole moment.
    spin
        Needed only for nuclei that are not built in.
    """

    name: str
    moment_mb: float | None = None
    spin: str | float | None = None

    @model_validator(mode="after")
    def _quadrupolar(self) -> "NucleusChoice":
        try:
            self.nucleus()
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    def nucleus(self) -> Nucleus:
        """Spin and moment, with this choice's overrides."""
        return nucleus(self.name, self.moment_mb, self.spin)


class Ensemble(Section):
    """Thermodynamic ensemble (Nosé-Hoover chains).

    Attributes
    ----------
    kind
        ``nvt`` or ``npt``.
    pressure_control
        Which cell parameters move: ``iso``, ``aniso`` (three lengths) or ``tri`` (also the angles).
    pressure_bar
        Target pressure.
    temperature_damping_fs
        Thermostat time constant.
    pressure_damping_fs
        Barostat time constant.
    """

    kind: Literal["nvt", "npt"] = "npt"
    pressure_control: Literal["iso", "aniso", "tri"] = "aniso"
    pressure_bar: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    temperature_damping_fs: Positive = 100.0
    pressure_damping_fs: Positive = 1000.0

    @model_validator(mode="after")
    def _no_pressure_at_constant_volume(self) -> "Ensemble":
        given = sorted(name for name in self.model_fields_set if name.startswith("pressure_"))
        if self.kind == "nvt" and given:
            raise ValueError(f"kind nvt keeps the cell fixed; expected no {', '.join(given)}")
        return self


class Group(Section):
    """Nuclei to average together, instead of by symmetry. Give one of ids, element and array.

    Attributes
    ----------
    name
        Label in the results.
    ids
        Atoms by their number in the structure (supercell included), from 1.
    element
        All atoms of an element.
    array
        An array of the structure file with one label for each atom; each label makes a group of its own.
    exchange
        Average the tensors as they are, in the frame of the crystal, as for nuclei that exchange places. By default
        the nuclei must be equivalent by symmetry, and their tensors are rotated onto each other.
    """

    name: str
    ids: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    element: str | None = None
    array: str | None = None
    exchange: bool = False

    @model_validator(mode="after")
    def _one_choice(self) -> "Group":
        if sum(choice is not None for choice in (self.ids, self.element, self.array)) != 1:
            raise ValueError(f"group {self.name}: expected one of ids, element and array")
        return self


class Sites(Section):
    """How nuclei are grouped into crystallographic sites, and in which frame their tensors are averaged.

    Attributes
    ----------
    framework
        Elements whose mean positions carry the crystal's symmetry; all other atoms are grouped by molecule,
        bonded neighbours and the framework site of their molecule's centre. All elements by default. Symmetry is
        searched with at most 1500 of them in the structure file; it can be small, with `structure.supercell`.
    tolerance
        Distance tolerance (angstrom) of the symmetry search on the mean structure. Where it gives no useful symmetry,
        up to twice as much is tried, then the symmetry of the start is taken; the results say so.
    impose_symmetry
        Remove from the mean tensors what the symmetry of the site forbids. By default it is kept, so that the averages
        show the symmetry instead of being told; the results give the symmetrised values beside.
    groups
        Nuclei to average together; elements that are in no group are grouped by symmetry.
    frame
        ``crystal``, or ``molecule``: tensors of molecules are turned into the frame of their molecule.
    follow_axis
        Follow the unique axis of the cell when it moves between x, y and z, and relabel the crystal so that it stays
        along z. Needs the same number of pseudo-cubic cells along each axis.
    axis_window_ps
        Time over which cell lengths are smoothed to find the axis.
    """

    framework: tuple[str, ...] | None = None
    tolerance: Positive = 0.3
    impose_symmetry: bool = False
    groups: tuple[Group, ...] = ()
    frame: Literal["crystal", "molecule"] = "crystal"
    follow_axis: bool = False
    axis_window_ps: Positive = 2.0


class Extrapolation(Section):
    """Watch over the force field: how far atoms are from those that it was trained on.

    Attributes
    ----------
    action
        When a frame is beyond the limit: ``warn`` in the results; ``save`` it too (``extrapolation.extxyz``), for
        labelling; ``stop`` the campaign there. ``ignore``: nobody looks.
    limit
        Grade of extrapolation of any atom; of the training atoms 999 of 1000 are below 1.
    interval_ps
        Time between looks, rounded to a multiple of sampling_fs.
    """

    action: Literal["ignore", "warn", "save", "stop"] = "warn"
    limit: Positive = 1.5
    interval_ps: Positive = 0.5


def _nucleus_entry(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Nuclei = Annotated[tuple[Annotated[NucleusChoice, BeforeValidator(_nucleus_entry)], ...], Field(min_length=1)]


class Campaign(Section):
    """A campaign: one MD run per temperature, EFG tensors sampled in each.

    Attributes
    ----------
    structure
        Starting structure.
    models
        Energy and EFG model.
    nuclei
        Nuclei to report, for example ``[127I, 14N, 2H]``.
    temperatures
        Kelvin.
    output
        Folder to write, relative to the campaign file; by default the file's name with ``-run`` for its suffix.
    masses
        Masses by element (u), replacing natural averages; H is 2.014 by default when 2H is among the nuclei.
    ensemble
        Thermostat and barostat.
    timestep_fs
        MD time step.
    equilibration_ps
        Time before sampling starts.
    production_ps
        Sampled time; may be raised later to continue a finished campaign.
    sampling_fs
        Time between EFG samples.
    samples_per_block
        EFG samples averaged into one stored block (1 stores every frame).
    trajectory_ps
        Time between stored configurations (extxyz with tensors); 0 for none.
    minimize
        Relax the positions before the first step.
    seed
        Of the initial velocities; each temperature adds 1000 times its value in kelvin.
    ranks
        MPI ranks of each temperature; temperatures run side by side while cores are left.
    restart_minutes
        Wall-clock time between restart files.
    sites
        Grouping of nuclei.
    extrapolation
        Watch over the force field.
    target_error
        Sampling error of Cq (MHz) to reach, by nucleus; the results say how much longer to run for it.
    transition
        How a phase transition is looked for.
    """

    EXPECTED: ClassVar[dict[str, str]] = {
        "structure": "a section with `file:` (a structure file)",
        "structure.file": "the path of a structure file",
        "models": "a section with `energy:` and `efg:` (model files)",
        "models.energy": "the path of an energy model",
        "models.efg": "the path of an EFG model",
        "nuclei": "a list such as [127I, 14N, 2H]",
        "temperatures": "a list of temperatures in kelvin",
    }

    structure: Structure
    models: Models
    nuclei: Nuclei
    temperatures: Temperatures
    output: Path | None = None
    masses: dict[str, Positive] = Field(default={})
    ensemble: Ensemble = Ensemble()
    timestep_fs: Positive = 0.5
    equilibration_ps: NotNegative = 10.0
    production_ps: Positive = 50.0
    sampling_fs: Positive = 20.0
    samples_per_block: Count = 1
    trajectory_ps: NotNegative = 1.0
    minimize: bool = True
    seed: Annotated[int, Field(ge=1, le=100_000_000)] = 1
    ranks: Count = 1
    restart_minutes: NotNegative = 5.0
    sites: Sites = Sites()
    extrapolation: Extrapolation = Extrapolation()
    target_error: dict[str, Positive] = Field(default={})
    transition: Transition = Transition()

    @field_validator("nuclei")
    @classmethod
    def _one_each(cls, value: tuple[NucleusChoice, ...]) -> tuple[NucleusChoice, ...]:
        names = [choice.name for choice in value]
        if len(set(names)) != len(names):
            raise ValueError("expected each nucleus once")
        return value

    @model_validator(mode="after")
    def _targets_fit(self) -> "Campaign":
        unknown = sorted(set(self.target_error) - {choice.name for choice in self.nuclei})
        if unknown:
            raise ValueError(f"target_error: found {unknown[0]}, expected one of the nuclei")
        return self

    @model_validator(mode="after")
    def _nuclei_of_order_parameters(self) -> "Campaign":
        known = [choice.name for choice in self.nuclei]
        for index, choice in enumerate(self.transition.order_parameters or ()):
            if choice.nucleus is not None and choice.nucleus not in known:
                raise ValueError(
                    f"transition.order_parameters[{index}].nucleus: found {choice.nucleus}, "
                    f"expected one of {' '.join(known)}"
                )
        return self

    @property
    def sampling_steps(self) -> int:
        """Time steps between EFG samples."""
        return steps_of("sampling_fs", self.sampling_fs, self.timestep_fs)

    @property
    def equilibration_steps(self) -> int:
        """Time steps before the first sampling interval begins."""
        return round(self.equilibration_ps * 1000 / self.timestep_fs)

    @property
    def n_samples(self) -> int:
        """EFG samples of a complete run: whole blocks only."""
        samples = int(self.production_ps * 1000 / self.sampling_fs + 1e-6)
        return samples // self.samples_per_block * self.samples_per_block

    @model_validator(mode="after")
    def _times_fit(self) -> "Campaign":
        steps_of("sampling_fs", self.sampling_fs, self.timestep_fs)
        if self.n_samples < 1:
            needed = self.sampling_fs * self.samples_per_block / 1000
            raise ValueError(
                f"production_ps: found {self.production_ps:g}, expected at least one block of samples ({needed:g} ps)"
            )
        return self
