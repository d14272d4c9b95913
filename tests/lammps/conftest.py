"""Models with random weights, and the folder each test runs LAMMPS in."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folder with small random models energy, efg and committee (.safetensors, an EFG model too) of five elements.

    The EFG model sees further than the energy model, so its neighbours are not those of the pair style.
    """
    import torch
    from lammps_cases import ELEMENTS

    from efgmd.models import EFGModel, EnergyModel
    from efgmd.models.io import save_model

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(3)
    sizes = {"n_radial": 4, "lmax": 2, "channels": 6, "hidden": 8}
    energy = EnergyModel(ELEMENTS, cutoff=4.5, **sizes)
    energy.set_energy_references({element: -1.0 - k for k, element in enumerate(ELEMENTS)})
    save_model(folder / "energy.safetensors", energy)
    save_model(folder / "efg.safetensors", EFGModel(ELEMENTS, cutoff=5.5, outputs=6, **sizes))
    committee = EFGModel(ELEMENTS, cutoff=5.5, outputs=6, committee=3, **sizes)
    committee.spread_scales.copy_(torch.tensor([0.5, 2.0, 1.0, 3.0, 0.7]))
    save_model(folder / "committee.safetensors", committee)
    return folder


@pytest.fixture
def workdir(models, tmp_path):
    """Empty folder with the two models in it."""
    for file in models.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path
