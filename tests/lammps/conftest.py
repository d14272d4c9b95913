"""Models with random weights, and the folder each test runs LAMMPS in."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folder with small random models energy, efg and committee (.safetensors) of five elements."""
    from lammps_cases import save_random_models

    return save_random_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def workdir(models, tmp_path):
    """Empty folder with the two models in it."""
    for file in models.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path
