"""Groups of nuclei that the user chooses, in place of the sites that symmetry gives."""

import numpy as np
from ase import Atoms

from efgmd.analysis.sites import Site
from efgmd.campaign.config import Group
from efgmd.errors import ConfigError


class GroupFinder:
    """Turns the groups of a campaign file into sites.

    Nuclei of a group that exchange places are averaged as they are, in the frame of the crystal. Otherwise they must be
    equivalent: their tensors are rotated onto each other by the operations found for their site.

    Parameters
    ----------
    groups
        Groups as the user wrote them.
    """

    def __init__(self, groups: tuple[Group, ...]) -> None:
        self._groups = groups

    def compute(self, sites: list[Site], atoms: Atoms) -> list[Site]:
        """Sites for the groups; elements of which no atom is in a group keep the sites that symmetry gave.

        Parameters
        ----------
        sites
            From `SiteFinder`, expanded to all atoms.
        atoms
            All atoms with the arrays of the structure file.

        Raises
        ------
        ConfigError
            For unknown atoms, elements or arrays, a nucleus in two groups, or a group of inequivalent nuclei that is
            not said to exchange.
        """
        found = [
            _exchanging(element, label, indices) if group.exchange else _equivalent(label, indices, sites)
            for group, element, label, indices in self.check(atoms)
        ]
        grouped = {site.element for site in found}
        return [site for site in sites if site.element not in grouped] + found

    def check(self, atoms: Atoms) -> list[tuple[Group, str, str, np.ndarray]]:
        """Group, element, label and atoms of each group to be; raises what can be known from the structure alone."""
        symbols = np.array(atoms.get_chemical_symbols())
        found = [
            (group, str(element), label, indices[symbols[indices] == element])
            for group in self._groups
            for label, indices in _members(group, atoms, symbols).items()
            for element in dict.fromkeys(symbols[indices])
        ]
        taken = np.sort(np.concatenate([indices for *_, indices in found])) if found else np.zeros(0, dtype=int)
        twice = taken[1:][np.diff(taken) == 0]
        if len(twice):
            raise ConfigError(f"sites.groups: atom {twice[0] + 1} is in two groups; name each atom once")
        return found


def _members(group: Group, atoms: Atoms, symbols: np.ndarray) -> dict[str, np.ndarray]:
    if group.ids is not None:
        indices = np.array(sorted(group.ids)) - 1
        if indices[-1] >= len(atoms):
            raise ConfigError(f"sites.groups: atom {indices[-1] + 1} of group {group.name} does not exist")
        return {group.name: indices}
    if group.element is not None:
        if group.element not in symbols:
            raise ConfigError(f"sites.groups: no atom of group {group.name} ({group.element}) in the structure")
        return {group.name: np.flatnonzero(symbols == group.element)}
    if group.array not in atoms.arrays:
        known = ", ".join(name for name in atoms.arrays if name not in ("numbers", "positions")) or "none"
        raise ConfigError(f"sites.groups: the structure file has no array {group.array}; it has {known}")
    labels = atoms.arrays[group.array]
    if labels.ndim != 1:
        raise ConfigError(f"sites.groups: array {group.array} has several values for each atom; expected one label")
    return {f"{group.name} {label}": np.flatnonzero(labels == label) for label in np.unique(labels)}


def _exchanging(element: str, label: str, indices: np.ndarray) -> Site:
    return Site(element, label, indices, np.tile(np.eye(3), (len(indices), 1, 1)), np.eye(3)[None])


def _equivalent(label: str, indices: np.ndarray, sites: list[Site]) -> Site:
    for site in sites:
        if indices[0] in site.indices:
            place = {int(index): number for number, index in enumerate(site.indices)}
            if not set(indices.tolist()) <= set(place):
                break
            turns = site.rotations[[place[int(index)] for index in indices]]
            # Onto the first of the group instead of the first of the site.
            stabilizer = np.swapaxes(turns[:1], 1, 2) @ site.stabilizer @ turns[0]
            return Site(site.element, label, indices, np.swapaxes(turns[:1], 1, 2) @ turns, stabilizer)
    raise ConfigError(
        f"sites.groups: the nuclei of group {label} are not equivalent by symmetry; set exchange: true to average "
        "their tensors as they are, or make smaller groups"
    )
