"""Groups nuclei into crystallographic sites of the time-averaged structure."""

import os
from dataclasses import dataclass, replace

import numpy as np
import spglib
import spglib.error
from ase import Atoms
from numpy.typing import NDArray

from efgmd.analysis.molecules import Molecules
from efgmd.tensors import six_rotation

FloatArray = NDArray[np.float64]
Operation = tuple[FloatArray, FloatArray]  # fractional rotation (3, 3) and translation (3,)

# spglib's search for pure translations fails on larger cells, after hours and with thousands of warnings.
_MOST_ATOMS = 1500
# A structure whose framework has more inequivalent sites than this share of its atoms has no useful symmetry.
_USEFUL_SHARE = 0.25
_WIDENED = (1.0, 1.5, 2.0)
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Site:
    """A set of symmetry-equivalent nuclei.

    Attributes
    ----------
    element
        Chemical symbol.
    label
        Distinguishes the sites of an element: multiplicity and Wyckoff letter, or the bonded elements.
    indices
        The n atoms of the site; the first is the reference.
    rotations
        Of shape ``(n, 3, 3)``: rotation k takes tensors of atom k into the orientation of the reference atom.
    stabilizer
        Rotations that leave the reference atom (or its molecule's centre) where it is, of shape ``(s, 3, 3)``.
    """

    element: str
    label: str
    indices: NDArray[np.int64]
    rotations: FloatArray
    stabilizer: FloatArray

    @property
    def projector(self) -> FloatArray:
        """Matrix ``(6, 6)`` that acts on six-vectors (as rows) and keeps what the site's own symmetry allows.

        It takes the trace away, too, so that nothing at all is left where symmetry allows nothing.
        """
        traceless = np.eye(6)
        traceless[:3, :3] -= 1 / 3
        kept = six_rotation(self.stabilizer).mean(axis=0) @ traceless
        return np.where(np.abs(kept) < _ROUNDING, 0.0, kept)


@dataclass(frozen=True)
class SymmetryFound:
    """Symmetry of the mean framework.

    Attributes
    ----------
    space_group
        International symbol and number, ``P1 (1)`` at least.
    tolerance
        Distance tolerance at which it was found, angstrom.
    widened
        Whether the asked tolerance had to be exceeded.
    assumed
        Whether the mean structure showed no useful symmetry, so that nuclei are grouped by that of the starting
        structure.
    searched
        Whether symmetry was searched at all: not in a framework of more than 1500 atoms.
    rms_deviation, max_deviation
        Distances (angstrom) between the framework atoms and their images under the operations used.
    """

    space_group: str
    tolerance: float
    widened: bool
    assumed: bool
    searched: bool
    rms_deviation: float
    max_deviation: float


