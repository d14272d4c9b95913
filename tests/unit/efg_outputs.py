"""Files in the formats of first-principles codes, with tensors that are known exactly.

Layouts follow the format statements of the codes (QE-GIPAW 7.6, Elk 8.4 and CP2K 2023.1 as run, OUTCAR of VASP 6 as its
manual shows it). The numbers are our own: tensors of corundum with the couplings measured for it, turned at random.
Every writer prints what its code prints beside the tensors (Cq, eta, eigenvalues), computed here by numpy alone.
"""

from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.spacegroup import crystal
from ase.units import Bohr
from scipy.spatial.transform import Rotation

#: Moments in mb, and Cq (MHz) and eta of the sites, as measured for corundum.
MOMENTS = {"Al": 146.6, "O": -25.58}
COUPLINGS = {"Al": (2.40, 0.0), "O": (8.6, 0.55)}

# Constants of their own, so that a wrong one in the package shows: CODATA 2018.
_HARTREE_PER_E_BOHR2 = 9.7173624292e21  # V/m^2
_E_OVER_H = 1.602176634e-19 / 6.62607015e-34


def mhz(vzz_au: float, moment_mb: float) -> float:
    """Cq in MHz of Vzz in a.u. and Q in mb."""
    return _E_OVER_H * moment_mb * 1e-31 * vzz_au * _HARTREE_PER_E_BOHR2 * 1e-6


def principal(tensor) -> np.ndarray:
    """Vxx, Vyy, Vzz of a tensor with |Vzz| >= |Vyy| >= |Vxx|."""
    values = np.linalg.eigvalsh(tensor)
    return values[np.argsort(np.abs(values))]


def corundum(seed: int = 0) -> Atoms:
    """Primitive cell of Al2O3, slightly rattled, with energy, forces, stress and tensors ``efg`` (N, 3, 3), a.u."""
    rng = np.random.default_rng(seed)
    atoms = crystal(
        ["Al", "O"],
        [(0, 0, 0.3522), (0.3064, 0, 0.25)],
        spacegroup=167,
        cellpar=[4.759, 4.759, 12.991, 90, 90, 120],
        primitive_cell=True,
    )
    atoms = atoms[np.argsort(atoms.numbers)[::-1]]  # Al first
    atoms.info.clear()
    for name in set(atoms.arrays) - {"numbers", "positions"}:
        del atoms.arrays[name]
    atoms.rattle(0.01, rng=rng)
    # A tidy cell: its numbers survive the few digits that codes print.
    atoms.set_cell(np.round(atoms.cell.array, 3), scale_atoms=True)
    atoms.positions = np.round(atoms.positions, 5)
    tensors = []
    for symbol in atoms.symbols:
        cq, eta = COUPLINGS[symbol]
        vzz = cq / mhz(1.0, MOMENTS[symbol]) * rng.uniform(0.9, 1.1)
        turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
        tensors.append(turn @ np.diag([-vzz * (1 - eta) / 2, -vzz * (1 + eta) / 2, vzz]) @ turn.T)
    atoms.arrays["efg"] = np.array(tensors)
    forces = np.round(rng.normal(0, 0.2, (len(atoms), 3)), 6)
    stress = np.round(rng.normal(0, 0.01, 6), 5)
    atoms.calc = SinglePointCalculator(atoms, energy=-74.987654 - seed, forces=forces, stress=stress)
    return atoms


# VASP


def outcar(frames: list[Atoms], efg_steps: set[int] | None = None, after_energy: bool = False) -> str:
    """OUTCAR of several ionic steps, with tensors in some of them (all if None), before or after the forces."""
    symbols = list(dict.fromkeys(frames[0].symbols))
    counts = [list(frames[0].symbols).count(symbol) for symbol in symbols]
    potcars = "".join(f" POTCAR:    PAW_PBE {symbol} 04Jan2001\n" for symbol in symbols)
    lines = [
        " vasp.6.3.2 27Jun22 (build Sep 01 2022 10:00:00) complex",
        "  ",
        " executed on             LinuxIFC date 2024.03.01  12:00:00",
        potcars + potcars.rstrip("\n"),
        f"   ions per type =            {''.join(f'{count:4d}' for count in counts)}",
        "   ISPIN  =      1    spin polarized calculation?",
    ]
    for step, atoms in enumerate(frames):
        for k in (1, 2):
            lines.append(f"--------------------------------------- Iteration {step + 1:6d}({k:4d})  -----------------")
        table = _vasp_efg(atoms) if efg_steps is None or step in efg_steps else []
        lines += [] if after_energy else table
        stress = -atoms.get_stress() * 1602.1766208  # kB, positive under compression
        lines += [
            "  FORCE on cell =-STRESS in cart. coord.  units (eV):",
            "  in kB   " + "".join(f"{stress[k]:12.5f}" for k in (0, 1, 2, 5, 3, 4)),
            "      direct lattice vectors                 reciprocal lattice vectors",
        ]
        for row, reciprocal in zip(atoms.cell.array, atoms.cell.reciprocal(), strict=True):
            lines.append("    " + "".join(f"{x:13.9f}" for x in (*row, *reciprocal)))
        lines += ["", " POSITION                                       TOTAL-FORCE (eV/Angst)", " " + "-" * 83]
        for position, force in zip(atoms.positions, atoms.get_forces(), strict=True):
            lines.append("".join(f"{x:13.5f}" for x in position) + "   " + "".join(f"{x:14.6f}" for x in force))
        energy = atoms.get_potential_energy()
        lines += [
            " " + "-" * 83,
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
            "  ---------------------------------------------------",
            f"  free  energy   TOTEN  = {energy:18.8f} eV",
            "",
            f"  energy  without entropy= {energy:17.8f}  energy(sigma->0) = {energy:17.8f}",
            "",
        ]
        lines += table if after_energy else []
    return "\n".join(lines) + "\n"


