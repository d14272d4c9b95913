"""Checks of a campaign against the files it names, before anything runs."""

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from efgmd.campaign.config import Campaign, Sites
from efgmd.errors import ConfigError, EfgmdError, first_line
from efgmd.nuclei import DEUTERIUM_MASS

_DATA_SUFFIXES = (".data", ".lmp")  # of LAMMPS, by custom


@dataclass(frozen=True)
class ModelInfo:
    """What a campaign keeps of a model file.

    Attributes
    ----------
    path, sha256
        The file.
    elements
        Those that the model knows.
    cutoff
        Of the model, angstrom.
    metadata
        Of the file.
    committee
        Members of an EFG model, 1 if it is no committee.
    spread_scales
        By element, error over spread of the committee on held-out data.
    without_tensors
        Elements of which an EFG model knows no tensors.
    """

    path: Path
    sha256: str
    elements: tuple[str, ...]
    cutoff: float
    metadata: dict[str, Any]
    committee: int = 1
    spread_scales: dict[str, float] = field(default_factory=dict)
    without_tensors: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckedCampaign:
    """A campaign whose files have been read and fit together.

    Attributes
    ----------
    campaign
        The validated fields.
    atoms
        Starting structure, supercell included, of N atoms.
    elements
        LAMMPS types 1, 2, ... by element.
    masses
        Mass of each type (u).
    energy
        The force field.
    efg
        The EFG model.
    watched
        Whether extrapolation of the force field is watched.
    notes
        Choices made for the user, one line each.
    """

    campaign: Campaign
    atoms: Atoms
    elements: tuple[str, ...]
    masses: tuple[float, ...]
    energy: ModelInfo
    efg: ModelInfo
    watched: bool
    notes: tuple[str, ...]


def check_campaign(campaign: Campaign, source: Path) -> CheckedCampaign:
    """Read structure and models and check that everything fits.

    Parameters
    ----------
    campaign
        Validated fields.
    source
        The campaign file, named in errors.

    Raises
    ------
    ConfigError
        With one line per mistake.
    """
    problems: list[str] = []
    atoms = _structure(campaign, problems)
    energy = _model(campaign, "energy", problems)
    efg = _model(campaign, "efg", problems)
    if atoms is None:
        raise ConfigError(problems, str(source))
    present = tuple(dict.fromkeys(atoms.get_chemical_symbols()))
    elements = campaign.models.elements or present
    if len(set(elements)) != len(elements) or not set(present) <= set(elements):
        problems.append(
            f"models.elements: found {_listed(elements)}, "
            f"expected each element of the structure once: {_listed(present)}"
        )
    for name, info in (("energy", energy), ("efg", efg)):
        unknown = [element for element in elements if info and element not in info.elements]
        if info and unknown:
            problems.append(
                f"models.{name}: {info.path.name} knows {_listed(info.elements)}, "
                f"expected it to know {_listed(unknown)} too"
            )
    for index, choice in enumerate(campaign.nuclei):
        if choice.nucleus().element not in present:
            problems.append(f"nuclei[{index}]: found {choice.name}, expected a nucleus of {_listed(present)}")
        elif efg and choice.nucleus().element in efg.without_tensors:
            problems.append(
                f"nuclei[{index}]: found {choice.name}, but {efg.path.name} knows no tensors of its element: "
                "leave it out, or train the EFG model on some"
            )
    for name, given in (("masses", campaign.masses), ("sites.framework", campaign.sites.framework or ())):
        strange = [element for element in given if element not in present]
        if strange:
            problems.append(f"{name}: found {_listed(strange)}, expected elements among {_listed(present)}")
    problems += _site_problems(campaign, atoms)
    wanted = campaign.extrapolation.action != "ignore"
    recorded = energy is not None and bool(energy.metadata.get("training_range"))
    if energy and wanted and not recorded and "action" in campaign.extrapolation.model_fields_set:
        problems.append(
            f"extrapolation.action: found {campaign.extrapolation.action}, but {energy.path.name} did not record the "
            "atoms that it was trained on; expected ignore, or a force field trained with this version of efgmd"
        )
    if campaign.masses and problems == [] and any(element not in atomic_numbers for element in campaign.masses):
        problems.append("masses: expected chemical symbols")
    if problems or energy is None or efg is None:
        raise ConfigError(problems, str(source))
    masses, notes = _masses(campaign, elements)
    if wanted and not recorded:
        notes += (
            f"{energy.path.name} did not record the atoms that it was trained on: its extrapolation is not watched",
        )
    return CheckedCampaign(campaign, atoms, elements, masses, energy, efg, wanted and recorded, notes)


