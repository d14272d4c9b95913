"""Models of other packages, exported by their own tools, against their own ASE calculators."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "lammps"))


@pytest.fixture(scope="module", autouse=True)
def single_precision_by_default():
    """Undo what a package has done to the whole process: NequIP makes double precision torch's default."""
    import torch

    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def tool(tmp_path_factory):
    """`tool(name, *arguments)`: run a program of the environment in a folder that all tests of a session share."""
    folder = tmp_path_factory.mktemp("exported")

    def run(name, *arguments):
        command = [str(Path(sys.executable).with_name(name)), *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout[-4000:]

    run.folder = folder
    return run


@pytest.fixture(scope="session")
def labelled(tool):
    """File of a few frames of CH3NH3PbI3 with energies and forces of SevenNet-0."""
    import gzip

    source = Path(__file__).parents[2] / "potentials" / "mapbi3" / "validation" / "held_out.xyz.gz"
    with gzip.open(source, "rt") as file:
        lines = file.readlines()
    per_frame = int(lines[0]) + 2
    (tool.folder / "labelled.xyz").write_text("".join(lines[: 4 * per_frame]))
    return tool.folder / "labelled.xyz"
