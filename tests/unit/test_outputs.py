"""Readers of first-principles outputs: structure, unit, sign and order of the tensors, and refusal of damaged files."""

import re
import warnings

import ase.io
import numpy as np
import pytest
from ase.db import connect
from efg_outputs import MOMENTS, corundum, cp2k, elk, gipaw, magres_castep, magres_qe, mhz, outcar, principal

from efgmd.errors import ConfigError, DataError
from efgmd.frames.formats import recognise
from efgmd.frames.labels import known_atoms
from efgmd.frames.readers import read_frames
from efgmd.nuclei import nucleus
from efgmd.tensors import principal_values


def write_vasp(atoms, folder):
    (folder / "OUTCAR").write_text(outcar([atoms]))
    return folder / "OUTCAR"


def write_castep(atoms, folder):
    (folder / "corundum.magres").write_text(magres_castep(atoms))
    return folder / "corundum.magres"


def write_qe(atoms, folder):
    (folder / "corundum.efg.magres").write_text(magres_qe(atoms))
    return folder / "corundum.efg.magres"


def write_gipaw(atoms, folder):
    structure = atoms.copy()
    for symbol in MOMENTS:
        (folder / f"{symbol}.upf").touch()
    data = {"pseudopotentials": {symbol: f"{symbol}.upf" for symbol in MOMENTS}}
    ase.io.write(folder / "scf.in", structure, format="espresso-in", input_data={"system": {"ecutwfc": 40}}, **data)
    (folder / "efg.out").write_text(gipaw(atoms))
    return folder / "efg.out"


def write_cp2k(atoms, folder):
    (folder / "corundum.out").write_text(cp2k(atoms))
    return folder / "corundum.out"


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


# Damage: what is done to the file, and the message it has to give.


def line_of(text, pattern, skip=0):
    """Index of the line that matches, counted from 0."""
    return [k for k, line in enumerate(text.splitlines()) if re.search(pattern, line)][skip]


def replaced(text, number, new):
    lines = text.splitlines()
    lines[number] = new(lines[number])
    return "\n".join(lines) + "\n"


def cut(text, number):
    return "\n".join(text.splitlines()[:number]) + "\n"


def damaged(text, pattern, change, skip=0):
    """The text with one line changed (or cut off there), and the number of the line, from 1."""
    number = line_of(text, pattern, skip)
    return (cut(text, number) if change == "cut" else replaced(text, number, change)), number + 1


VASP_DAMAGE = {
    "truncated": (
        r"^    3  +-?\d+\.\d+ +-?\d",
        "cut",
        "the file ends within the table of EFG tensors",
    ),
    "row missing": (r"^    3  +-?\d", lambda line: line.replace("    3", "    4", 1), "expected atom 3 of 10"),
    "asterisks": (r"^    5  +-?\d", lambda line: line[:7] + "**********" + line[17:], r"'\*+' in the table of EFG"),
    "NaN": (r"^    5  +-?\d", lambda line: line[:7] + "       NaN" + line[17:], "'NaN' in the table of EFG tensors"),
    "column missing": (
        r"^    2  +-?\d",
        lambda line: line[:-10],
        "expected 6 numbers of the table .* got 5",
    ),
    "wrong Cq": (
        r"^    1 +2\.490",
        lambda line: line.replace("2.490", "3.490"),
        r"states Cq = 3\.49 MHz for Q =",
    ),
    "wrong eta": (
        r"^    6 +9\.347",
        lambda line: line.replace("0.550", "0.850"),
        r"states eta = 0\.85, but the",
    ),
}


@pytest.mark.parametrize("damage", VASP_DAMAGE)
def test_a_damaged_outcar_is_refused_by_line(tmp_path, damage):
    pattern, change, message = VASP_DAMAGE[damage]
    text, number = damaged(outcar([corundum()], after_energy=True), pattern, change)
    (tmp_path / "OUTCAR").write_text(text)
    number -= change == "cut"
    with pytest.raises(DataError, match=rf"OUTCAR, line {number}: .*{message}"):
        read_frames(tmp_path / "OUTCAR")


def test_an_outcar_of_swapped_columns_contradicts_its_own_couplings(tmp_path):
    """A tensor whose xz and yz are exchanged is still traceless; only Cq and eta tell."""
    atoms = corundum()
    swapped = corundum()
    swapped.arrays["efg"][:, 0, 0], swapped.arrays["efg"][:, 1, 1] = atoms.arrays["efg"][:, [1, 0], [1, 0]].T
    good, bad = outcar([atoms]), outcar([swapped])
    begin, end = line_of(good, "V_xx +V_yy +V_zz +V_xy"), line_of(good, "after diagonalization")
    mixed = good.splitlines()[:begin] + bad.splitlines()[begin:end] + good.splitlines()[end:]
    (tmp_path / "OUTCAR").write_text("\n".join(mixed) + "\n")
    with pytest.raises(DataError, match=r"OUTCAR, line \d+: states (Cq|eta)"):
        read_frames(tmp_path / "OUTCAR")


