"""Readers of first-principles outputs: structure, unit, sign and order of the tensors."""

import re

import ase.io
import numpy as np
import pytest
from ase.db import connect
from efg_outputs import (
    MOMENTS,
    corundum,
    cp2k,
    elk,
    mhz,
    outcar,
    principal,
    write_castep,
    write_cp2k,
    write_gipaw,
    write_qe,
    write_vasp,
)

from efgmd.errors import DataError
from efgmd.frames.formats import recognise
from efgmd.frames.labels import known_atoms
from efgmd.frames.readers import read_frames
from efgmd.nuclei import nucleus
from efgmd.tensors import principal_values

#: Writer, and what the digits of its tables leave of positions (angstrom), cell (angstrom) and tensors (a.u.).
CODES = {
    "vasp": (write_vasp, 1e-5, 1e-9, 1.5e-3 / 97.17),
    "castep": (write_castep, 1e-12, 1e-12, 1e-12),
    "qe": (write_qe, 1e-6, 1e-6, 1.5e-4),
    "gipaw": (write_gipaw, 1e-6, 1e-6, 2e-6),
    "elk": (elk, 1e-6, 1e-8, 1e-9),
    "cp2k": (write_cp2k, 1e-6, 1e-9, 1e-7),
}
FORMATS = {"castep": "magres", "qe": "magres"}


@pytest.mark.filterwarnings("ignore:.*CP2K")
@pytest.mark.parametrize("code", CODES)
def test_structure_and_tensors_of_every_code(tmp_path, code):
    write, positions, cell, tensors = CODES[code]
    atoms = corundum()
    path = write(atoms, tmp_path)
    assert recognise(path).name == FORMATS.get(code, code)
    (read,) = read_frames(path, require=("efg",))
    assert list(read.symbols) == list(atoms.symbols)
    assert read.pbc.all()
    np.testing.assert_allclose(read.cell.array, atoms.cell.array, atol=cell)
    np.testing.assert_allclose(read.positions, atoms.positions, atol=positions)
    np.testing.assert_allclose(read.arrays["efg"], atoms.arrays["efg"], atol=tensors)
    # Couplings of the nuclei, with constants that are not those of the package.
    vzz = principal_values(read.arrays["efg"])[:, 2]
    for symbol, name in (("Al", "27Al"), ("O", "17O")):
        chosen = read.symbols == symbol
        expected = [mhz(principal(tensor)[2], MOMENTS[symbol]) for tensor in atoms.arrays["efg"][chosen]]
        np.testing.assert_allclose(nucleus(name).coupling_mhz(vzz[chosen]), expected, rtol=1e-2)


@pytest.mark.parametrize("after_energy", [False, True])
def test_every_ionic_step_of_an_outcar(tmp_path, after_energy):
    steps = [corundum(seed) for seed in range(3)]
    (tmp_path / "OUTCAR").write_text(outcar(steps, after_energy=after_energy))
    read = read_frames(tmp_path / "OUTCAR", require=("efg", "energy", "forces", "stress"))
    assert len(read) == 3
    for a, b in zip(steps, read, strict=True):
        np.testing.assert_allclose(b.arrays["efg"], a.arrays["efg"], atol=2e-5)
        assert b.get_potential_energy() == pytest.approx(a.get_potential_energy(), abs=1e-7)
        np.testing.assert_allclose(b.get_forces(), a.get_forces(), atol=1e-6)
        np.testing.assert_allclose(b.get_stress(), a.get_stress(), atol=1e-7)


def test_tensors_at_the_last_ionic_step_only(tmp_path):
    steps = [corundum(seed) for seed in range(3)]
    path = tmp_path / "OUTCAR"
    path.write_text(outcar(steps, efg_steps={2}))
    everything = read_frames(path, require=("energy",))
    assert [known_atoms(atoms).all() for atoms in everything] == [False, False, True]
    with pytest.warns(UserWarning, match="2 of 3 ionic steps have no EFG tensors and are left out"):
        (last,) = read_frames(path, require=("efg",))
    np.testing.assert_allclose(last.arrays["efg"], steps[2].arrays["efg"], atol=2e-5)
    path.write_text(outcar(steps, efg_steps=set()))
    with pytest.raises(DataError, match="OUTCAR: holds no EFG tensors; run VASP with LEFG"):
        read_frames(path, require=("efg",))


def test_columns_that_touch_are_told_apart(tmp_path):
    """A large negative number fills its ten columns, and then there is no blank before it."""
    atoms = corundum()
    atoms.arrays["efg"][0] = np.diag([50.0, 60.0, -110.0])
    path = write_vasp(atoms, tmp_path)
    assert re.search(r"\d-\d", path.read_text())
    np.testing.assert_allclose(read_frames(path)[0].arrays["efg"][0], atoms.arrays["efg"][0], atol=2e-5)


def test_sign_of_elk_as_run_for_hydrogen_fluoride(tmp_path):
    """Numbers of Elk 8.4.30 for HF along (1, 2, 2): at the proton Vzz is positive, along the bond."""
    (tmp_path / "EFG.OUT").write_text(
        "\n(electric field gradient tensor is in Cartesian coordinates)\n\n\n"
        "Species :    1 (H), atom :    1\n\n EFG tensor :\n"
        "  0.1918638510     -0.1913637360     -0.1913637360    \n"
        " -0.1913637360     -0.9593192550E-01 -0.3693617708    \n"
        " -0.1913637360     -0.3693617708     -0.9593192550E-01\n"
        " trace :  -0.8049116929E-15\n eigenvalues :\n -0.5623957531      0.2734298453      0.2889659078    \n"
    )
    (tmp_path / "h.xyz").write_text('1\nLattice="4 0 0 0 4 0 0 0 4" pbc="T T T"\nH 0 0 0\n')
    (atoms,) = read_frames(tmp_path / "EFG.OUT", structure=tmp_path / "h.xyz")
    along = np.array([1, 2, 2]) / 3
    assert along @ atoms.arrays["efg"][0] @ along == pytest.approx(0.5624, abs=2e-4)