def _vasp_efg(atoms: Atoms) -> list[str]:
    unit = _HARTREE_PER_E_BOHR2 * 1e-20  # V/angstrom^2
    rule = " " + "-" * 70
    lines = ["  Electric field gradients (V/A^2)", rule[:-1]]
    lines += ["  ion       V_xx      V_yy      V_zz      V_xy      V_xz      V_yz", rule[:-1]]
    diagonal, couplings = [], []
    for k, (symbol, tensor) in enumerate(zip(atoms.symbols, atoms.arrays["efg"] * unit, strict=True), 1):
        six = tensor[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)]
        lines.append(f"{k:5d}  " + "".join(f"{x:10.3f}" for x in six))
        # VASP's order: |Vzz| > |Vxx| > |Vyy|, eta = (Vyy - Vxx) / Vzz.
        vyy, vxx, vzz = principal(tensor)
        eta = (vyy - vxx) / vzz
        diagonal.append(f"{k:5d}  " + "".join(f"{x:10.3f}" for x in (vxx, vyy, vzz, eta)))
        cq = mhz(vzz / unit, MOMENTS[symbol])
        couplings.append(f"{k:5d}  {cq:12.3f}{eta:10.3f}{MOMENTS[symbol]:12.3f}")
    lines += [rule[:-1], "", "  Electric field gradients after diagonalization (V/A^2)"]
    lines += ["  (convention: |V_zz| > |V_xx| > |V_yy|)", rule]
    lines += ["  ion       V_xx      V_yy      V_zz     asymmetry (V_yy - V_xx)/ V_zz", rule, *diagonal, rule, ""]
    lines += ["            NMR quadrupolar parameters", "", "  Cq : quadrupolar parameter    Cq=e*Q*V_zz/h"]
    lines += ["  eta: asymmetry parameters     (V_yy - V_xx)/ V_zz"]
    lines += ["  Q  : nuclear electric quadrupole moment in mb (millibarn)", rule]
    return [*lines, "  ion       Cq(MHz)       eta       Q (mb)", rule, *couplings, rule, ""]


# magres


def magres_castep(atoms: Atoms) -> str:
    """As CASTEP writes it: many digits, labels of the element, indices within it, shieldings beside the tensors."""
    count: dict[str, int] = {}
    names = []
    for symbol in atoms.symbols:
        count[symbol] = count.get(symbol, 0) + 1
        names.append(f"{symbol:2}{count[symbol]:6d}")
    lines = ["#$magres-abinitio-v1.0", "# Fri, 01 Mar 2024 12:00:00 +0000", "# Magres file generated by CASTEP"]
    lines += ["[calculation]", "calc_code CASTEP", "calc_code_version 22.11", "calc_name corundum", "[/calculation]"]
    lines += ["[atoms]", "units lattice Angstrom"]
    lines.append("lattice" + "".join(f"{x:25.16E}" for x in atoms.cell.array.ravel()))
    lines += ["units atom Angstrom", "symmetry x,y,z"]
    for symbol, name, position in zip(atoms.symbols, names, atoms.positions, strict=True):
        lines.append(f"atom {symbol:2}      {name}" + "".join(f"{x:25.16E}" for x in position))
    lines += ["[/atoms]", "[magres]", "units ms ppm"]
    lines += [f"ms {name}" + "".join(f"{x:25.16E}" for x in np.eye(3).ravel() * 100) for name in names]
    lines += ["units efg au", "units efg_local au"]
    for name, tensor in zip(names, atoms.arrays["efg"], strict=True):
        lines.append(f"efg {name}" + "".join(f"{x:25.16E}" for x in tensor.ravel()))
        lines.append(f"efg_local {name}" + "".join(f"{x:25.16E}" for x in 0.3 * tensor.ravel()))
    return "\n".join([*lines, "[/magres]", "[magres_old]", "Atom: Al       1", "[/magres_old]"]) + "\n"


