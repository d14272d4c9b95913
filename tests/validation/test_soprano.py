"""Cq and eta of Soprano (CCP-NC) and ours, for single tensors and for means over magres files."""

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from soprano.data.nmr import _get_isotope_data
from soprano.properties.nmr import EFGAsymmetry, EFGQuadrupolarConstant, EFGVzz

from efgmd.analysis.averaging import NucleusAverage
from efgmd.nuclei import nucleus
from efgmd.tensors import asymmetry, l2_to_cartesian, matrix_to_six, principal_values, six_to_matrix
from efgmd.trajectories.frames import TensorFrames
from efgmd.trajectories.structures import Structures

ISOTOPES = {"H": 2, "N": 14, "O": 17, "I": 127}
SPINS = {"H": "1", "N": "1", "O": "5/2", "I": "5/2"}


def ours(symbols, tensors):
    """Cq (Hz), with Soprano's own quadrupole moments, and eta, of each atom."""
    values = principal_values(tensors)
    moments = _get_isotope_data(symbols, "Q", ISOTOPES)
    nuclei = [
        nucleus(f"{ISOTOPES[symbol]}{symbol}", float(moment), SPINS[symbol])
        for symbol, moment in zip(symbols, moments, strict=True)
    ]
    return np.array([1e6 * n.coupling_mhz(v[2]) for n, v in zip(nuclei, values, strict=True)]), asymmetry(values)


def compare(atoms, tensors):
    cq, eta = ours(atoms.get_chemical_symbols(), tensors)
    np.testing.assert_allclose(EFGVzz.get(atoms), principal_values(tensors)[:, 2], rtol=1e-10)
    np.testing.assert_allclose(EFGQuadrupolarConstant(isotopes=ISOTOPES)(atoms), cq, rtol=1e-10)
    np.testing.assert_allclose(EFGAsymmetry.get(atoms), eta, atol=1e-10)


def test_single_tensors():
    rng = np.random.default_rng(0)
    symbols = [str(symbol) for symbol in rng.choice(list(ISOTOPES), 400)]
    tensors = l2_to_cartesian(rng.normal(size=(400, 5)) * 10 ** rng.uniform(-3, 1, (400, 1)))
    atoms = Atoms(symbols, positions=rng.uniform(0, 20, (400, 3)), cell=[20] * 3, pbc=True)
    atoms.set_array("efg", tensors)
    compare(atoms, tensors)


MAGRES = """#$magres-abinitio-v1.0
[atoms]
units lattice Angstrom
lattice 9 0 0 0 9 0 0 0 9
units atom Angstrom
{atoms}
[/atoms]
[magres]
units efg au
{tensors}
[/magres]
"""


@pytest.fixture
def frames(tmp_path):
    """Magres files of a jumping molecule: a mean that is far from each of its parts."""
    rng = np.random.default_rng(1)
    symbols = ["N", "H", "H", "O", "I"]
    labels = [f"{symbol} {symbols[: k + 1].count(symbol)}" for k, symbol in enumerate(symbols)]
    paths = []
    for k in range(7):
        tensors = l2_to_cartesian(rng.normal(size=(5, 5)))
        places = rng.uniform(0, 9, (5, 3))
        atoms = "\n".join(
            f"atom {symbol} {label} " + " ".join(f"{x:.12f}" for x in place)
            for symbol, label, place in zip(symbols, labels, places, strict=True)
        )
        lines = "\n".join(
            f"efg {label} " + " ".join(f"{x:.15g}" for x in tensor.ravel())
            for label, tensor in zip(labels, tensors, strict=True)
        )
        paths.append(tmp_path / f"frame{k}.magres")
        paths[-1].write_text(MAGRES.format(atoms=atoms, tensors=lines))
    return paths


def test_means_over_magres_files(frames):
    average = NucleusAverage()
    for frame in Structures(frames):
        empty = np.zeros((1, len(frame.efg)))
        average.compute(
            TensorFrames(np.array([frame.step]), frame.cell[None], frame.efg[None], empty, frame.scaled[None])
        )
    read_by_ase = [read(path) for path in frames]
    atoms = read_by_ase[0].copy()
    tensors = np.mean([frame.get_array("efg") for frame in read_by_ase], axis=0)
    atoms.set_array("efg", tensors)
    np.testing.assert_allclose(average.mean, matrix_to_six(tensors), atol=1e-12)
    compare(atoms, six_to_matrix(average.mean))
    # The mean of Cq over the frames is something else.
    single = np.mean([np.abs(EFGQuadrupolarConstant(isotopes=ISOTOPES)(frame)) for frame in read_by_ase], axis=0)
    assert (single > 1.2 * np.abs(EFGQuadrupolarConstant(isotopes=ISOTOPES)(atoms))).any()
