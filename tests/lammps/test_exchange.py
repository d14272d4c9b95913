"""Ghost exchange: a message-passing model whose energy, forces and stress are known in closed form.

Layer one gives each atom the density h_i = sum_j w(r_ij); after the exchange, layer two gives the energy
E_i = sum_j w(r_ij) h_j. Each pair appears twice, so E = sum_i h_i^2, and without an exchange across ranks and periodic
boundaries it is another number.
"""

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from lammps_cases import columns, read_dump, run_lmp, succeed, write_data

CUTOFF = 4.0
BY_HAND = '''
"""Message passing in two layers without torch, and several ways to get it wrong."""
import os
import numpy as np

class Base:
    element_types = ["Ar", "Kr"]
    ndescriptors = nparams = 1
    rcutfac = 2.0
    def compute_gradients(self, data): pass
    def compute_descriptors(self, data): pass

class Plain(Base):
    """By hand; the exchange works in place."""
    def compute_forces(self, data):
        i, j = data.pair_i, data.pair_j
        u = 1 - (data.rij**2).sum(1) / 16
        w, slope = u**3, (-6 / 16 * u**2)[:, None] * data.rij
        h = np.zeros((data.ntotal, 1))
        np.add.at(h[:, 0], i, w)
        data.forward_exchange(h, h, 1)
        data.eatoms = np.bincount(i, weights=w * h[j, 0], minlength=data.nlocal)
        received = np.bincount(j, weights=w, minlength=data.ntotal)[:, None]  # dE/dh, of owned and ghost atoms
        data.reverse_exchange(received, received, 1)
        assert not received[data.nlocal:].any()
        data.update_pair_forces(slope * (h[j] + received[i]))

class Fails(Base):
    """On the rank that owns the first atom, once the others wait for it."""
    def compute_forces(self, data):
        rows = np.zeros((data.ntotal, 3))
        data.forward_exchange(rows, rows, 3)
        if data.f.shape[0] and mine(data):
            raise ValueError("the middle of an exchange")
        data.forward_exchange(rows, rows, 3)

class Disagrees(Base):
    def compute_forces(self, data):
        rows = np.zeros((data.ntotal, 3))
        (data.forward_exchange if mine(data) else data.reverse_exchange)(rows, rows, 3)

class OtherWidth(Base):
    def compute_forces(self, data):
        width = 2 if mine(data) else 5
        rows = np.zeros((data.ntotal, width))
        data.forward_exchange(rows, rows, width)

class Fewer(Base):
    def compute_forces(self, data):
        rows = np.zeros((data.ntotal, 3))
        if not mine(data):
            data.forward_exchange(rows, rows, 3)

class Integers(Base):
    def compute_forces(self, data):
        rows = np.zeros((data.ntotal, 3), dtype=int)
        data.forward_exchange(rows, rows, 3)

class Short(Base):
    def compute_forces(self, data):
        rows = np.zeros((data.nlocal, 3))
        data.forward_exchange(rows, rows, 3)

class Late(Base):
    kept = None
    def compute_forces(self, data):
        if self.kept is not None:
            rows = np.zeros((self.kept.ntotal, 1))
            self.kept.forward_exchange(rows, rows, 1)
        self.kept = data

def mine(data):
    """Whether this is the upper rank."""
    return os.environ.get("PMI_RANK", "0") == "1"
'''
BY_TORCH = '''
"""The same by torch's autograd."""
import torch
import by_hand

class Passing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, data):
        ctx.data = data
        out = torch.empty_like(features)
        data.forward_exchange(features, out, features.shape[1])
        return out

    @staticmethod
    def backward(ctx, gradient):
        out = torch.empty_like(gradient)
        ctx.data.reverse_exchange(gradient, out, gradient.shape[1])
        return out, None

class Torch(by_hand.Base):
    """`channels` copies of the density, each with a part of the weight; they travel together."""
    def __init__(self, dtype="float64", channels=1, transposed=False):
        self.dtype, self.channels, self.transposed = dtype, channels, transposed
    def compute_forces(self, data):
        dtype = getattr(torch, self.dtype)
        parts = torch.arange(1, self.channels + 1, dtype=dtype) / sum(range(1, self.channels + 1))
        for array in (data.rij, data.pair_i, data.pair_j, data.elems, data.eatoms, data.f):
            if array.size:
                assert torch.from_dlpack(array).data_ptr() == array.ctypes.data == torch.as_tensor(array).data_ptr()
        rij = torch.as_tensor(data.rij).to(dtype).requires_grad_(True)
        i, j = torch.as_tensor(data.pair_i).long(), torch.as_tensor(data.pair_j).long()
        w = (1 - (rij**2).sum(1) / 16) ** 3
        h = torch.zeros(data.ntotal, self.channels, dtype=dtype).index_add(0, i, w[:, None] * parts)
        if self.transposed:
            h = h.t().contiguous().t()
        h = Passing.apply(h, data)
        energies = torch.zeros(data.nlocal, dtype=dtype).index_add(0, i, w * h[j].sum(1))
        (gradient,) = torch.autograd.grad(energies.sum(), rij)
        torch.as_tensor(data.eatoms).copy_(energies.detach())
        data.energy = energies.sum()
        data.update_pair_forces_gpu(gradient)
'''
MAKE = """
import pickle
import by_hand
from by_torch import Torch
made = {"torch64": Torch(), "torch32": Torch("float32", 7), "wide": Torch("float64", 150),
        "transposed": Torch("float64", 3, True)}
names = ("Plain", "Fails", "Disagrees", "OtherWidth", "Fewer", "Integers", "Short", "Late")
made |= {name: getattr(by_hand, name)() for name in names}
for name, value in made.items():
    pickle.dump(value, open(name + ".pickle", "wb"))
"""
DECK = """
units metal
boundary {boundary}
{extra}
read_data start.data
{pair}
compute energy all pe/atom
compute stress all stress/atom NULL virial
compute sums all reduce sum c_stress[*]
thermo_style custom step pe pxx pyy pzz pxy pxz pyz c_sums[*]
thermo_modify format float %.16g norm no
dump 1 all custom 1 out.dump id x y z fx fy fz c_energy
dump_modify 1 format float %.17g
velocity all create 300 4 loop geom
fix 1 all nve
run {steps}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with the pickled objects."""
    folder = tmp_path_factory.mktemp("exchange")
    (folder / "by_hand.py").write_text(BY_HAND)
    (folder / "by_torch.py").write_text(BY_TORCH)
    subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True)
    return folder