def magres_qe(atoms: Atoms) -> str:
    """As QE-GIPAW writes it: four decimals, indices through all elements; the older form of brackets and units."""
    lines = ["#$magres-abinitio-v1.0", " ", "<atoms>", "  units lattice Angstroms"]
    lines += ["  lattice " + "".join(f"{x:12.6f}" for x in atoms.cell.array.ravel()), " ", "  units atom Angstroms"]
    for k, (symbol, position) in enumerate(zip(atoms.symbols, atoms.positions, strict=True), 1):
        lines.append(f"  atom {symbol:2} {symbol:5} {k:4d}  " + "".join(f"{x:12.6f}" for x in position))
    lines += ["</atoms>", " ", "<magres>", "  units efg au"]
    for k, (symbol, tensor) in enumerate(zip(atoms.symbols, atoms.arrays["efg"], strict=True), 1):
        lines.append(f"  efg {symbol:5} {k:4d}  " + "".join(f"{x:12.4f}" for x in tensor.ravel()))
    return "\n".join([*lines, "</magres>", " "]) + "\n"


# QE-GIPAW, text


def gipaw(atoms: Atoms) -> str:
    """Output of gipaw.x with job = 'efg'; it does not hold the structure."""
    lines = ["", "     Program GIPAW v.7.6 starts on  1Mar2024 at 12:00:00 ", "", "     GIPAW job: efg", " "]
    lines += ["     ELECTRIC FIELD GRADIENTS TENSORS IN Hartree/bohrradius^2:", " "]
    for title, factor in (("total EFG", 1.01), ("total EFG (symmetrized)", 1.0)):
        lines.append(f"     ----- {title} -----")
        for k, (symbol, tensor) in enumerate(zip(atoms.symbols, factor * atoms.arrays["efg"], strict=True), 1):
            for row in tensor:
                lines.append(f"     {symbol:5}{k:4d}  " + "".join(f"{x:14.6f}  " for x in row).rstrip())
            lines.append(" ")
    lines += [" ", "     NQR/NMR SPECTROSCOPIC PARAMETERS:"]
    for k, (symbol, tensor) in enumerate(zip(atoms.symbols, atoms.arrays["efg"], strict=True), 1):
        values, moment = principal(tensor), MOMENTS[symbol] / 10  # 1e-30 m^2
        name = f"     {symbol:5}{k:4d}"
        for label, value in zip(("Vxx", "Vyy", "Vzz"), values, strict=True):
            lines.append(f"{name}    {label}={value:10.4f}    axis=(  0.000000  0.000000  1.000000)")
        cq = mhz(values[2], MOMENTS[symbol]) * 6.62607015 / 6.6262  # QE-GIPAW has an older h
        eta = (values[0] - values[1]) / values[2]
        lines += [f"{name}  Q={moment:15.4f} 1e-30 m^2  Cq={cq:15.4f} MHz  eta={eta:8.5f}", " "]
    return "\n".join(lines) + "\n"


# Elk


def elk(atoms: Atoms, folder: Path) -> Path:
    """EFG.OUT and GEOMETRY.OUT in a folder; the tensors are those of an electron's potential energy."""
    geometry = ["", "scale", " 1.0", ""]
    for k in (1, 2, 3):
        geometry += [f"scale{k}", " 1.0", ""]
    geometry.append("avec")
    geometry += ["".join(f"{x:18.9f}" for x in row / Bohr) + "    " for row in atoms.cell.array]
    symbols = list(dict.fromkeys(atoms.symbols))
    geometry += ["", "atoms", f"{len(symbols):4d}                                    : nspecies"]
    lines = ["", "(electric field gradient tensor is in Cartesian coordinates)"]
    scaled = atoms.get_scaled_positions()
    for species, symbol in enumerate(symbols, 1):
        members = np.flatnonzero(atoms.symbols == symbol)
        geometry += [f"'{symbol}.in'".ljust(40) + ": spfname"]
        geometry += [f"{len(members):4d}                                    : natoms; atpos, bfcmt below"]
        for number, k in enumerate(members, 1):
            geometry.append("".join(f"{x:14.8f}" for x in scaled[k]) + "    0.00000000  0.00000000  0.00000000")
            tensor = -atoms.arrays["efg"][k]
            lines += ["", "", f"Species : {species:4d} ({symbol}), atom : {number:4d}", "", " EFG tensor :"]
            lines += ["".join(_general(x) for x in row) for row in tensor]
            lines += [f" trace : {_general(float(np.trace(tensor)))}", " eigenvalues :"]
            lines.append("".join(_general(x) for x in np.linalg.eigvalsh(tensor)))
    (folder / "GEOMETRY.OUT").write_text("\n".join(geometry) + "\n")
    (folder / "EFG.OUT").write_text("\n".join(lines) + "\n")
    return folder / "EFG.OUT"


