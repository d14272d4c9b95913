"""`efgmd label` with GPAW itself, against all-electron calculations, symmetry, and other k-points.

Run by name (`pytest tests/labelling`, about half an hour on one core): needs a Python with GPAW 22.8, see
docs/pages/howto/label.md. References: NH3, PBE/cc-pCVTZ in PySCF 2.x at this very geometry; CsPbI3, PBE in Elk.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from scipy.spatial.transform import Rotation

from efgmd.frames.readers import read_frames
from efgmd.nuclei import nucleus
from efgmd.tensors import asymmetry, principal_axes, principal_values, rotate


def label(folder, frames, *options):
    """Label frames with the command and return them, with the raw tensors of the calculation as ``raw``."""
    source, output = folder / "in.xyz", folder / "out.xyz"
    write(source, frames, format="extxyz")
    command = [sys.executable, "-m", "efgmd.cli", "label", str(source), str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "160"})
    assert done.returncode == 0, done.stdout + done.stderr
    labelled = read_frames(output, require=("efg",))
    for number, atoms in enumerate(labelled):
        with np.load(folder / "out.xyz.frames" / f"{number:05d}.npz") as result:
            atoms.arrays["raw"] = result["V"]
    return labelled


def ammonia(rotation=None):
    """NH3 of the experimental geometry (1.0116 angstrom, 106.7 degrees), axis along z, in a box of 6.5 angstrom."""
    length, angle = 1.0116, np.radians(106.7)
    radius = 2 * length * np.sin(angle / 2) / np.sqrt(3)
    height = np.sqrt(length**2 - radius**2)
    around = np.radians([0, 120, 240])
    hydrogens = np.transpose([radius * np.cos(around), radius * np.sin(around), np.full(3, -height)])
    positions = np.vstack([np.zeros(3), hydrogens])
    if rotation is not None:
        positions = positions @ rotation.T
    return Atoms("NH3", positions=positions + 3.25, cell=[6.5] * 3, pbc=True)


def caesium_lead_iodide(a):
    scaled = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return Atoms("CsPbI3", scaled_positions=scaled, cell=[a] * 3, pbc=True)


def test_ammonia_against_an_all_electron_calculation_and_turned(tmp_path):
    turn = Rotation.from_euler("zyz", [25, 54, 11], degrees=True).as_matrix()
    plain, turned = label(tmp_path, [ammonia(), ammonia(turn)], "--kpoints", "gamma", "--cutoff", "30")
    tensors = plain.arrays["raw"]
    assert np.abs(np.trace(tensors, axis1=1, axis2=2)).max() < 1e-10
    np.testing.assert_allclose(tensors, tensors.transpose(0, 2, 1), atol=1e-10)
    values = principal_values(tensors)
    print("14N Cq (MHz)", nucleus("14N").coupling_mhz(values[0, 2]), "2H", nucleus("2H").coupling_mhz(values[1:, 2]))
    # 14N: negative, axial along the threefold axis. 2H: positive, nearly along the bond.
    assert nucleus("14N").coupling_mhz(values[0, 2]) == pytest.approx(-4.507, rel=0.03)
    assert asymmetry(values[0]) < 0.005
    assert abs(principal_axes(tensors[0])[1][2, 2]) > 0.999
    assert nucleus("2H").coupling_mhz(values[1:, 2]) == pytest.approx(np.full(3, 0.2750), rel=0.03)
    # Turned with the molecule; what is left is the grid and the box.
    deviation = np.abs(turned.arrays["raw"] - rotate(tensors, turn)).max()
    print("deviation after turning (a.u.)", deviation)
    assert deviation < 0.004


def test_iodine_of_cubic_caesium_lead_iodide(tmp_path):
    (atoms,) = label(
        tmp_path,
        [caesium_lead_iodide(6.290)],
        "--kpoints",
        "4x4x4:shifted",
        "--primitive",
        "6.29,6.29,6.29",
        "--cutoff",
        "12",
    )
    tensors = atoms.arrays["raw"]
    values = principal_values(tensors)
    print("iodine Vzz (a.u.)", values[2:, 2], "Pb", values[1, 2], "Cs", values[0, 2])
    # The cubic sites vanish, iodine is axial along Pb-I-Pb.
    assert np.abs(values[:2]).max() < 1e-4
    assert values[2:, 2] == pytest.approx(np.full(3, 3.783), rel=0.005)
    assert asymmetry(values[2:]).max() < 1e-4
    for atom, axis in zip((2, 3, 4), range(3), strict=True):
        assert abs(principal_axes(tensors[atom])[1][axis, 2]) > 0.9999


def test_a_supercell_with_folded_points_has_the_tensors_of_its_cell(tmp_path):
    cell = caesium_lead_iodide(6.290)
    cell.positions += np.random.default_rng(0).normal(0, 0.05, (5, 3))
    double = cell.repeat((1, 1, 2))
    options = ["--kpoints", "2x2x2:bcc", "--primitive", "6.3,6.3,6.3", "--cutoff", "12"]
    single, doubled = label(tmp_path, [cell, double], *options)
    deviation = np.abs(doubled.arrays["raw"].reshape(2, 5, 3, 3) - single.arrays["raw"]).max()
    print("deviation of the doubled cell (a.u.)", deviation)
    assert deviation < 0.01
