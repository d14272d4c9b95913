"""The mass of hydrogen in a campaign: as LAMMPS gets it, with and without deuterium among the nuclei."""

import json
import subprocess
import sys

import pytest
import torch
from ase.build import bulk
from toy_campaign import efgmd

from efgmd.campaign.checks import check_campaign
from efgmd.campaign.deck import system_commands
from efgmd.campaign.reading import load_campaign
from efgmd.campaign.spec import make_specs
from efgmd.models import EFGModel, EnergyModel
from efgmd.models.io import save_model

#: Standard atomic weights (IUPAC), and the mass of deuterium (AME 2020), u.
LITHIUM, HYDROGEN, DEUTERIUM = 6.94, 1.008, 2.01410177784
CAMPAIGN = """
structure: {file: cell.extxyz}
models: {energy: energy.safetensors, efg: efg.safetensors, elements: [Li, H]}
nuclei: [7Li, 2H]
temperatures: [80]
ensemble: {kind: nvt}
timestep_fs: 0.5
equilibration_ps: 0
production_ps: 0.002
sampling_fs: 1
samples_per_block: 1
restart_minutes: 0
minimize: false
ranks: 1
"""
#: Prints the masses of the two types in a restart file.
READER = """
import sys
from efgmd.coupling import create_lammps
lmp = create_lammps(["-log", "none", "-screen", "none"])
lmp.command(f"read_restart {sys.argv[1]}")
print(*(repr(lmp.extract_atom("mass")[kind]) for kind in (1, 2)))
"""


@pytest.fixture(scope="module")
def hydride(tmp_path_factory):
    """Folder with models and a crystal of lithium hydride."""
    folder = tmp_path_factory.mktemp("hydride")
    torch.manual_seed(1)
    sizes = {"cutoff": 4.0, "n_radial": 4, "lmax": 2, "channels": 3, "hidden": 8}
    save_model(folder / "energy.safetensors", EnergyModel(("H", "Li"), **sizes))
    save_model(folder / "efg.safetensors", EFGModel(("H", "Li"), outputs=3, **sizes))
    bulk("LiH", "rocksalt", a=4.08, cubic=True).write(folder / "cell.extxyz")
    return folder


@pytest.mark.parametrize(
    ("nuclei", "extra", "mass", "told"),
    [
        ("7Li", "", HYDROGEN, False),
        ("7Li, 2H", "", DEUTERIUM, True),
        ("2H", "masses: {Li: 6.015}", DEUTERIUM, True),
        ("7Li, {name: 2H, moment_mb: 2.8}", "", DEUTERIUM, True),
        ("7Li, 2H", "masses: {H: 1.5}", 1.5, False),
        ("7Li", "masses: {H: 2.014}", 2.014, False),
    ],
)
def test_mass_of_hydrogen_in_the_commands(hydride, nuclei, extra, mass, told):
    path = hydride / "masses.yaml"
    path.write_text(CAMPAIGN.replace("7Li, 2H", nuclei) + extra)
    checked = check_campaign(load_campaign(path), path)
    (spec,) = make_specs(checked)
    words = [command.split() for command in system_commands(spec) if command.startswith("mass ")]
    given = {int(kind): float(value) for _, kind, value in words}
    assert given == pytest.approx({1: 6.015 if "Li" in extra else LITHIUM, 2: mass}, abs=1e-6)
    assert any("all hydrogen moves with the mass of deuterium" in note for note in checked.notes) == told


def test_mass_of_deuterium_in_lammps_and_in_the_results(hydride):
    path = hydride / "heavy.yaml"
    path.write_text(CAMPAIGN)
    done = efgmd("run", path)
    assert done.returncode == 0, done.stderr
    assert "all hydrogen moves with the mass of deuterium" in " ".join(done.stdout.split())
    output = hydride / "heavy-run"
    assert json.loads((output / "results.json").read_text())["masses"] == pytest.approx(
        {"Li": LITHIUM, "H": DEUTERIUM}, abs=1e-6
    )
    restart = output / "T0080K" / "restart.4"
    read = subprocess.run([sys.executable, "-c", READER, str(restart)], capture_output=True, text=True, timeout=120)
    assert read.returncode == 0, read.stderr
    assert [float(mass) for mass in read.stdout.split()[-2:]] == pytest.approx([LITHIUM, DEUTERIUM], abs=1e-6)