def test_an_outcar_that_breaks_off(tmp_path):
    steps = [corundum(0), corundum(1)]
    text = outcar(steps)
    second_forces = line_of(text, "TOTAL-FORCE", skip=1)
    (tmp_path / "OUTCAR").write_text(cut(text, second_forces))
    table = line_of(text, r"gradients \(V/A\^2\)$", skip=1) + 1
    with pytest.raises(DataError, match=rf"OUTCAR, line {table}: ionic step 2 has EFG tensors but no energy"):
        read_frames(tmp_path / "OUTCAR")
    (tmp_path / "OUTCAR").write_text(cut(text, line_of(text, r"Iteration +2\(   2\)")))
    with pytest.warns(UserWarning, match="1 of 2 ionic steps are incomplete and left out"):
        assert len(read_frames(tmp_path / "OUTCAR")) == 1
    (tmp_path / "OUTCAR").write_text(cut(text, line_of(text, "TOTAL-FORCE")))
    with pytest.raises(DataError, match="OUTCAR: holds no complete ionic step"):
        read_frames(tmp_path / "OUTCAR")
    forces, number = damaged(text, r"^ +0\.00191", lambda line: line[:-14] + "**************")
    (tmp_path / "OUTCAR").write_text(forces)
    with pytest.raises(DataError, match=rf"OUTCAR: ASE cannot read it .*; line {number} holds '0\.00191"):
        read_frames(tmp_path / "OUTCAR")


MAGRES_DAMAGE = {
    "other": (r"magres-abinitio", lambda line: "magres", "is not a magres file; its first line must read"),
    "truncated": (r"^efg O +3", "cut", r"block \[magres\] never ends; the file is truncated"),
    "no unit": (r"^units efg au", lambda line: "", "no unit is given for efg; add 'units efg au'"),
    "other unit": (r"^units efg au", lambda line: "units efg V/m^2", r"unit 'V/m\^2' of efg is unknown, expected au"),
    "no length unit": (r"^units atom", lambda line: "", "no unit is given for atom; add 'units atom Angstrom'"),
    "lattice unit": (r"^units lattice", lambda line: "units lattice nm", "unit 'nm' of lattice is unknown"),
    "NaN": (r"^efg Al +2", lambda line: line.rsplit(maxsplit=1)[0] + " NaN", "'NaN' in the efg tensor is not a finite"),
    "short": (
        r"^efg Al +2",
        lambda line: line.rsplit(maxsplit=1)[0],
        r"is no atom of the block .* or the nine",
    ),
    "twice": (r"^efg Al +2", lambda line: line.replace("2", "1", 1), "a second efg tensor for atom Al 1"),
    "unknown atom": (r"^efg Al +2", lambda line: line.replace("2", "7", 1), "'Al 7' is no atom of the block"),
    "element": (r"^atom Al", lambda line: line.replace("Al", "Xq", 1), "'Xq' is not an element"),
}
#: Where a message points to another line than that of the damage.
ELSEWHERE = {"truncated": r"^\[magres\]", "no unit": r"^efg Al +1 ", "other unit": r"^efg Al +1 "}
ELSEWHERE |= {"no length unit": r"^atom Al", "lattice unit": r"^lattice", "element": r"^units lattice"}


@pytest.mark.parametrize("damage", MAGRES_DAMAGE)
def test_a_damaged_magres_file_is_refused_by_line(tmp_path, damage):
    pattern, change, message = MAGRES_DAMAGE[damage]
    text, number = damaged(magres_castep(corundum()), pattern, change)
    if damage in ELSEWHERE:
        number = line_of(text, ELSEWHERE[damage]) + 1
    (tmp_path / "c.magres").write_text(text)
    with pytest.raises(DataError, match=rf"c\.magres, line {number}: .*{message}"):
        read_frames(tmp_path / "c.magres")


def test_a_trace_beyond_the_digits_of_the_file_is_refused(tmp_path):
    atoms = corundum()
    atoms.arrays["efg"][4] += 4e-4 * np.eye(3)
    with pytest.raises(DataError, match=r"frame 0: the efg tensor of atom 4 has trace 0\.0012 a\.u\."):
        read_frames(write_qe(atoms, tmp_path))


GIPAW_DAMAGE = {
    "not finished": (r"total EFG \(symm", "cut", "no table 'total EFG .symmetrized.' up to here"),
    "no unit": (r"TENSORS IN", lambda line: "", "the unit of the tensors is not given"),
    "truncated": (r"^ +O +7  Q=", "cut", "only 6 of 10 atoms have Cq and eta; the file is truncated"),
    "asterisks": (
        r"^ +O +9 ",
        lambda line: line[:-14] + "*" * 14,
        r"'\*+' in the table of EFG tensors is not",
    ),
    "row missing": (
        r"^ +O +9 ",
        lambda line: line.replace("9", "8", 1),
        "expected atom 9 of 10 in the table .* O in .*scf.in",
    ),
    "element": (
        r"^ +O +5 ",
        lambda line: line.replace("O ", "Al", 1),
        "expected atom 5 of 10 in the table .* O in .*scf.in",
    ),
    "wrong Cq": (r"^ +Al +1  Q=", lambda line: re.sub(r"Cq= +\S+", "Cq= 2.8", line), "states Cq = 2.8 MHz"),
}


