"""Damaged first-principles outputs are refused, by line."""

import gzip
import re
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from efg_outputs import (
    corundum,
    elk,
    magres_castep,
    outcar,
    write_cp2k,
    write_gipaw,
    write_qe,
    write_vasp,
)

from efgmd.errors import ConfigError, DataError
from efgmd.frames.formats import recognise
from efgmd.frames.readers import read_frames

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


# Where the place told is not the one damaged: the heading of the last tensor, and of the tensor that ends too soon.
ELK_LINES = {"truncated": -11, "within": -5}


@pytest.mark.parametrize("damage", ELK_DAMAGE)
def test_a_damaged_output_of_elk_is_refused(tmp_path, damage):
    pattern, change, message = ELK_DAMAGE[damage]
    path = elk(corundum(), tmp_path)
    if pattern is None:
        (tmp_path / "GEOMETRY.OUT").unlink()
    else:
        text, number = damaged(path.read_text(), pattern, change, skip=9 if damage == "within" else 0)
        path.write_text(text)
        message = rf"EFG\.OUT, line {number + ELK_LINES.get(damage, 0)}: .*{message}"
    with pytest.raises(DataError, match=message):
        read_frames(path)


CP2K_DAMAGE = {
    "no tensors": (r"ELECTRIC FIELD", "cut", "no 'ELECTRIC FIELD GRADIENTS' up to here"),
    "unit": (r"ELECTRIC FIELD", lambda line: line.replace("V/m^2", "a.u."), "the unit of the tensors is unknown"),
    "truncated": (r"^ +10 O +EFG", "cut", "EFG tensors of 9 atoms, which are not the 10 atoms of the structure"),
    "asterisks": (r"^ +2 Al +EFG", lambda line: line[:-14] + "*" * 14, r"\*' in the EFG tensor is not a finite"),
    "eigenvalues": (r"eigenvalues", lambda line: line.replace("0.35", "0.36", 1), "not the eigenvalues of the tensor"),
}


CP2K_LINES = {"no tensors": -1, "truncated": -67}  # the last line, and the heading of the table


@pytest.mark.parametrize("damage", CP2K_DAMAGE)
def test_a_damaged_output_of_cp2k_is_refused_by_line(tmp_path, damage):
    pattern, change, message = CP2K_DAMAGE[damage]
    path = write_cp2k(corundum(), tmp_path)
    text, number = damaged(path.read_text(), pattern, change)
    path.write_text(text)
    number += CP2K_LINES.get(damage, 0)
    with pytest.raises(DataError, match=rf"corundum\.out, line {number}: .*{message}"), warnings.catch_warnings():
        warnings.simplefilter("error")
        read_frames(path)


XYZ_DAMAGE = {  # line of the second frame, counted from its first line; what is done to it; message
    "row too short": (4, lambda line: line.rsplit(maxsplit=1)[0], "12 fields where a frame of 10 atoms has rows of 13"),
    "row too long": (5, lambda line: line + " 0.5", "14 fields where a frame of 10 atoms has rows of 13"),
    "asterisks": (6, lambda line: line.rsplit(maxsplit=1)[0] + " *****", r"'\*+' in column efg is not a number"),
    "atom missing": (0, lambda line: "11", "1 fields where a frame of 11 atoms has rows of 13"),
    "atom too many": (0, lambda line: "9", "is not the number of atoms of a frame"),
    "properties": (1, lambda line: line.replace("efg:R:9", "efg:R"), "does not list NAME:KIND:COLUMNS"),
    "cut": (9, "cut", "the file ends within the table of 10 atoms; it is truncated"),
    "no frame": (0, lambda line: "ten", "'ten' is not the number of atoms of a frame"),
}


@pytest.mark.parametrize("ending", ["xyz", "extxyz.gz"])
@pytest.mark.parametrize("damage", XYZ_DAMAGE)
def test_damaged_extended_xyz_is_refused_by_line(tmp_path, damage, ending):
    atoms = Atoms(corundum())
    atoms.calc = None
    atoms.set_array("efg", np.tile([1.0, 0, 0, 0, 1.0, 0, 0, 0, -2.0], (len(atoms), 1)))
    write(path := tmp_path / f"frames.{ending}", [atoms] * 3, format="extxyz")
    assert len(read_frames(path, require=("efg",))) == 3
    number, change, message = XYZ_DAMAGE[damage]
    number += len(atoms) + 2  # the second frame
    opened = gzip.open if ending.endswith("gz") else open
    with opened(path, "rt") as stream:
        text = stream.read()
    with opened(path, "wt") as stream:
        stream.write(cut(text, number) if change == "cut" else replaced(text, number, change))
    told = {"cut": number, "atom missing": number + 1 + 12, "atom too many": number + 1 + 11}.get(damage, number + 1)
    with pytest.raises(DataError, match=rf"frames\.{ending}, line {told}: .*{message}"):
        read_frames(path)


def test_xyz_files_of_other_programs_are_read(tmp_path):
    """Without a list of columns; with more of them; with lattice vectors at the end; with empty lines."""
    plain = "2\nfrom a program\nH 0 0 0 0.1 0.2\nH 0 0 0.7 0.1 0.2\nVEC1 9 0 0\nVEC2 0 9 0\nVEC3 0 0 9\n\n"
    (tmp_path / "h2.xyz").write_text(plain)
    (frame,) = read_frames(tmp_path / "h2.xyz")
    assert frame.get_distance(0, 1) == pytest.approx(0.7) and frame.cell[2, 2] == 9.0


def test_formats_are_named_where_one_is_unknown(tmp_path):
    path = write_vasp(corundum(), tmp_path)
    with pytest.raises(ConfigError, match="format 'abinit' is unknown, expected one of ase, vasp, magres"):
        read_frames(path, file_format="abinit")
    path.rename(tmp_path / "run.txt")
    assert recognise(tmp_path / "run.txt").name == "vasp"


def test_joined_outcars_keep_their_own_tensors(tmp_path):
    """Numbers of ionic steps start again in each of the outputs that were joined."""
    parts = [[corundum(0), corundum(1)], [corundum(2)], [corundum(3), corundum(4)]]
    (tmp_path / "OUTCAR").write_text("".join(outcar(part) for part in parts))
    found = read_frames(tmp_path / "OUTCAR")
    assert len(found) == 5
    for frame, true in zip(found, [atoms for part in parts for atoms in part], strict=True):
        np.testing.assert_allclose(frame.positions, true.positions, atol=1e-4)
        np.testing.assert_allclose(frame.arrays["efg"], true.arrays["efg"], atol=1e-4)