def _listed(names: Any) -> str:
    return " ".join(names)


def _structure(campaign: Campaign, problems: list[str]) -> Atoms | None:
    atoms = read_structure(campaign.structure.file, "structure.file", problems)
    if atoms is None:
        return None
    return bare_structure(atoms, campaign.sites).repeat(campaign.structure.supercell)


def _read_data_file(path: Path) -> Atoms:
    """Structure in a LAMMPS data file, whose masses tell the elements."""
    from ase.io import read

    if not any(line.split("#")[0].strip() == "Masses" for line in path.read_text().splitlines()):
        raise ValueError("this LAMMPS data file has no Masses, which tell the elements")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the reader about itself
        return cast(Atoms, read(path, format="lammps-data"))


def read_structure(path: Path, field: str, problems: list[str]) -> Atoms | None:
    """The periodic structure in a file; or None, and one more of the problems, under the name of the ``field``."""
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    try:
        atoms = _read_data_file(path) if path.suffix in _DATA_SUFFIXES else read(path)
    except UnknownFileTypeError:
        problems.append(f"{field}: {path.name} is of no type that ASE knows, expected for example CIF or extxyz")
        return None
    except Exception as error:  # ASE's readers raise nearly anything on a foreign file
        problems.append(f"{field}: cannot read {path.name} as a structure: {first_line(error)}")
        return None
    if not isinstance(atoms, Atoms) or len(atoms) == 0:
        problems.append(f"{field}: found no atoms in {path.name}, expected a periodic structure")
        return None
    if not atoms.pbc.all() or abs(atoms.cell.volume) < 1e-6:
        problems.append(f"{field}: {path.name} is not periodic in three directions, expected pbc and a cell")
        return None
    if not np.isfinite(atoms.positions).all():
        problems.append(f"{field}: {path.name} has positions that are not finite, expected numbers")
        return None
    return atoms


def bare_structure(atoms: Atoms, sites: Sites) -> Atoms:
    """Elements, positions and cell of a structure, and the arrays that groups of nuclei name."""
    bare = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    for name in {group.array for group in sites.groups if group.array in atoms.arrays}:
        bare.set_array(str(name), atoms.arrays[name])
    return bare


def _site_problems(campaign: Campaign, atoms: Atoms) -> list[str]:
    """Choices of sites and axes that cannot work, found without running."""
    from efgmd.analysis.following import FrameFollower
    from efgmd.analysis.groups import GroupFinder

    na, nb, nc = (n * m for n, m in zip(campaign.structure.supercell, campaign.structure.cells, strict=True))
    try:
        FrameFollower(campaign.sites, (na, nb, nc))
        groups = GroupFinder(campaign.sites.groups).check(atoms)
    except EfgmdError as error:
        return [str(error)]
    reported = {choice.nucleus().element for choice in campaign.nuclei}
    used = {group.name for group, element, *_ in groups if element in reported}
    return [
        f"sites.groups: group {group.name} holds none of the nuclei that are reported"
        for group in campaign.sites.groups
        if group.name not in used
    ]


def _model(campaign: Campaign, kind: str, problems: list[str]) -> ModelInfo | None:
    from efgmd.models import EFGModel
    from efgmd.models.io import load_model

    path: Path = getattr(campaign.models, kind)
    try:
        model = load_model(path, kind=kind)
    except EfgmdError as error:
        problems.append(f"models.{kind}: {error}")
        return None
    info = ModelInfo(path, model.sha256, tuple(model.elements), model.cutoff, dict(model.metadata))
    if not isinstance(model, EFGModel):
        return info
    info = replace(info, without_tensors=model.without_tensors)
    if model.committee < 2:
        return info
    scales = dict(zip(model.elements, model.spread_scales.tolist(), strict=True))
    return replace(info, committee=model.committee, spread_scales=scales)


def _masses(campaign: Campaign, elements: tuple[str, ...]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    chosen = dict(campaign.masses)
    notes = []
    if "H" in elements and "H" not in chosen and any(choice.name == "2H" for choice in campaign.nuclei):
        chosen["H"] = DEUTERIUM_MASS
        notes.append(
            "2H is among the nuclei: all hydrogen moves with the mass of deuterium (set `masses: {H: ...}` to change)"
        )
    return tuple(chosen.get(element, float(atomic_masses[atomic_numbers[element]])) for element in elements), tuple(
        notes
    )