def test_sign_and_unit_of_cp2k_as_run_for_hydrogen_fluoride(tmp_path):
    """Numbers of CP2K 2023.1 for the proton of HF along (1, 2, 2)."""
    text = cp2k(corundum()[:1])
    begin = text.index("     1 Al")
    text = text[:begin].replace(" Al ", " H  ") + (
        "     1 H   EFG Tensor                      1.6256814    -1.6258640    -1.6258640\n"
        "                                          -1.6258640    -0.8128407    -3.2516072\n"
        "                                          -1.6258640    -3.2516072    -0.8128407\n\n"
        "           EFG Tensor eigenvalues          2.4386572     2.4387665    -4.8774237\n"
        "           EFG Tensor anisotropy                                       0.0000224\n"
    )
    (tmp_path / "hf.out").write_text(text)
    with pytest.warns(UserWarning, match=r"CP2K: in version 2023\.1 .* compare yours on a turned NH3 molecule"):
        (atoms,) = read_frames(tmp_path / "hf.out")
    along = np.array([1, 2, 2]) / 3
    assert along @ atoms.arrays["efg"][0] @ along == pytest.approx(0.5019, abs=1e-4)


def test_magres_agrees_with_ase(tmp_path):
    atoms = corundum()
    path = write_castep(atoms, tmp_path)
    reference = ase.io.read(path, format="magres")
    (read,) = read_frames(path)
    np.testing.assert_allclose(read.arrays["efg"], reference.arrays["efg"], atol=1e-15)
    np.testing.assert_allclose(read.positions, reference.positions)


def test_magres_with_run_together_names_bohr_and_atoms_without_tensor(tmp_path):
    path = tmp_path / "n.magres"
    path.write_text(
        "#$magres-abinitio-v1.0\n[atoms]\nunits atom bohr\natom H:D H 1 0 0 0\natom N N1 1000 0 0 2 # note\n"
        "atom N N 11 0 0 4\natom N N1 1 0 0 6\n[/atoms]\n"
        "[magres]\nunits efg au\nefg N11000 0.5 0 0 0 0.5 0 0 0 -1\nefg N1 1 1 0 0 0 1 0 0 0 -2\n[/magres]\n"
    )
    (atoms,) = read_frames(path)
    assert atoms.get_chemical_formula() == "HN3"
    assert not atoms.pbc.any()
    assert atoms.positions[1, 2] == pytest.approx(2 * 0.529177, abs=1e-6)
    assert known_atoms(atoms).tolist() == [False, True, False, True]
    assert np.isnan(atoms.arrays["efg"][0]).all()
    assert atoms.arrays["efg"][[1, 3], 2, 2].tolist() == [-1, -2]
    text = path.read_text()
    path.write_text(text.replace("efg N1 1 ", "efg N11 "))
    with pytest.raises(DataError, match=r"line 12: 'N11' is no atom of the block \[atoms\] \(or of several\)"):
        read_frames(path)
    path.write_text(text)
    with pytest.raises(DataError, match=r"n\.magres, frame 0: 2 of 4 atoms have no efg .* among them atom 0 \(H\)"):
        read_frames(path, require=("efg",))


def test_partial_labels_survive_extended_xyz(tmp_path):
    from efgmd.frames.writers import write_frames

    atoms = corundum()
    atoms.arrays["efg_known"] = atoms.symbols == "Al"
    atoms.arrays["efg"][atoms.symbols == "O"] = np.nan
    write_frames(tmp_path / "f.xyz", [atoms])
    (read,) = read_frames(tmp_path / "f.xyz")
    np.testing.assert_array_equal(known_atoms(read), atoms.symbols == "Al")
    np.testing.assert_allclose(read.arrays["efg"], atoms.arrays["efg"], atol=1e-7)
    text = (tmp_path / "f.xyz").read_text().replace(":efg_known:L:1", ":other:L:1")
    (tmp_path / "f.xyz").write_text(text)
    with pytest.raises(DataError, match="frame 0: efg holds values that are not finite"):
        read_frames(tmp_path / "f.xyz")


def test_ase_database(tmp_path):
    frames = [corundum(seed) for seed in range(2)]
    with connect(tmp_path / "frames.db") as database:
        for number, atoms in enumerate(frames):
            tensors = atoms.arrays.pop("efg")
            database.write(atoms, data={"efg": tensors, "note": "x"}, tag=f"run-{number}")
            atoms.arrays["efg"] = tensors
    read = read_frames(tmp_path / "frames.db", require=("efg", "energy", "forces", "stress"))
    assert [atoms.info["tag"] for atoms in read] == ["run-0", "run-1"]
    for a, b in zip(frames, read, strict=True):
        np.testing.assert_allclose(b.arrays["efg"], a.arrays["efg"], atol=1e-14)
        np.testing.assert_allclose(b.get_forces(), a.get_forces())
    (tmp_path / "broken.db").write_text("nothing")
    with pytest.raises(DataError, match=r"broken\.db: cannot be read as an ASE database"):
        read_frames(tmp_path / "broken.db")


def test_compressed_outputs(tmp_path):
    import gzip

    with gzip.open(tmp_path / "OUTCAR.gz", "wt") as stream:
        stream.write(outcar([corundum()]))
    assert len(read_frames(tmp_path / "OUTCAR.gz", require=("efg",))) == 1