def _general(value: float) -> str:
    """Fortran's G18.10: fixed form from 0.1 on, with four blanks after it; exponents below."""
    if value == 0 or 0.1 <= abs(value) < 1e10:
        return f"{f'{value:.10g}':>14}    "
    exponent = int(np.floor(np.log10(abs(value)))) + 1
    return f"{value / 10.0**exponent:.10f}E{exponent:+03d}".rjust(18)


# CP2K


def cp2k(atoms: Atoms) -> str:
    """Output of CP2K; the tensors are gradients of the electric field in 1e21 V/m^2."""
    lines = [" DBCSR| CPU Multiplication driver                                           XSMM", ""]
    lines.append(" CP2K| version string:                                        CP2K version 2023.1")
    for name, row in zip("abc", atoms.cell.array, strict=True):
        length = np.linalg.norm(row)
        vector = "".join(f"{x:10.3f}" for x in row)
        lines.append(f" CELL| Vector {name} [angstrom]:  {vector}   |{name}| = {length:12.6f}")
    lines += ["", " MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM", ""]
    lines += ["   Atom Kind Element         X             Y             Z       Z(eff)     Mass"]
    kinds = list(dict.fromkeys(atoms.symbols))
    for k, (atom, charge) in enumerate(zip(atoms, atoms.numbers, strict=True), 1):
        where = "".join(f"{x:14.6f}" for x in atom.position)
        lines.append(
            f"{k:7d}{kinds.index(atom.symbol) + 1:5d} {atom.symbol:2}{charge:5d}{where}{charge:9.4f}{1.0:9.4f}"
        )
    lines += ["", "", " ELECTRIC FIELD GRADIENTS [10**21 V/m^2]", ""]
    lines += ["            Smooth potential contribution calculated by plane wave interpolation", ""]
    for k, (symbol, tensor) in enumerate(zip(atoms.symbols, atoms.arrays["efg"], strict=True), 1):
        printed = -tensor * _HARTREE_PER_E_BOHR2 * 1e-21
        rows = ["".join(f"{x:14.7f}" for x in row) for row in printed]
        lines += [f" {k:5d} {symbol:4}{'EFG Tensor':27}{rows[0]}", " " * 38 + rows[1], " " * 38 + rows[2], ""]
        values = principal(printed)
        lines.append(f"           {'EFG Tensor eigenvalues':27}" + "".join(f"{x:14.7f}" for x in values))
        anisotropy = (values[0] - values[1]) / values[2]
        lines += [f"           {'EFG Tensor anisotropy':55}{anisotropy:14.7f}", ""]
    return "\n".join(lines) + "\n"


def write_vasp(atoms: Atoms, folder: Path) -> Path:
    """OUTCAR of one frame, in a folder."""
    (folder / "OUTCAR").write_text(outcar([atoms]))
    return folder / "OUTCAR"


def write_castep(atoms: Atoms, folder: Path) -> Path:
    """magres file as of CASTEP of one frame, in a folder."""
    (folder / "corundum.magres").write_text(magres_castep(atoms))
    return folder / "corundum.magres"


def write_qe(atoms: Atoms, folder: Path) -> Path:
    """magres file as of QE-GIPAW of one frame, in a folder."""
    (folder / "corundum.efg.magres").write_text(magres_qe(atoms))
    return folder / "corundum.efg.magres"


def write_gipaw(atoms: Atoms, folder: Path) -> Path:
    """Output of QE-GIPAW beside the input of pw.x of one frame, in a folder."""
    structure = atoms.copy()
    for symbol in MOMENTS:
        (folder / f"{symbol}.upf").touch()
    data = {"pseudopotentials": {symbol: f"{symbol}.upf" for symbol in MOMENTS}}
    ase.io.write(folder / "scf.in", structure, format="espresso-in", input_data={"system": {"ecutwfc": 40}}, **data)
    (folder / "efg.out").write_text(gipaw(atoms))
    return folder / "efg.out"


def write_cp2k(atoms: Atoms, folder: Path) -> Path:
    """Output of CP2K of one frame, in a folder."""
    (folder / "corundum.out").write_text(cp2k(atoms))
    return folder / "corundum.out"