@pytest.mark.parametrize("damage", GIPAW_DAMAGE)
def test_a_damaged_output_of_gipaw_is_refused_by_line(tmp_path, damage):
    pattern, change, message = GIPAW_DAMAGE[damage]
    path = write_gipaw(corundum(), tmp_path)
    text = path.read_text()
    # The symmetrised table is the second one.
    skip = 3 if pattern.startswith(r"^ +O +") and not pattern.endswith("Q=") else 0
    text, number = damaged(text, pattern, change, skip)
    path.write_text(text)
    if damage == "no unit":
        number = line_of(text, "symmetrized") + 1
    number -= change == "cut"
    with pytest.raises(DataError, match=rf"efg\.out, line {number}: .*{message}"):
        read_frames(path)


def test_the_structure_of_gipaw_must_be_unique_or_given(tmp_path):
    path = write_gipaw(corundum(), tmp_path)
    (tmp_path / "other.in").write_text((tmp_path / "scf.in").read_text())
    with pytest.raises(DataError, match=r"efg\.out: holds no structure, and there are several files .*other\.in"):
        read_frames(path)
    assert len(read_frames(path, structure=tmp_path / "scf.in")) == 1
    for name in ("scf.in", "other.in"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"and none is beside it; give the output of pw\.x with --structure FILE"):
        read_frames(path)
    with pytest.raises(ConfigError, match="format vasp has its own structure; --structure is for gipaw, elk, cp2k"):
        read_frames(write_vasp(corundum(), tmp_path), structure=path)


ELK_DAMAGE = {
    "no geometry": (None, None, r"EFG\.OUT: holds no structure, and .*GEOMETRY\.OUT is not there"),
    "truncated": (r"\(O\), atom : +6", "cut", "EFG tensors of 9 atoms, which are not the 10 atoms"),
    "within": (r"eigenvalues", "cut", "no 'eigenvalues :' after this tensor"),
    "NaN": (r"^ +0\.1095963805E-01", lambda line: "NaN" + line[18:], "'NaN' in the EFG tensor is not a finite number"),
    "eigenvalues": (r"^ -0\.7230059378E-01", lambda line: line.replace("0.72", "0.82"), "not the eigenvalues of the"),
}


@pytest.mark.parametrize("damage", ELK_DAMAGE)
def test_a_damaged_output_of_elk_is_refused(tmp_path, damage):
    pattern, change, message = ELK_DAMAGE[damage]
    path = elk(corundum(), tmp_path)
    if pattern is None:
        (tmp_path / "GEOMETRY.OUT").unlink()
    else:
        text, _ = damaged(path.read_text(), pattern, change, skip=9 if damage == "within" else 0)
        path.write_text(text)
        message = rf"EFG\.OUT, line \d+: .*{message}"
    with pytest.raises(DataError, match=message):
        read_frames(path)


CP2K_DAMAGE = {
    "no tensors": (r"ELECTRIC FIELD", "cut", "no 'ELECTRIC FIELD GRADIENTS' up to here"),
    "unit": (r"ELECTRIC FIELD", lambda line: line.replace("V/m^2", "a.u."), "the unit of the tensors is unknown"),
    "truncated": (r"^ +10 O +EFG", "cut", "EFG tensors of 9 atoms, which are not the 10 atoms of the structure"),
    "asterisks": (r"^ +2 Al +EFG", lambda line: line[:-14] + "*" * 14, r"\*' in the EFG tensor is not a finite"),
    "eigenvalues": (r"eigenvalues", lambda line: line.replace("0.35", "0.36", 1), "not the eigenvalues of the tensor"),
}


@pytest.mark.parametrize("damage", CP2K_DAMAGE)
def test_a_damaged_output_of_cp2k_is_refused_by_line(tmp_path, damage):
    pattern, change, message = CP2K_DAMAGE[damage]
    path = write_cp2k(corundum(), tmp_path)
    path.write_text(damaged(path.read_text(), pattern, change)[0])
    with pytest.raises(DataError, match=rf"corundum\.out, line \d+: .*{message}"), warnings.catch_warnings():
        warnings.simplefilter("error")
        read_frames(path)


def test_formats_are_named_where_one_is_unknown(tmp_path):
    path = write_vasp(corundum(), tmp_path)
    with pytest.raises(ConfigError, match="format 'abinit' is unknown, expected one of ase, vasp, magres"):
        read_frames(path, file_format="abinit")
    path.rename(tmp_path / "run.txt")
    assert recognise(tmp_path / "run.txt").name == "vasp"