class SiteFinder:
    """Finds sites from the symmetry of the mean framework.

    Framework atoms are grouped by symmetry. All other atoms are grouped by bonded environment and by the symmetry of
    the mean centre of their molecule: molecules that reorient quickly have no mean orientation of their own, so the
    operation that takes one centre to another relates their tensors.

    Parameters
    ----------
    framework
        Elements whose mean positions carry the symmetry; None for all.
    tolerance
        Distance tolerance in angstrom. If it yields no useful symmetry, up to twice as much is tried, for symmetries
        no lower than that of the starting structure; then nuclei are grouped by the latter.
    """

    def __init__(self, framework: tuple[str, ...] | None, tolerance: float) -> None:
        self._framework, self._tolerance = framework, tolerance

    def compute(self, mean: Atoms, start: Atoms) -> "SiteFinder":
        """Find the sites.

        Parameters
        ----------
        mean
            Mean structure of N atoms, unwrapped.
        start
            The starting structure of the same atoms, its molecules intact: for the bonds, and for the grouping when
            the mean structure has no useful symmetry. It may be turned as a whole against ``mean``.
        """
        symbols = np.array(mean.get_chemical_symbols())
        chosen = frozenset(self._framework or symbols)
        framework = np.flatnonzero(np.isin(symbols, list(chosen)))
        scaled = mean.get_scaled_positions(wrap=False)
        cell = np.asarray(mean.cell.array)
        operations, orbits, labels = self._symmetry(mean[framework], start[framework])
        self.sites: list[Site] = []
        deviations: list[float] = []
        for orbit in np.unique(orbits):
            members = framework[orbits == orbit]
            rotations, stabilizer, distances = _relate(scaled[members], operations, cell)
            deviations += distances
            label = labels[int(np.flatnonzero(orbits == orbit)[0])]
            self.sites.append(Site(str(symbols[members[0]]), label, members, rotations, stabilizer))
        molecules = Molecules(chosen).compute(start)
        if len(molecules.indices):
            self._molecular_sites(symbols, molecules, molecules.centres(scaled), operations, cell)
        self._name_apart()
        self.symmetry = SymmetryFound(
            self._space_group,
            self._used,
            self._used > self._tolerance,
            self._assumed,
            len(framework) <= _MOST_ATOMS,
            float(np.sqrt(np.mean(np.square(deviations)))) if deviations else 0.0,
            float(max(deviations, default=0.0)),
        )
        return self

    def _symmetry(self, mean: Atoms, start: Atoms) -> tuple[list[Operation], NDArray[np.int64], list[str]]:
        """Operations, orbit number and label of each framework atom."""
        self._assumed = False
        assumed = _useful_symmetry(start, self._tolerance)
        for factor in _WIDENED:
            self._used = round(factor * self._tolerance, 6)
            found = _useful_symmetry(mean, self._used)
            # A wide tolerance also finds symmetries that are accidents of noise: those with fewer operations than the
            # crystal started with are not taken.
            if found and (factor == 1.0 or not assumed or len(found[1]) >= len(assumed[1])):
                self._space_group = found[0]
                return found[1:]
        self._assumed, self._used = True, self._tolerance
        if assumed:
            self._space_group = assumed[0]
            return assumed[1:]
        self._space_group = "P1 (1)"
        identity = [(np.eye(3), np.zeros(3))]
        return identity, np.arange(len(mean)), [str(index + 1) for index in range(len(mean))]

    def _molecular_sites(
        self,
        symbols: NDArray[np.str_],
        molecules: Molecules,
        centres: FloatArray,
        operations: list[Operation],
        cell: FloatArray,
    ) -> None:
        environments, kinds = np.array(molecules.environment), np.array(molecules.kinds)
        for kind in dict.fromkeys(kinds):
            remaining = [int(number) for number in np.flatnonzero(kinds == kind)]
            while remaining:
                orbit, rotations, stabilizer = _orbit_of(remaining, centres, operations, cell)
                remaining = [number for number in remaining if number not in set(orbit)]
                inside = dict(zip(orbit, rotations, strict=True))
                member = np.isin(molecules.molecule, orbit)
                for environment in dict.fromkeys(environments[member]):
                    chosen = np.flatnonzero(member & (environments == environment))
                    self.sites.append(
                        Site(
                            str(symbols[molecules.indices[chosen[0]]]),
                            molecules.neighbours[chosen[0]],
                            molecules.indices[chosen],
                            np.array([inside[molecules.molecule[index]] for index in chosen]),
                            stabilizer,
                        )
                    )

    def _name_apart(self) -> None:
        """Number sites of one element that share a label."""
        names = [(site.element, site.label) for site in self.sites]
        for name in {name for name in names if names.count(name) > 1}:
            for count, index in enumerate((k for k, found in enumerate(names) if found == name), start=1):
                site = self.sites[index]
                self.sites[index] = replace(site, label=f"{site.label}#{count}")


def fold(scaled: FloatArray, supercell: tuple[int, int, int]) -> FloatArray:
    """Average the fractional coordinates of a supercell's repeats, in fractions of one repeat.

    Parameters
    ----------
    scaled
        Unwrapped fractional coordinates of the supercell, of shape ``(repeats * n, 3)``, repeat after repeat as ASE
        orders them (the third axis fastest).
    supercell
        Number of repeats along each axis.

    Returns
    -------
    ndarray
        Of shape ``(n, 3)``.
    """
    offsets = np.array(list(np.ndindex(*supercell)))
    single = scaled.reshape(len(offsets), -1, 3) * np.array(supercell) - offsets[:, None, :]
    shifts = single - single[0]
    return np.asarray(single[0] + (shifts - np.round(shifts)).mean(axis=0))


def expand(sites: list[Site], n_atoms: int, repeats: int) -> list[Site]:
    """Sites of a supercell of ``repeats`` copies from the sites of one copy of ``n_atoms`` atoms."""
    starts = n_atoms * np.arange(repeats)[:, None]
    return [
        replace(site, indices=(starts + site.indices).ravel(), rotations=np.tile(site.rotations, (repeats, 1, 1)))
        for site in sites
    ]