def mliap(name, elements="Ar Kr"):
    """The pair commands of a pickled object."""
    return f"pair_style mliap unified {name}.pickle 0\npair_coeff * * {elements}"


def environment(folder):
    return {"EFGMD_ALLOW_PICKLE": "1", "PYTHONPATH": str(folder)}


def liquid(seed=1, cell=(11.0, 10.0, 12.0), count=60, tilt=True):
    """Atoms at random places, at least 1.6 angstrom apart, in a sheared cell."""
    rng = np.random.default_rng(seed)
    box = np.diag(cell).astype(float)
    if tilt:
        box[1, 0], box[2, 0], box[2, 1] = 2.0, -1.5, 1.0
    atoms = Atoms(cell=box, pbc=True)
    while len(atoms) < count:
        trial = atoms + Atoms("Ar", positions=[rng.random(3) @ box])
        if len(trial) == 1 or trial.get_distances(-1, range(len(trial) - 1), mic=True).min() > 1.6:
            atoms = trial
    atoms.symbols = rng.choice(["Ar", "Kr"], count)
    return atoms


def exact(atoms):
    """Energies (N,), forces (N, 3) and virial (3, 3) of the model, from its closed form."""
    i, j, r = neighbor_list("ijD", atoms, CUTOFF)
    u = 1 - (r**2).sum(1) / CUTOFF**2
    w, slope = u**3, (-6 / CUTOFF**2 * u**2)[:, None] * r
    h = np.bincount(i, weights=w, minlength=len(atoms))
    energies = np.bincount(i, weights=w * h[j], minlength=len(atoms))
    assert energies.sum() == pytest.approx((h**2).sum())
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, i, 2 * (h[i] + h[j])[:, None] * slope)  # each pair is listed from both its ends
    virial = -np.einsum("pa,pb->ab", r, (h[i] + h[j])[:, None] * slope)
    return energies, forces, virial


