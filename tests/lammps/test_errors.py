"""Every mistake ends the whole job within seconds, on one and on two ranks, with one line that says what to do."""

import json
import os
import struct
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
from lammps_cases import BIN, ELEMENT_LIST, perovskite, run_lmp, write_data

ROOT = Path(__file__).parents[2]
LIMIT = 5.0  # seconds
GOOD_PAIR = f"pair_style mliap unified energy.safetensors 0\npair_coeff * * {ELEMENT_LIST}\n"


def deck(pair=GOOD_PAIR, rest="", units="metal", extra=""):
    """A deck whose box is ready when the pair style comes."""
    return f"units {units}\n{extra}\nread_data start.data\n{pair}\n{rest}\nrun 0\n"


def pair(model, arguments="0", elements=ELEMENT_LIST):
    """The two pair commands."""
    return f"pair_style mliap unified {model} {arguments}\npair_coeff * * {elements}\n"


def efg(model="efg.safetensors", elements=ELEMENT_LIST):
    """A working pair style, and a compute that is sampled."""
    return (
        GOOD_PAIR
        + f"compute efg all efg/atom {model} {elements}\ncompute one all reduce sum c_efg[1]\n"
        + ("thermo_style custom step c_one")
    )


MISTAKES = {
    "missing model": (deck(pair("nowhere.safetensors")), ["nowhere.safetensors does not exist", "check the path"]),
    "foreign text file": (deck(pair("start.data")), ["start.data is not an efgmd model file", "EFGMD_ALLOW_PICKLE=1"]),
    "foreign safetensors": (deck(pair("foreign.safetensors")), ["not an efgmd model", "efgmd train"]),
    "empty file": (deck(pair("empty.safetensors")), ["empty.safetensors is not an efgmd model file"]),
    "EFG model as potential": (deck(pair("efg.safetensors")), ["is an efg model where an energy model is needed"]),
    "too few elements": (deck(pair("energy.safetensors", "0", "Pb I C N")), ["4 element names given for 5 atom types"]),
    "unknown element": (
        deck(pair("energy.safetensors", "0", "Pb I C N Xe")),
        ["does not know element Xe of atom type 5", "it knows Pb I C N H"],
    ),
    "all NULL": (deck(pair("energy.safetensors", "0", "NULL NULL NULL NULL NULL")), ["every atom type is NULL"]),
    "one NULL": (deck(pair("energy.safetensors", "0", "Pb I C N NULL")), ["All pair coeffs are not set"]),
    "style again without elements": (
        deck(GOOD_PAIR + "pair_style mliap unified energy.safetensors 0"),
        ["All pair coeffs are not set"],
    ),
    "ghost neighbours": (deck(pair("energy.safetensors", "1")), ["ghost neighbour lists are not available", "write 0"]),
    "wrong dtype": (deck(pair("energy.safetensors", "0 dtype float16")), ["dtype must be float32 or float64"]),
    "not unified": (deck(pair("x", "").replace("unified x", "model linear x")), ["mliap/builtin"]),
    "units": (deck(units="lj"), ["units lj are not supported, use metal"]),
    "newton off": (deck(extra="newton off"), ["needs newton pair on"]),
    "respa": (deck(rest="run_style respa 2 2 pair 1"), ["does not support run_style respa", "write run_style verlet"]),
    "excluded types": (
        deck(rest="neigh_modify exclude type 1 2"),
        ["would miss neighbours", "neigh_modify exclude none"],
    ),
    "frozen group": (
        deck(rest="group frozen type 1 2\nneigh_modify exclude group frozen frozen"),
        ["would miss neighbours", "neigh_modify exclude none"],
    ),
    "missing EFG model": (deck(efg("nowhere.safetensors")), ["nowhere.safetensors does not exist"]),
    "foreign EFG model": (deck(efg("start.data")), ["start.data is not an efgmd model file"]),
    "energy model as EFG model": (deck(efg("energy.safetensors")), ["is an energy model where an efg model is needed"]),
    "EFG elements": (deck(efg(elements="Pb I C N")), ["4 element names given for 5 atom types"]),
    "EFG unknown element": (deck(efg(elements="Pb I C N Xe")), ["does not know element Xe"]),
    "EFG cutoff": (deck(efg()), ["exceeds the ghost region", "write comm_modify cutoff 7.5"]),
    "EFG before the box": ("units metal\ncompute efg all efg/atom efg.safetensors H\n", ["after the box"]),
    "EFG units": (deck(f"compute efg all efg/atom efg.safetensors {ELEMENT_LIST}", units="lj"), ["units lj"]),
}


