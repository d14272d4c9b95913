"""Writing frames with tensors, and converting between formats."""

import csv

import ase.io
import numpy as np
import pytest
from efg_outputs import MOMENTS, corundum, gipaw, mhz, outcar, principal
from rich.console import Console

from efgmd.errors import ConfigError, DataError
from efgmd.frames.convert import convert
from efgmd.frames.labels import known_atoms
from efgmd.frames.readers import read_frames
from efgmd.frames.writers import write_frames
from efgmd.nuclei import nucleus, parse_nuclei


def partly_labelled():
    atoms = corundum()
    atoms.arrays["efg_known"] = atoms.symbols == "Al"
    atoms.arrays["efg"][atoms.symbols == "O"] = np.nan
    return atoms


def rows_of(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_extended_xyz_keeps_every_label(tmp_path):
    frames = [corundum(seed) for seed in range(2)]
    assert write_frames(tmp_path / "f.xyz.gz", frames) == [tmp_path / "f.xyz.gz"]
    for a, b in zip(frames, read_frames(tmp_path / "f.xyz.gz", require=("efg", "stress")), strict=True):
        np.testing.assert_allclose(b.arrays["efg"], a.arrays["efg"], atol=1e-8)
        np.testing.assert_allclose(b.get_forces(), a.get_forces(), atol=1e-8)
        np.testing.assert_allclose(b.get_stress(), a.get_stress(), atol=1e-8)


@pytest.mark.parametrize("atoms", [corundum(), partly_labelled()], ids=["all", "some"])
def test_magres_is_read_back_here_and_by_ase(tmp_path, atoms):
    write_frames(tmp_path / "f.magres", [atoms])
    (read,) = read_frames(tmp_path / "f.magres")
    np.testing.assert_array_equal(known_atoms(read), known_atoms(atoms))
    np.testing.assert_allclose(read.arrays["efg"], atoms.arrays["efg"], atol=1e-9)
    np.testing.assert_allclose(read.positions, atoms.positions, atol=1e-9)
    np.testing.assert_allclose(read.cell.array, atoms.cell.array, atol=1e-9)
    if known_atoms(atoms).all():
        reference = ase.io.read(tmp_path / "f.magres")
        np.testing.assert_allclose(reference.arrays["efg"], atoms.arrays["efg"], atol=1e-9)
        assert reference.arrays["labels"].tolist() == list(atoms.symbols)
        assert reference.arrays["indices"].tolist() == [*range(1, 5), *range(1, 7)]


def test_magres_holds_one_structure_per_file(tmp_path):
    frames = [corundum(seed) for seed in range(3)]
    written = write_frames(tmp_path / "f.magres", frames)
    assert [path.name for path in written] == ["f-0.magres", "f-1.magres", "f-2.magres"]
    np.testing.assert_allclose(read_frames(written[2])[0].positions, frames[2].positions, atol=1e-9)
    frames[0].pbc = (True, True, False)
    with pytest.raises(DataError, match="magres holds crystals and molecules"):
        write_frames(tmp_path / "f.magres", frames[:1])


def test_couplings_as_a_table(tmp_path):
    frames = [corundum(0), partly_labelled()]
    frames[0].info["tag"] = "run-0"
    write_frames(tmp_path / "f.csv", frames)
    rows = rows_of(tmp_path / "f.csv")
    assert len(rows) == 10 + 4
    assert [(row["frame"], row["tag"], row["atom"], row["nucleus"]) for row in rows[3:5]] == [
        ("0", "run-0", "4", "27Al"),
        ("0", "run-0", "5", "17O"),
    ]
    for row, symbol, tensor in zip(rows, frames[0].symbols, frames[0].arrays["efg"], strict=False):
        vxx, vyy, vzz = principal(tensor)
        assert float(row["Cq_MHz"]) == pytest.approx(mhz(vzz, MOMENTS[symbol]), rel=1e-5)
        assert float(row["eta"]) == pytest.approx((vxx - vyy) / vzz, abs=1e-5)
        assert [float(row[f"V{name}_au"]) for name in ("xx", "yy", "zz")] == pytest.approx([vxx, vyy, vzz], abs=1e-7)
        assert float(row["yz_au"]) == pytest.approx(tensor[1, 2], abs=1e-7)
    write_frames(tmp_path / "f.csv", frames, nuclei=[nucleus("27Al", 140.0)])
    chosen = rows_of(tmp_path / "f.csv")
    assert {(row["nucleus"], row["Q_mb"]) for row in chosen} == {("27Al", "140")}
    assert float(chosen[0]["Cq_MHz"]) == pytest.approx(float(rows[0]["Cq_MHz"]) * 140 / 146.6, rel=1e-5)


def test_elements_with_two_nuclei_or_none_and_a_vanishing_tensor(tmp_path):
    atoms = corundum()[:2]
    atoms.symbols = "ClPb"
    atoms.arrays["efg"][1] = 0
    write_frames(tmp_path / "f.csv", [atoms])
    rows = rows_of(tmp_path / "f.csv")
    assert [row["nucleus"] for row in rows] == ["35Cl", "37Cl", ""]
    assert rows[2]["Cq_MHz"] == rows[2]["eta"] == ""


def test_nuclei_as_they_are_written_on_the_command_line():
    iodine, nitrogen = parse_nuclei("127I=-688.2, 14N")
    assert (iodine.moment_mb, iodine.source, nitrogen.name) == (-688.2, "user", "14N")
    with pytest.raises(ConfigError, match="quadrupole moment of 127I: 'x' is not a number of millibarn"):
        parse_nuclei("127I=x")
    with pytest.raises(ConfigError, match="207Pb has spin 1/2"):
        parse_nuclei("207Pb")


def converted(*arguments, **options):
    """Run a conversion and return what it says."""
    console = Console(record=True, width=200, force_terminal=False)
    convert(*arguments, **options, console=console)
    return console.export_text()


def test_many_outputs_become_one_file_with_a_run_name_for_each(tmp_path):
    paths = []
    for seed in range(3):
        (tmp_path / f"run{seed}").mkdir()
        paths.append(tmp_path / f"run{seed}" / "OUTCAR")
        paths[-1].write_text(outcar([corundum(seed), corundum(10 + seed)], efg_steps={1} if seed == 2 else None))
    text = converted(paths, tmp_path / "all.xyz")
    assert "5 frames with 50 atoms; 5 of them with EFG tensors" in text
    assert "Al      20 tensors, mean |Vzz| 0.0" in text
    assert "warning: " in text
    assert "1 of 2 ionic steps have no EFG tensors and are left out" in text
    frames = read_frames(tmp_path / "all.xyz", require=("efg", "energy", "forces", "stress"))
    assert [atoms.info["tag"] for atoms in frames] == [
        "run0-OUTCAR-0",
        "run0-OUTCAR-1",
        "run1-OUTCAR-0",
        "run1-OUTCAR-1",
        "run2-OUTCAR",
    ]
    text = converted(paths, tmp_path / "all.xyz", keep_unlabelled=True)
    assert "6 frames with 60 atoms; 5 of them with EFG tensors" in text


def test_structure_and_other_options_that_do_not_fit(tmp_path):
    atoms = corundum()
    (tmp_path / "efg.out").write_text(gipaw(atoms))
    ase.io.write(tmp_path / "structure.cif", atoms)
    converted([tmp_path / "efg.out"], tmp_path / "f.magres", structure=tmp_path / "structure.cif")
    (tmp_path / "OUTCAR").write_text(outcar([atoms]))
    both = [tmp_path / "efg.out", tmp_path / "OUTCAR"]
    with pytest.raises(ConfigError, match="--structure is the structure of one input"):
        converted(both, tmp_path / "f.xyz", structure=tmp_path / "structure.cif")
    with pytest.raises(ConfigError, match=r"f\.dat: cannot tell the format to write from the name; end it in \.xyz"):
        converted(both, tmp_path / "f.dat")
    with pytest.raises(ConfigError, match="format 'cif' cannot be written, expected one of extxyz, magres, csv"):
        converted(both, tmp_path / "f.dat", write_as="cif")
    with pytest.raises(ConfigError, match=r"OUTCAR: is also an input; choose another name"):
        converted(both, tmp_path / "OUTCAR", write_as="extxyz")
    with pytest.raises(ConfigError, match="nuclei are chosen for csv only, not for extxyz"):
        converted([tmp_path / "OUTCAR"], tmp_path / "f.xyz", nuclei=[])
    with pytest.raises(DataError, match=r"two inputs have the same name .*OUTCAR.*; give each file once"):
        converted([tmp_path / "OUTCAR"] * 2, tmp_path / "f.xyz")


def test_frames_without_tensors_are_refused_unless_asked_for(tmp_path):
    atoms = corundum()
    del atoms.arrays["efg"]
    ase.io.write(tmp_path / "in.xyz", atoms)
    with pytest.raises(DataError, match=r"in\.xyz, frame 0: has no efg under the key 'efg'"):
        converted([tmp_path / "in.xyz"], tmp_path / "out.xyz")
    assert "0 of them with EFG tensors" in converted([tmp_path / "in.xyz"], tmp_path / "out.xyz", keep_unlabelled=True)


def test_only_extended_xyz_is_compressed(tmp_path):
    for name in ("out.magres.gz", "out.csv.gz"):
        with pytest.raises(ConfigError, match="only extended XYZ is written compressed"):
            write_frames(tmp_path / name, [corundum()])