def check(finished, path, atoms, tolerance):
    """Compare the last step of a run with the closed form at the positions it wrote."""
    last = read_dump(path)[-1]
    moved = atoms.copy()
    moved.positions = columns(last, "x", "y", "z")
    energies, forces, virial = exact(moved)
    assert np.abs(last["c_energy"] - energies).max() < tolerance * np.abs(energies).max()
    assert np.abs(columns(last, "fx", "fy", "fz") - forces).max() < tolerance * np.abs(forces).max()
    thermo = finished.thermo()
    assert thermo["PotEng"][-1] == pytest.approx(energies.sum(), rel=tolerance)
    told = [thermo[f"c_sums[{c + 1}]"][-1] * atoms.cell.volume for c in range(6)]
    expected = virial[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)]
    given = -np.array(told) / atoms.cell.volume / 1602176.5
    assert np.abs(given - expected).max() < max(tolerance, 1e-7) * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "tolerance", "ranks"),
    [
        *[("Plain", 1e-12, ranks) for ranks in (1, 2, 4)],
        *[("torch64", 1e-12, ranks) for ranks in (1, 2, 4)],
        *[("torch32", 2e-5, 2), ("wide", 1e-12, 2), ("transposed", 1e-12, 1)],
    ],
)
def test_two_layers_equal_their_closed_form(folder, name, tolerance, ranks):
    atoms = liquid()
    write_data(folder / "start.data", atoms, ("Ar", "Kr"))
    deck = DECK.format(boundary="p p p", extra="", pair=mliap(name), steps=3)
    check(succeed(folder, deck, ranks, **environment(folder)), folder / "out.dump", atoms, tolerance)


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_without_atoms_and_without_pairs(folder, ranks):
    """A drop in one corner, and one lone atom far from it: some ranks own nothing, one owns an atom without pairs."""
    drop = liquid(cell=(7.0, 7.0, 7.0), count=20, tilt=False)
    atoms = Atoms(cell=[30.0, 30.0, 30.0], pbc=True) + drop + Atoms("Ar", positions=[(26.0, 2.0, 2.0)])
    write_data(folder / "start.data", atoms, ("Ar", "Kr"))
    extra = f"processors {ranks // 2 if ranks == 4 else ranks} {2 if ranks == 4 else 1} 1"
    deck = DECK.format(boundary="p p p", extra=extra, pair=mliap("torch64"), steps=3)
    check(succeed(folder, deck, ranks, **environment(folder)), folder / "out.dump", atoms, 1e-12)


@pytest.mark.parametrize("ranks", [1, 4])
def test_tiled_communication_in_a_slab(folder, ranks):
    atoms = liquid(cell=(12.0, 11.0, 10.0), tilt=False)
    atoms.pbc = (True, True, False)
    write_data(folder / "start.data", atoms, ("Ar", "Kr"))
    extra = "comm_style tiled"
    deck = DECK.format(boundary="p p s", extra=extra, pair=mliap("Plain") + "\nbalance 1.05 rcb", steps=3)
    check(succeed(folder, deck, ranks, **environment(folder)), folder / "out.dump", atoms, 1e-12)


@pytest.mark.parametrize("ranks", [1, 2])
def test_atoms_of_no_element_are_not_there(folder, ranks):
    """Two models, each on its own element through pair hybrid; the result is the sum of both alone."""
    atoms = liquid()
    write_data(folder / "start.data", atoms, ("Ar", "Kr"))
    pair = "pair_style hybrid/overlay mliap unified torch64.pickle 0 mliap unified Plain.pickle 0\n"
    pair += "pair_coeff * * mliap 1 Ar NULL\npair_coeff * * mliap 2 NULL Kr\npair_coeff 1 2 none"
    deck = DECK.format(boundary="p p p", extra="", pair=pair, steps=0)
    succeed(folder, deck, ranks, **environment(folder))
    last = read_dump(folder / "out.dump")[-1]
    for element in ("Ar", "Kr"):
        rows = atoms.symbols == element
        energies, forces, _ = exact(atoms[rows])
        assert np.abs(last["c_energy"][rows] - energies).max() < 1e-10
        assert np.abs(columns(last, "fx", "fy", "fz")[rows] - forces).max() < 1e-10


@pytest.mark.parametrize(
    ("name", "ranks", "parts"),
    [
        ("Fails", 2, ["on rank 1 at step 0", "ValueError: the middle of an exchange"]),
        ("Disagrees", 2, ["in different order", "alike on every rank"]),
        ("OtherWidth", 2, ["rows of different sizes, 16 and 40 bytes per atom"]),
        ("Fewer", 2, ["less often on some rank"]),
        ("Integers", 1, ["carries float32 or float64, not int64"]),
        ("Short", 2, ["atoms of 3 numbers need"]),
        ("Late", 2, ["at step 1", "after the step had ended"]),
    ],
)
def test_mistakes_end_the_run_on_all_ranks(folder, name, ranks, parts):
    write_data(folder / "start.data", liquid(), ("Ar", "Kr"))
    deck = DECK.format(boundary="p p p", extra="", pair=mliap(name), steps=2)
    finished = run_lmp(folder, deck, ranks, **environment(folder))
    assert finished.status != 0
    (line,) = finished.errors
    for part in parts:
        assert part in line
    assert finished.seconds < 5.0