def run_noting(folder, script, ranks):
    """Run a Python script in which `note(text)` appends a line to the notes of its rank.

    Returns the lines of each rank and the finished process; what ranks print to one pipe may be mixed within a line.
    """
    prelude = "import os\n\ndef note(text):\n    with open('notes.' + os.environ.get('PMI_RANK', '0'), 'a') as file:\n"
    prelude += "        file.write(str(text).splitlines()[0] + '\\n')\n"
    (folder / "script.py").write_text(prelude + script)
    launcher = [str(BIN / "mpiexec"), "-n", "2"] if ranks == 2 else []
    done = subprocess.run(
        [*launcher, sys.executable, "script.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    files = sorted(folder.glob("notes.*"))
    assert len(files) == ranks, done.stdout + done.stderr
    return [file.read_text().splitlines() for file in files], done


@pytest.fixture
def prepared(workdir):
    """Folder with models, structure, and files that are no models."""
    write_data(workdir / "start.data", perovskite((1, 1, 1)))
    (workdir / "empty.safetensors").write_bytes(b"")
    body = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    (workdir / "foreign.safetensors").write_bytes(struct.pack("<Q", len(body)) + body)
    return workdir


def assert_told(finished, parts):
    """The job failed in time, with one line of error that has these parts."""
    assert finished.status != 0, finished.output
    assert len(finished.errors) == 1, finished.output
    for part in parts:
        assert part in finished.errors[0]
    assert "Traceback" not in finished.output
    assert finished.seconds < LIMIT


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_told(prepared, mistake, ranks):
    script, parts = MISTAKES[mistake]
    assert_told(run_lmp(prepared, script, ranks), parts)


FAILING = '''
class Failing:
    """Fails at the third call, on one rank."""
    element_types = ["Pb", "I", "C", "N", "H"]
    ndescriptors = nparams = 1
    rcutfac = 1.0
    calls = 0
    def compute_gradients(self, data): pass
    compute_descriptors = compute_gradients
    def compute_forces(self, data):
        import os, time
        self.calls += 1
        if self.calls == 3 and os.environ.get("PMI_RANK", "0") == os.environ["FAILING_RANK"]:
            open("failed_at", "w").write(str(time.time()))
            self.fail(data)
class Raising(Failing):
    def fail(self, data): raise RuntimeError("no such luck")
class NotANumber(Failing):
    def fail(self, data): data.eatoms[:] = float("nan")
class ForceNotANumber(Failing):
    def fail(self, data): data.update_pair_forces(data.rij * float("nan"))
class BothNotANumber(Failing):
    def fail(self, data):
        data.eatoms[:] = float("nan")
        data.update_pair_forces(data.rij * float("nan"))
class WrongShape(Failing):
    def fail(self, data): data.update_pair_forces(data.rij[:-1])
'''


@pytest.mark.parametrize(("ranks", "failing"), [(1, 0), (2, 0), (2, 1), (4, 0), (4, 2)])
@pytest.mark.parametrize(
    ("behaviour", "parts"),
    [
        ("Raising", ["RuntimeError: no such luck"]),
        (
            "NotANumber",
            ["energy or force of atoms ", "is not a finite number", "write restart N FILE to keep some"],
        ),
        ("WrongShape", ["update_pair_forces was given", "numbers where", "are needed"]),
    ],
)
def test_failure_on_one_rank_ends_the_job(prepared, behaviour, parts, ranks, failing):
    (prepared / "failing.py").write_text(FAILING)
    pickled = f"import failing, pickle; pickle.dump(failing.{behaviour}(), open('failing.pickle', 'wb'))"
    subprocess.run([sys.executable, "-c", pickled], cwd=prepared, check=True)
    script = deck(pair("failing.pickle"), "fix 1 all nve\ntimestep 0.0001\nrun 5")
    finished = run_lmp(
        prepared, script, ranks, EFGMD_ALLOW_PICKLE="1", PYTHONPATH=str(prepared), FAILING_RANK=str(failing)
    )
    ended = time.time()
    assert finished.status != 0
    assert ended - float((prepared / "failed_at").read_text()) < LIMIT
    (line,) = finished.errors
    for part in [*parts, f"on rank {failing} at step 2"]:
        assert part in line
    assert ("Traceback" in finished.output) == (behaviour == "Raising")
    log = (prepared / "log.lammps").read_text()
    assert line in log and ("Traceback" in log) == (behaviour == "Raising")


@pytest.mark.parametrize(
    ("restart", "told"),
    [
        ("restart 1 single", "the last restart file is single.1 of step 1"),
        ("restart 1 keep.*.bin", "the last restart file is keep.1.bin of step 1"),
        ("restart 1 first second", "the last restart file is first of step 1"),
        ("restart 100 late", "no restart file yet in this run"),
    ],
)
def test_last_restart_is_named(prepared, restart, told):
    """The file that the message names is there, and its step is the one before the failure."""
    (prepared / "failing.py").write_text(FAILING)
    pickled = "import failing, pickle; pickle.dump(failing.NotANumber(), open('failing.pickle', 'wb'))"
    subprocess.run([sys.executable, "-c", pickled], cwd=prepared, check=True)
    script = deck(pair("failing.pickle"), f"{restart}\nfix 1 all nve\ntimestep 0.0001\nrun 5")
    finished = run_lmp(prepared, script, 1, EFGMD_ALLOW_PICKLE="1", PYTHONPATH=str(prepared), FAILING_RANK="0")
    (line,) = finished.errors
    assert "atoms 1 2 3 4 5 and 7 more is not a finite number" in line and told in line
    named = told.partition("file is ")[2].partition(" of step")[0]
    assert not named or (prepared / named).is_file()


@pytest.mark.parametrize(
    ("behaviour", "atoms"),
    [
        ("NotANumber", "1 2 3 4 5 and 7 more"),
        ("ForceNotANumber", "5 6 7 8 9 and 3 more"),  # atoms 1 to 4, Pb and I, have no neighbour within its cutoff
        ("BothNotANumber", "1 2 3 4 5 and 7 more"),
    ],
)
def test_each_atom_is_named_once(prepared, behaviour, atoms):
    (prepared / "failing.py").write_text(FAILING)
    pickled = f"import failing, pickle; pickle.dump(failing.{behaviour}(), open('failing.pickle', 'wb'))"
    subprocess.run([sys.executable, "-c", pickled], cwd=prepared, check=True)
    script = deck(pair("failing.pickle"), "fix 1 all nve\ntimestep 0.0001\nrun 5")
    finished = run_lmp(prepared, script, 1, EFGMD_ALLOW_PICKLE="1", PYTHONPATH=str(prepared), FAILING_RANK="0")
    (line,) = finished.errors
    assert f"energy or force of atoms {atoms} is not a finite number" in line


@pytest.mark.parametrize("ranks", [1, 2])
def test_position_that_is_not_a_number(prepared, ranks):
    """LAMMPS itself finds one that is there when atoms are sorted to ranks."""
    nan = "variable nan atom exp(1000)-exp(1000)\nset atom 5 x v_nan"
    assert_told(run_lmp(prepared, deck(GOOD_PAIR, nan), ranks), ["Non-numeric atom coords"])


@pytest.mark.parametrize("ranks", [1, 2])
def test_position_that_ceases_to_be_a_number(prepared, ranks):
    """Between two sortings of the atoms nobody but the styles would notice."""
    compute = f"comm_modify cutoff 7.6\ncompute efg all efg/atom efg.safetensors {ELEMENT_LIST}"
    script = f"""
from efgmd.coupling import create_lammps
lmp = create_lammps(["-log", "none", "-screen", "none"])
lmp.commands_string({deck(GOOD_PAIR, compute)!r})
ids, positions = lmp.numpy.extract_atom("id"), lmp.numpy.extract_atom("x")
for k in range(lmp.extract_setting("nlocal")):
    if ids[k] == 5:
        positions[k, 0] = float("nan")
for evaluate in (lambda: lmp.numpy.extract_compute("efg", 1, 2), lambda: lmp.command("run 1 pre no")):
    try:
        evaluate()
    except Exception as error:
        note(error)
"""
    notes, done = run_noting(prepared, script, ranks)
    for told in notes:
        assert len(told) == 2, done.stdout + done.stderr
        for line, style in zip(told, ("Compute efg/atom", "Pair style mliap unified"), strict=True):
            assert style in line and "position of atom 5 is not a finite number" in line


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    ("defined", "told"),
    [
        (["EFGMD_LAMMPS_VERSION=20240829"], ["for LAMMPS 20240829 but this is LAMMPS 20250722", "install efgmd again"]),
        (["OPEN_MPI"], ["compiled with the headers of Open MPI but this LAMMPS uses MPICH", "MPI_CXX_COMPILER"]),
        (["LAMMPS_BIGBIG"], ["atom ids of 8 bytes but this LAMMPS has 4", "LAMMPS_SIZES=smallbig"]),
    ],
)
def test_plugin_built_for_another_lammps(prepared, defined, told, ranks):
    """The gate alone, compiled for something else: it must refuse before any LAMMPS class is touched."""
    from importlib.metadata import files

    def folder_of(distribution, name):
        (file,) = [f for f in files(distribution) if str(f).endswith(name)]
        return file.locate().resolve().parent

    includes = [folder_of("lammps", "include/lammps/pair.h"), folder_of("mpich", "include/mpi.h")]
    settings = {"EFGMD_LAMMPS_VERSION": "20250722"} | dict((*word.split("="), "1")[:2] for word in defined)
    command = ["g++", "-std=c++17", "-shared", "-fPIC", "-o", "otherplugin.so"]
    command += [f"-D{name}={value}" for name, value in settings.items()]
    command += [f"-I{include}" for include in includes] + [str(ROOT / "lammps_plugin" / "plugin.cpp")]
    subprocess.run(command, cwd=prepared, check=True)
    finished = run_lmp(prepared, f"plugin load {prepared}/otherplugin.so\nunits metal\n", ranks)
    assert_told(finished, told)


def test_mpirun_of_another_mpi(prepared):
    finished = run_lmp(prepared, deck(), OMPI_COMM_WORLD_SIZE="2")
    assert_told(finished, ["started by Open MPI's mpirun on 2 processes but uses MPICH", "use the mpiexec"])


@pytest.mark.parametrize("ranks", [1, 2])
def test_mpi4py_of_another_mpi(prepared, ranks):
    """mpi4py as it would look with Open MPI, in front of the real thing."""
    script = """
import mpi4py.MPI
real = mpi4py.MPI.Get_library_version
mpi4py.MPI.Get_library_version = lambda: "Open MPI v4.1.4, package: Debian OpenMPI"
import lammps
from efgmd.coupling import create_lammps
from efgmd.errors import CouplingError
try:
    create_lammps(["-log", "none"])
except CouplingError as error:
    note(f"refused: {error}")
try:
    lammps.lammps(cmdargs=["-log", "none"]).file("in.lmp")
except Exception as error:
    note("stopped")
"""
    (prepared / "in.lmp").write_text(deck())
    notes, done = run_noting(prepared, script, ranks)
    for refused, stopped in notes:
        assert refused.startswith("refused: LAMMPS uses MPICH") and "mpi4py uses Open MPI v4.1.4" in refused
        assert stopped == "stopped"
    errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1 and "mpi4py uses Open MPI v4.1.4" in errors[0]


@pytest.mark.parametrize("ranks", [1, 2])
def test_cut_model_file(prepared, ranks):
    """A header that promises tensors the file does not hold."""
    content = (prepared / "energy.safetensors").read_bytes()
    (prepared / "half.safetensors").write_bytes(content[: len(content) // 2])
    finished = run_lmp(prepared, deck(pair("half.safetensors")), ranks)
    assert_told(finished, ["half.safetensors is cut short", "copy it again"])


@pytest.mark.parametrize("ranks", [1, 2])
def test_environment_without_efgmd(prepared, ranks):
    finished = run_lmp(prepared, deck(), ranks, EFGMD_PYTHON="/nowhere/python")
    assert_told(finished, ["/nowhere/python does not run", "efgmd lmp -in FILE"])
    venv.create(prepared / "bare", symlinks=True)
    finished = run_lmp(prepared, deck(), ranks, EFGMD_PYTHON=str(prepared / "bare" / "bin" / "python"))
    assert_told(finished, ["no efgmd in Python", "bare/bin/python", "set EFGMD_PYTHON"])


@pytest.mark.parametrize("kind", ["energy", "efg"])
def test_model_that_yields_no_numbers(prepared, kind):
    """A model whose weights are not numbers, on two ranks: the message names an atom and the step."""
    import torch

    from efgmd.models.io import load_model, save_model

    model = load_model(prepared / f"{kind}.safetensors")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    save_model(prepared / f"{kind}.safetensors", model)
    finished = run_lmp(prepared, deck(efg() + "\ncomm_modify cutoff 7.6"), 2)
    assert finished.status != 0
    (line,) = finished.errors
    what = {"energy": "energy or force of atom", "efg": "electric field gradient of atom"}[kind]
    assert what in line and "at step 0" in line and "is not a finite number" in line
