"""The input scripts and Python snippets of the documents run, with small random models in place of the real ones."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from lammps_cases import BIN, ELEMENT_LIST, succeed

from documents import ROOT, snippets

PREPARE = "units metal\nread_data mapbi3.data\nneighbor 1.0 bin\ncomm_modify cutoff 8.0\n"
PAIR = f"pair_style mliap unified energy.safetensors 0\npair_coeff * * {ELEMENT_LIST}\n"


@pytest.fixture
def checkout(workdir):
    """A folder that looks like the root of the repository to the snippets."""
    potentials, example = workdir / "potentials" / "mapbi3", workdir / "examples" / "mapbi3"
    potentials.mkdir(parents=True)
    example.mkdir(parents=True)
    for name, shipped in (("energy", "energy-d3"), ("efg", "efg")):
        shutil.copy(workdir / f"{name}.safetensors", potentials / f"{shipped}.safetensors")
    shutil.copy(ROOT / "examples" / "mapbi3" / "structure.extxyz", example)
    (command,) = {line for s in snippets("bash") for line in s.text.splitlines() if line.startswith("python -c")}
    subprocess.run(command.replace("python", sys.executable, 1), shell=True, cwd=workdir, check=True)
    assert (workdir / "mapbi3.data").exists()
    return workdir


@pytest.mark.parametrize("snippet", snippets("lammps"), ids=str)
def test_input_script_runs(checkout, snippet):
    script = re.sub(r"^run +\d+", "run 2", snippet.text, flags=re.MULTILINE)
    if "read_data" not in script:
        script = PREPARE + ("" if "pair_style" in script else PAIR) + script + "\nfix move all nve\nrun 0\n"
    assert "\nrun " in script
    assert "WARNING" not in succeed(checkout, script).output


def test_python_snippets_run(checkout):
    found = snippets("python")
    assert len(found) > 4
    for number, snippet in enumerate(found):
        (checkout / f"snippet{number}.py").write_text(snippet.text)
    runner = "import runpy, sys\nfor name in sys.argv[1:]:\n    print(name, flush=True)\n    runpy.run_path(name)\n"
    names = [f"snippet{number}.py" for number in range(len(found))]
    done = subprocess.run(
        [BIN / "python", "-c", runner, *names], cwd=checkout, capture_output=True, text=True, timeout=300
    )
    failed = found[int(re.findall(r"snippet(\d+)", done.stdout)[-1])]
    assert done.returncode == 0, f"{failed}: {done.stderr[-2000:]}"
