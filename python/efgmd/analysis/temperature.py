"""Analysis of one temperature: from its store to couplings per site, lattice and traces."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from efgmd.analysis.averaging import NucleusAverage, SiteSeries
from efgmd.analysis.axes import AxisFollower, AxisFrame
from efgmd.analysis.following import FrameFollower
from efgmd.analysis.groups import GroupFinder
from efgmd.analysis.lattice import LatticeAverage, unique_axes
from efgmd.analysis.molecules import molecule_numbers
from efgmd.analysis.rows import SiteRows
from efgmd.analysis.sites import Site, SiteFinder, expand, fold
from efgmd.analysis.statistics import BlockAverage, Estimate
from efgmd.campaign.config import Sites
from efgmd.campaign.sampling import cell_matrix
from efgmd.campaign.spec import RunSpec
from efgmd.campaign.watch import summary
from efgmd.campaign.worker import STORE_FILE
from efgmd.errors import StoreError
from efgmd.nuclei import Nucleus
from efgmd.store import Store
from efgmd.trajectories.importing import ImportedRun, read_run

FloatArray = NDArray[np.float64]

_TRACE_POINTS = 50


class TemperatureAnalysis:
    """Couplings and lattice of one run.

    Parameters
    ----------
    nuclei
        Nuclei to report.
    sites
        How nuclei are grouped and which axes are followed.
    cells
        Pseudo-cubic cells along the axes of the simulated cell.
    supercell
        Repeats of the structure file's cell. They are taken as equivalent: the symmetry search works on their average.
    target_error
        Sampling error of Cq (MHz) to reach, by nucleus.

    Raises
    ------
    DataError
        If the axes cannot be followed in such a cell.
    """

    def __init__(
        self,
        nuclei: list[Nucleus],
        sites: Sites,
        cells: tuple[int, int, int],
        supercell: tuple[int, int, int] = (1, 1, 1),
        target_error: Mapping[str, float] | None = None,
    ) -> None:
        self._nuclei, self._sites = nuclei, sites
        self._cells, self._supercell = cells, supercell
        self._target_error = dict(target_error or {})
        self._follower = FrameFollower(sites, cells)

    def compute(self, folder: Path, atoms: Atoms) -> dict[str, Any]:
        """Analyse the store in a run's folder.

        Parameters
        ----------
        folder
            Folder of one temperature.
        atoms
            The starting structure, all repeats, with molecules intact.

        Returns
        -------
        dict
            JSON-able results of this temperature; see docs for its fields.

        Raises
        ------
        StoreError
            When the store is missing, or holds no block yet.
        """
        opened = self.open_run(folder, atoms)
        run, store, follower = opened.run, opened.store, opened.follower
        finder = self.find_sites(opened.average, atoms)
        rows = self._rows(opened, self.choose_sites(finder, atoms), atoms)
        symmetry = finder.symmetry
        return {
            "temperature_K": run.temperature,
            "folder": folder.name,
            "complete": len(store.sample_steps) >= run.n_samples,
            "samples": len(store.sample_steps),
            "samples_planned": run.n_samples,
            "blocks": len(store.block_steps),
            "block_ps": opened.block_ps,
            "seed": run.seed,
            "versions_of_run": store.header.get("versions", {}),
            "measured": {name: _scalar(store.sample(name)) for name in ("temperature", "pressure", "potential_energy")},
            "lattice": self._lattice(store, follower.axis),
            "symmetry": {
                "space_group": symmetry.space_group,
                "tolerance_angstrom": symmetry.tolerance,
                "tolerance_widened": symmetry.widened,
                "assumed_from_start": symmetry.assumed,
                "searched": symmetry.searched,
                "rms_deviation_angstrom": symmetry.rms_deviation,
                "max_deviation_angstrom": symmetry.max_deviation,
                "framework": list(self._sites.framework or []),
            },
            "axes": follower.description,
            "traces": _traces(store, run),
            "extrapolation": None if isinstance(run, ImportedRun) else summary(folder, run),
            "notes": list(run.notes) if isinstance(run, ImportedRun) else [],
            "sites": rows,
        }

    def rows(
        self, folder: Path, atoms: Atoms, sites: list[Site], onto: AxisFrame | None = None
    ) -> list[dict[str, Any]]:
        """The entry ``sites`` of a run's results with nuclei grouped into given sites instead of its own.

        The sites are those of the crystal ``onto``, which the run is laid onto, where axes are followed.
        """
        return self._rows(self.open_run(folder, atoms, onto), sites, atoms)

    def open_run(self, folder: Path, atoms: Atoms, onto: AxisFrame | None = None) -> "OpenedRun":
        """Follow and average the frames of a run; parameters and errors as for `compute`.

        With ``onto``, the run is laid onto the crystal of another one if axes are followed.
        """
        run = read_run(folder)
        store = Store(folder / STORE_FILE)
        if store.identity != run.identity:
            raise StoreError(f"{store.path} and {folder / 'run.json'} belong to different runs; run in a new folder")
        if len(store.block_steps) == 0:
            raise StoreError(f"{store.path} holds no complete block of samples yet; let the run continue")
        block_ps = run.sampling_steps * run.samples_per_block * run.timestep_fs / 1000
        follower = self._follower.compute(store, atoms, store.block_steps, store.block("cell"), block_ps, onto)
        average = NucleusAverage()
        for frames in follower.followed.frames():
            average.compute(frames)
        return OpenedRun(run, store, follower, average, block_ps)

    def _rows(self, opened: "OpenedRun", sites: list[Site], atoms: Atoms) -> list[dict[str, Any]]:
        run = opened.run
        series = SiteSeries(sites, len(opened.store.block_steps))
        for frames in opened.follower.followed.frames():
            series.compute(frames)
        members = [NucleusAverage() for _ in range(opened.store.committee if opened.store.committee > 1 else 0)]
        for each in opened.store.member_frames():
            for member, frames in zip(members, each, strict=True):
                member.compute(opened.follower.followed.apply(frames))
        rows = SiteRows(
            opened.average,
            series,
            opened.block_ps,
            impose_symmetry=self._sites.impose_symmetry,
            instantaneous=not (isinstance(run, ImportedRun) and run.averaged),
            members=np.array([member.mean for member in members]) if members and members[0].count else None,
            member_scales=None if isinstance(run, ImportedRun) else run.spread_scales,
            molecules=molecule_numbers(atoms, self._sites.framework),
        )
        return [
            rows.row(nucleus, number, site, self._target_error.get(nucleus.name))
            for nucleus in self._nuclei
            for number, site in enumerate(sites)
            if site.element == nucleus.element
        ]

    def find_sites(self, average: NucleusAverage, atoms: Atoms) -> SiteFinder:
        """Sites of one repeat of the mean structure."""
        start = one_repeat(atoms, self._supercell)
        scaled = fold(average.scaled, self._supercell)
        single = cell_matrix(average.cell) / np.array(self._supercell)[:, None]
        mean = Atoms(start.numbers, scaled_positions=scaled, cell=single, pbc=True)
        return SiteFinder(self._sites.framework, self._sites.tolerance).compute(mean, start)

    def choose_sites(self, finder: SiteFinder, atoms: Atoms) -> list[Site]:
        """Sites of all atoms: by symmetry, by position in the molecule, or as the user groups them."""
        repeats = math.prod(self._supercell)
        sites = expand(finder.sites, len(atoms) // repeats, repeats)
        if self._follower.molecular is not None:
            inside = {site.element for site in self._follower.molecular.sites}
            sites = [site for site in sites if site.element not in inside] + self._follower.molecular.sites
        return GroupFinder(self._sites.groups).compute(sites, atoms) if self._sites.groups else sites

    def _lattice(self, store: Store, axis: AxisFollower | None) -> dict[str, Any]:
        cell = store.sample("cell")
        followed = cell if axis is None else axis.cells(store.sample_steps, cell)
        means = LatticeAverage(self._cells).compute(followed).means
        names = ("a", "b", "c", "alpha", "beta", "gamma")
        return {
            "supercell": _named(names, means.parameters),
            "pseudocubic": _named(names[:3], means.per_cell),
            "pseudocubic_covariance": means.per_cell.covariance.tolist() if means.per_cell.has_error else None,
            "pseudocubic_degrees": means.per_cell.degrees,
            "volume": _named(("volume",), means.volume)["volume"],
            "cells": list(self._cells),
            "unique_axes": unique_axes(cell, self._cells),
        }


@dataclass(frozen=True)
class OpenedRun:
    """A run's description, its store, its frames with followed axes, and the means of its nuclei."""

    run: RunSpec | ImportedRun
    store: Store
    follower: FrameFollower
    average: NucleusAverage
    block_ps: float


