"""magres files written here, read by Soprano (pip install soprano)."""

import numpy as np
import pytest
from ase import Atoms
from scipy.spatial.transform import Rotation

from efgmd.frames.readers import read_frames
from efgmd.frames.writers import write_frames
from efgmd.nuclei import nucleus
from efgmd.tensors import asymmetry, principal_values


@pytest.fixture
def crystal():
    """A made-up crystal of nitrogen and deuterium with tensors of known Vzz and eta."""
    rng = np.random.default_rng(0)
    atoms = Atoms("N2H2", scaled_positions=rng.uniform(size=(4, 3)), cell=[[5, 0, 0], [1, 6, 0], [0, 1, 7]], pbc=True)
    tensors = []
    for vzz, eta in ((-0.9, 0.0), (0.7, 0.35), (0.41, 0.13), (0.38, 0.9)):
        turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
        tensors.append(turn @ np.diag([-vzz * (1 - eta) / 2, -vzz * (1 + eta) / 2, vzz]) @ turn.T)
    atoms.arrays["efg"] = np.array(tensors)
    return atoms


def test_soprano_sees_the_same_couplings(tmp_path, crystal):
    from ase.io import read
    from soprano.properties.nmr import EFGAsymmetry, EFGQuadrupolarConstant, EFGVzz

    write_frames(tmp_path / "crystal.magres", [crystal])
    atoms = read(tmp_path / "crystal.magres")
    values = principal_values(crystal.arrays["efg"])
    np.testing.assert_allclose(EFGVzz.get(atoms), values[:, 2], rtol=1e-6)
    np.testing.assert_allclose(EFGAsymmetry.get(atoms), asymmetry(values), atol=1e-6)
    # Soprano's table of moments is its own, a few per cent from ours; Hz there, MHz here.
    quadrupolar = EFGQuadrupolarConstant(isotopes={"H": 2, "N": 14})
    ours = [
        nucleus({"N": "14N", "H": "2H"}[s]).coupling_mhz(v) for s, v in zip(crystal.symbols, values[:, 2], strict=True)
    ]
    np.testing.assert_allclose(np.array(quadrupolar(atoms)) / 1e6, ours, rtol=0.03)


def test_what_soprano_and_ase_write_is_read(tmp_path, crystal):
    write_frames(tmp_path / "crystal.magres", [crystal])
    from ase.io import read, write

    write(tmp_path / "again.magres", read(tmp_path / "crystal.magres"))
    (atoms,) = read_frames(tmp_path / "again.magres", require=("efg",))
    np.testing.assert_allclose(atoms.arrays["efg"], crystal.arrays["efg"], atol=1e-9)
