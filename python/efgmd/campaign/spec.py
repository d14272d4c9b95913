"""What a run is made of: the file its worker reads, and the identity that its results carry."""

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from efgmd.campaign.checks import CheckedCampaign
from efgmd.errors import StoreError
from efgmd.files import write_whole

SPEC_FILE = "run.json"
STRUCTURE_FILE = "structure.extxyz"


@dataclass(frozen=True)
class DynamicsSpec(ABC):
    """Molecular dynamics with an energy model. Times are in steps, lengths in angstrom, the rest as in `Campaign`.

    Attributes
    ----------
    symbols
        Element of each atom, in the order of the LAMMPS atom ids, of length N.
    cutoff
        That ghost atoms must reach.
    """

    temperature: float
    symbols: list[str]
    elements: list[str]
    masses: list[float]
    energy_model: str
    energy_sha256: str
    cutoff: float
    dtype: str
    ensemble: dict[str, Any]
    timestep_fs: float
    minimize: bool
    seed: int

    #: Fields that may change when a run is continued.
    FREE: ClassVar[tuple[str, ...]] = ("energy_model",)

    @property
    @abstractmethod
    def total_steps(self) -> int:
        """Steps of the whole run."""

    @property
    def label(self) -> str:
        """What the run is called in messages."""
        return f"{self.temperature:g} K"

    @property
    def identity(self) -> str:
        """SHA-256 of everything that decides the trajectory and the tensors; the same for a continued run."""
        content = {name: value for name, value in asdict(self).items() if name not in self.FREE}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def summary(self) -> dict[str, Any]:
        """All fields but the long list of symbols."""
        return {name: value for name, value in asdict(self).items() if name != "symbols"}

    def write(self, folder: Path) -> None:
        """Write the specification into a run's folder."""
        text = json.dumps(asdict(self) | {"identity": self.identity}, indent=1)
        write_whole(folder / SPEC_FILE, text + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the specification of a run's folder.

        Raises
        ------
        StoreError
            When the folder holds no readable specification.
        """
        try:
            content = json.loads((folder / SPEC_FILE).read_text(encoding="utf-8"))
            return cls(**{item.name: content[item.name] for item in fields(cls) if item.name in content})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{folder / SPEC_FILE} is missing or damaged; start the campaign in a new folder"
            ) from error


@dataclass(frozen=True)
class RunSpec(DynamicsSpec):
    """One MD run at one temperature, with EFG tensors.

    Attributes
    ----------
    committee
        Members of the EFG model.
    spread_scales
        By element, error over spread of the committee on held-out data.
    without_tensors
        Elements of which the EFG model knows no tensors.
    watch
        What is done about extrapolation of the force field: ``action``, ``limit`` and ``steps`` between looks; or
        nothing.
    """

    structure_hash: str
    efg_model: str
    efg_sha256: str
    equilibration_steps: int
    sampling_steps: int
    samples_per_block: int
    n_samples: int
    trajectory_steps: int
    restart_minutes: float
    committee: int = 1
    spread_scales: dict[str, float] = field(default_factory=dict)
    without_tensors: list[str] = field(default_factory=list)
    watch: dict[str, Any] = field(default_factory=dict)

    # Where files lie, how long it lasts, how often it saves, what it looks at; and what the hash of the EFG model
    # decides.
    FREE = (
        "energy_model",
        "efg_model",
        "n_samples",
        "restart_minutes",
        "committee",
        "spread_scales",
        "without_tensors",
        "watch",
    )

    @property
    def total_steps(self) -> int:
        """Steps from the start of equilibration to the last sample."""
        return self.equilibration_steps + self.n_samples * self.sampling_steps


def run_folder(output: Path, temperature: float) -> Path:
    """Folder of one temperature, for example ``T0250K`` or ``T0252.5K``."""
    whole = f"{temperature:04.0f}" if temperature == round(temperature) else f"{temperature:06.6g}"
    return output / f"T{whole}K"


def make_specs(checked: CheckedCampaign) -> list[RunSpec]:
    """One specification per temperature, in the campaign's order."""
    campaign, atoms = checked.campaign, checked.atoms
    content = json.dumps([atoms.numbers.tolist(), atoms.positions.tolist(), atoms.cell.array.tolist()])
    common: dict[str, Any] = {
        "structure_hash": hashlib.sha256(content.encode()).hexdigest(),
        "symbols": atoms.get_chemical_symbols(),
        "elements": list(checked.elements),
        "masses": list(checked.masses),
        "energy_model": str(checked.energy.path),
        "energy_sha256": checked.energy.sha256,
        "efg_model": str(checked.efg.path),
        "efg_sha256": checked.efg.sha256,
        "cutoff": max(checked.energy.cutoff, checked.efg.cutoff),
        "dtype": campaign.models.dtype,
        "ensemble": campaign.ensemble.model_dump(),
        "timestep_fs": campaign.timestep_fs,
        "equilibration_steps": campaign.equilibration_steps,
        "sampling_steps": campaign.sampling_steps,
        "samples_per_block": campaign.samples_per_block,
        "n_samples": campaign.n_samples,
        "trajectory_steps": _multiple(campaign.trajectory_ps * 1000 / campaign.timestep_fs, campaign.sampling_steps),
        "minimize": campaign.minimize,
        "restart_minutes": campaign.restart_minutes,
        "committee": checked.efg.committee,
        "spread_scales": checked.efg.spread_scales,
        "without_tensors": list(checked.efg.without_tensors),
        "watch": _watch(checked),
    }
    # The seed belongs to the temperature, not to its place in the list: adding temperatures later changes no run.
    return [
        RunSpec(temperature=temperature, seed=campaign.seed + round(temperature * 1000), **common)
        for temperature in campaign.temperatures
    ]


def _watch(checked: CheckedCampaign) -> dict[str, Any]:
    campaign, chosen = checked.campaign, checked.campaign.extrapolation
    if not checked.watched:
        return {}
    steps = _multiple(chosen.interval_ps * 1000 / campaign.timestep_fs, campaign.sampling_steps)
    return {"action": chosen.action, "limit": chosen.limit, "steps": steps}


def _multiple(steps: float, unit: int) -> int:
    return 0 if steps <= 0 else max(1, round(steps / unit)) * unit