def one_repeat(atoms: Atoms, supercell: tuple[int, int, int]) -> Atoms:
    """First repeat of a supercell that ASE built."""
    single = atoms[: len(atoms) // math.prod(supercell)]
    single.set_cell([vector / count for vector, count in zip(atoms.cell.array, supercell, strict=True)])
    return single


def _traces(store: Store, run: RunSpec | ImportedRun) -> dict[str, list[float | None]]:
    """Temperature and volume against time since the start of production, averaged into at most `_TRACE_POINTS` bins."""
    time = (store.sample_steps - run.equilibration_steps) * run.timestep_fs / 1000
    series = {"time_ps": time, "temperature_K": store.sample("temperature"), "volume": store.sample("volume")}
    bins = np.array_split(np.arange(len(time)), min(_TRACE_POINTS, len(time)))
    return {name: [_finite(values[part].mean()) for part in bins] for name, values in series.items()}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _scalar(series: FloatArray) -> dict[str, float | None]:
    """Mean and error of a series, null where the trajectory does not tell it."""
    if not np.isfinite(series).all():
        return {"mean": None, "error": None}
    return _named(("value",), BlockAverage().compute(series).estimate)["value"]


def _named(names: tuple[str, ...], estimate: Estimate) -> dict[str, dict[str, float | None]]:
    return {
        name: {"mean": float(mean), "error": _finite(error)}
        for name, mean, error in zip(names, estimate.mean, estimate.error, strict=True)
    }