def _useful_symmetry(
    atoms: Atoms, tolerance: float
) -> tuple[str, list[Operation], NDArray[np.int64], list[str]] | None:
    """Space group, operations, orbits and labels; None unless the orbits are few."""
    if len(atoms) > _MOST_ATOMS:
        return None
    os.environ.setdefault("SPGLIB_WARNING", "OFF")  # its C code prints every failed attempt
    spglib.error.OLD_ERROR_HANDLING = False  # spglib's coming default: raise instead of returning None
    try:
        found = spglib.get_symmetry_dataset(
            (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=tolerance
        )
    except spglib.SpglibError:
        return None
    if found is None:
        return None
    orbits = np.asarray(found.crystallographic_orbits, dtype=np.int64)
    if len(np.unique(orbits)) > max(len(set(atoms.numbers)), _USEFUL_SHARE * len(atoms)):
        return None
    share = len(found.std_types) / len(atoms)  # supercell orbits are larger than those of the conventional cell
    labels = [
        f"{max(1, round(np.sum(orbits == orbit) * share))}{letter}"
        for orbit, letter in zip(orbits, found.wyckoffs, strict=True)
    ]
    operations = list(zip(found.rotations, found.translations, strict=True))
    return f"{found.international} ({found.number})", operations, orbits, labels


def _cartesian(rotation: FloatArray, cell: FloatArray) -> FloatArray:
    """Nearest proper rotation to a fractional operation (inversion does not act on an EFG)."""
    matrix = cell.T @ rotation @ np.linalg.inv(cell.T)
    left, _, right = np.linalg.svd(matrix)
    orthogonal = left @ right
    return np.asarray(orthogonal * np.sign(np.linalg.det(orthogonal)))


def _image_distances(scaled: FloatArray, others: FloatArray, cell: FloatArray) -> FloatArray:
    difference = others - scaled
    return np.linalg.norm((difference - np.round(difference)) @ cell, axis=-1)


def _turn(rotation: FloatArray) -> float:
    """Cosine-like measure that is largest for the identity."""
    return float(np.trace(rotation))


def _relate(
    scaled: FloatArray, operations: list[Operation], cell: FloatArray
) -> tuple[FloatArray, FloatArray, list[float]]:
    """Rotation of each of the points ``scaled`` (n, 3) onto the first, by the operation with the smallest turn.

    Returns rotations of shape ``(n, 3, 3)``, those of the operations that leave the first in place ``(s, 3, 3)``, and
    the distances (angstrom) by which the operations miss the points.
    """
    stabilizer = []
    best = np.full(len(scaled), -np.inf)
    rotations, distances = np.tile(np.eye(3), (len(scaled), 1, 1)), np.zeros(len(scaled))
    for fractional, translation in operations:
        separation = _image_distances(fractional @ scaled[0] + translation, scaled, cell)
        target = int(np.argmin(separation))
        rotation = _cartesian(fractional, cell)
        if target == 0:
            stabilizer.append(rotation)
        if _turn(rotation) > best[target] + 1e-6:
            best[target], distances[target] = _turn(rotation), separation[target]
            rotations[target] = rotation.T  # the operation takes the reference to the target; tensors come back
    return rotations, np.array(stabilizer), [float(value) for value in distances]


def _orbit_of(
    candidates: list[int], centres: FloatArray, operations: list[Operation], cell: FloatArray
) -> tuple[list[int], list[FloatArray], FloatArray]:
    """Molecules that the operations reach from the first candidate, the rotations of their tensors onto it, and the
    rotations that leave it in place."""
    points = centres[candidates]
    stabilizer = []
    best: dict[int, tuple[float, FloatArray]] = {0: (np.inf, np.eye(3))}
    for fractional, translation in operations:
        target = int(np.argmin(_image_distances(fractional @ points[0] + translation, points, cell)))
        rotation = _cartesian(fractional, cell)
        if target == 0:
            stabilizer.append(rotation)
        if target not in best or _turn(rotation) > best[target][0] + 1e-6:
            best[target] = (_turn(rotation), rotation.T)
    return [candidates[index] for index in best], [rotation for _, rotation in best.values()], np.array(stabilizer)
