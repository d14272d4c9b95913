"""One run of a campaign as its analysis sees it: followed frames, mean structure, sites, tensors of the sites."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray

from efgmd.analysis.sites import Site
from efgmd.analysis.temperature import TemperatureAnalysis
from efgmd.campaign.config import Sites
from efgmd.campaign.sampling import cell_matrix
from efgmd.campaign.spec import STRUCTURE_FILE
from efgmd.errors import DataError
from efgmd.tensors import matrix_to_six, rotate, six_to_matrix
from efgmd.trajectories.importing import ImportedRun

FloatArray = NDArray[np.float64]


class RunSites:
    """Sites of one run, as `efgmd analyze` finds them.

    Parameters
    ----------
    output
        Output folder of a campaign.
    record
        Its campaign.json.
    name
        Folder of one temperature.

    Attributes
    ----------
    run
        What run.json says.
    store, interval_ps
        The store, and the time between its frames.
    followed
        The frames of the store, in the frame that the campaign's ``sites`` ask for.
    sites
        Sites of all atoms, of all elements.
    symmetry
        What the sites follow from.

    Raises
    ------
    StoreError
        When the store is missing, of another run, or empty.
    """

    def __init__(self, output: Path, record: dict[str, Any], name: str) -> None:
        campaign = record["campaign"]
        atoms = read(output / STRUCTURE_FILE, index=-1)
        assert isinstance(atoms, Atoms)
        self._start = atoms
        chosen = Sites.model_validate(campaign["sites"])
        self._impose = chosen.impose_symmetry
        analysis = TemperatureAnalysis(
            [],
            chosen,
            tuple(record["cells"]),
            tuple(campaign["structure"]["supercell"]),
        )
        opened = analysis.open_run(output / name, atoms)
        self.run, self.store, self.interval_ps = opened.run, opened.store, opened.block_ps
        self.followed = opened.follower.followed
        self._average = opened.average
        finder = analysis.find_sites(opened.average, atoms)
        self.symmetry = finder.symmetry
        self.sites: list[Site] = analysis.choose_sites(finder, atoms)

    def require_frames(self) -> None:
        """Refuse a store of averages.

        Raises
        ------
        DataError
            When the store holds means over several samples: they have lost the motion within a block.
        """
        if self.store.samples_per_block != 1:
            raise DataError(
                f"{self.store.path} holds means over {self.store.samples_per_block} samples, which average the motion "
                "away; run with samples_per_block: 1 to study dynamics"
            )
        if isinstance(self.run, ImportedRun) and self.run.averaged:
            raise DataError(
                f"{self.store.path} was read from time averages, which have lost the motion; dump the compute itself"
            )

    def structure(self) -> Atoms:
        """Mean structure with the mean tensors of the sites.

        Returns
        -------
        Atoms
            With ``arrays["efg"]``, a.u., of shape ``(N, 3, 3)``: the mean tensor of each atom's site, turned back into
            the orientation of the atom, so that Cq and eta of equivalent atoms are the same and are those of
            results.json. ``info`` holds ``temperature_K``, ``space_group`` and ``samples``. Atoms of a molecule that
            turns have mean positions near its centre.
        """
        tensors = six_to_matrix(self._average.mean)
        for site in self.sites:
            mean = rotate(tensors[site.indices], site.rotations).mean(axis=0)
            if self._impose:
                mean = six_to_matrix(matrix_to_six(mean) @ site.projector)
            tensors[site.indices] = rotate(mean, np.swapaxes(site.rotations, 1, 2))
        atoms = Atoms(self._start.numbers, cell=cell_matrix(self._average.cell), pbc=True)
        atoms.set_scaled_positions(self._average.scaled)
        atoms.set_array("efg", tensors)
        atoms.info.update(
            temperature_K=self.run.temperature,
            space_group=self.symmetry.space_group,
            samples=len(self.store.sample_steps),
        )
        return atoms
