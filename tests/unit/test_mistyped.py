"""What is easily mistyped, or is in a form that others write: understood or refused by name, never taken silently."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from report_results import results
from rich.console import Console

from efgmd.analysis.table import print_table
from efgmd.campaign.checks import _site_problems, read_structure
from efgmd.campaign.config import Group, Sites
from efgmd.campaign.main import _are_results_of
from efgmd.cli import main
from efgmd.coupling.header import read_header
from efgmd.errors import ConfigError, DataError, ModelFileError
from efgmd.frames.writers import write_frames
from efgmd.nuclei import nucleus
from efgmd.training.selection import select_files


def with_tensors(count=1):
    frames = []
    for k in range(count):
        atoms = bulk("NaCl", "rocksalt", a=5.6)
        atoms.positions[0] += 0.01 * k
        atoms.arrays["efg"] = np.array([np.diag([-1.0, -1.0, 2.0]) * (0.1 + 0.01 * k)] * 2)
        frames.append(atoms)
    return frames


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--framework", "na,cl", "--framework: no cl in"),
        ("--framework", "Na Br", "--framework: no Br in"),
        ("--framework", "Na, Cl", None),
        ("--framework", "Na Cl", None),
        ("--nuclei", "23Na, 35Cl", None),
        ("--nuclei", "23Na, 127I", "--nuclei: no I in"),
    ],
)
def test_elements_and_nuclei_of_a_trajectory(tmp_path, capsys, monkeypatch, option, value, told):
    write(tmp_path / "start.cif", with_tensors()[0])
    write_frames(tmp_path / "frames.xyz", with_tensors(8))
    options = {"--nuclei": "23Na", "--framework": "Na,Cl", option: value}
    given = [text for pair in options.items() for text in pair]
    files = [str(tmp_path / "frames.xyz"), "--structure", str(tmp_path / "start.cif"), "-o", str(tmp_path / "out")]
    command = ["efgmd", "analyze", *files, "--temperature", "300", "--timestep-fs", "50", *given]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    if told:
        assert ended.value.code and told in capsys.readouterr().err
    else:
        assert not ended.value.code
        sites = json.loads((tmp_path / "out" / "results.json").read_text())["campaign"]["sites"]
        assert sites["framework"] == ["Na", "Cl"]


def test_the_structure_may_be_a_data_file_of_lammps(tmp_path):
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.write(tmp_path / "mine.data", format="lammps-data", specorder=["Na", "Cl"], masses=True)
    problems = []
    found = read_structure(tmp_path / "mine.data", "structure.file", problems)
    assert not problems and list(found.numbers) == list(atoms.numbers)
    np.testing.assert_allclose(found.positions, atoms.positions, atol=1e-9)
    atoms.write(tmp_path / "bare.data", format="lammps-data", specorder=["Na", "Cl"])
    assert read_structure(tmp_path / "bare.data", "structure.file", problems) is None
    assert "has no Masses, which tell the elements" in problems[0]


def test_a_placeholder_of_git_lfs_is_called_one(tmp_path):
    path = tmp_path / "efg.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ModelFileError, match="placeholder of Git LFS"):
        read_header(path)


def test_chosen_frames_are_not_written_over_by_their_table(tmp_path):
    with pytest.raises(ConfigError, match=r"chosen.csv: chosen frames are written as extended XYZ"):
        select_files([tmp_path / "pool.xyz"], [], [], 1, tmp_path / "chosen.csv", Console())


def test_couplings_of_a_nucleus_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no I whose couplings 127I could have"):
        write_frames(tmp_path / "x.csv", with_tensors(), nuclei=[nucleus("23Na"), nucleus("127I")])
    assert not (tmp_path / "x.csv").exists()


def test_names_of_magres_files_are_in_the_order_of_frames(tmp_path):
    written = write_frames(tmp_path / "frame.magres", with_tensors(12))
    assert [path.name for path in written] == sorted(path.name for path in written)
    assert written[0].name == "frame-00.magres"
    assert write_frames(tmp_path / "few.magres", with_tensors(2))[1].name == "few-1.magres"


def test_a_table_in_a_file_has_all_its_columns():
    """However narrow the terminal would be, and with many sites in one line."""
    found = results()
    rows = found["temperatures"][0]["sites"]
    found["temperatures"][0]["sites"] = [
        rows[0] | {"site": f"{k}a", "compatible_with_zero": k % 2 == 0} for k in range(9)
    ]
    narrow = Console(file=io.StringIO(), width=40)
    print_table(found, narrow)
    text = narrow.file.getvalue()
    assert "…" not in text
    first = next(line for line in text.splitlines() if "9 sites" in line)
    assert first.split("│")[1].strip() == "250"
    assert "(5 sites)," in first and any("(4 sites)" in line for line in text.splitlines())


def test_a_group_of_nuclei_that_nobody_asks_for_is_refused():
    atoms = Atoms("PbI2", positions=[[0, 0, 0], [3, 0, 0], [0, 3, 0]], cell=[6, 6, 6], pbc=True)
    nuclei = [SimpleNamespace(nucleus=lambda: nucleus("127I"))]
    structure = SimpleNamespace(supercell=(1, 1, 1), cells=(1, 1, 1))
    for ids, told in (((1,), ["sites.groups: group a holds none of the nuclei that are reported"]), ((1, 2), [])):
        sites = Sites(groups=[Group(name="a", ids=ids)])
        campaign = SimpleNamespace(sites=sites, nuclei=nuclei, structure=structure)
        assert _site_problems(campaign, atoms) == told


def test_results_of_finished_runs_are_known(tmp_path):
    """So that a mistake in what may be changed afterwards does not delete them."""
    specs = [SimpleNamespace(temperature=300.0, n_samples=50)]
    assert not _are_results_of(specs, tmp_path)
    for samples in (50, 40):
        entry = {"temperature_K": 300.0, "samples": samples}
        (tmp_path / "results.json").write_text(json.dumps({"temperatures": [entry]}))
        assert _are_results_of(specs, tmp_path) == (samples == 50)
