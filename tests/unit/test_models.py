"""Symmetries, derivatives, limits and files of the energy and the EFG model."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_cells import rotation

from efgmd.errors import ModelFileError
from efgmd.models import EFGModel, EnergyModel, Neighbourhoods
from efgmd.models import backbone as backbone_module
from efgmd.models import fused as fused_module
from efgmd.models.density import reference_density
from efgmd.models.io import load_model, save_model
from efgmd.models.repulsion import ShortRangeRepulsion

ELEMENTS = ("Pb", "I", "H")
DTYPES = [torch.float64, torch.float32]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-4}


def cluster(dtype, seed=0, atoms=14, size=4.0):
    """Open cluster: species, positions and its full neighbour table."""
    generator = torch.Generator().manual_seed(seed)
    positions = size * torch.rand(atoms, 3, generator=generator, dtype=torch.float64)
    species = torch.arange(atoms) % 3
    return species, positions.to(dtype)


def neighbourhoods(species, positions):
    n = len(species)
    i, j = torch.where(~torch.eye(n, dtype=torch.bool))
    return Neighbourhoods(species, torch.arange(n + 1) * (n - 1), species[j], positions[j] - positions[i])


def spread_out(dtype, atoms=56):
    """Open cluster of atoms that do not repel each other: a disturbed lattice."""
    generator = torch.Generator().manual_seed(2)
    lattice = torch.cartesian_prod(*[torch.arange(4, dtype=torch.float64)] * 3)[:atoms]
    positions = 2.9 * lattice + 0.3 * torch.rand(atoms, 3, generator=generator, dtype=torch.float64)
    return torch.arange(atoms) % 3, positions.to(dtype)


def models(dtype):
    """Both models with random weights that are far from linear, calibrated on the cluster."""
    torch.manual_seed(3)
    nb = neighbourhoods(*cluster(dtype))
    built = []
    for cls in (EnergyModel, EFGModel):
        model = cls(ELEMENTS, cutoff=4.5, n_radial=6, lmax=3, channels=5, hidden=8).to(dtype)
        model.calibrate(nb)
        if isinstance(model, EFGModel):
            for part in model.linear:
                part.pair.normal_()
                part.triple.normal_(std=0.2)
        built.append(model)
    return built


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("improper", [False, True])
def test_equivariance_under_rotation_inversion_and_permutation(dtype, improper):
    energy, efg = models(dtype)
    species, positions = cluster(dtype, seed=5)
    generator = torch.Generator().manual_seed(7)
    turn = rotation(improper).to(dtype)
    order = torch.randperm(len(species), generator=generator)
    plain, moved = neighbourhoods(species, positions), neighbourhoods(species[order], positions[order] @ turn.T)
    e, tensors = energy(plain), efg(plain)
    assert tensors.std() > 0.1
    assert torch.allclose(energy(moved), e[order], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    expected = turn @ tensors[order] @ turn.T
    assert (efg(moved) - expected).abs().max() < TOLERANCE[dtype] * tensors.abs().max()


def test_a_committee_gives_its_mean_and_a_spread_that_does_not_turn():
    torch.manual_seed(3)
    species, positions = cluster(torch.float64, seed=5)
    nb = neighbourhoods(species, positions)
    model = EFGModel(ELEMENTS, cutoff=4.5, n_radial=6, lmax=3, channels=5, hidden=8, committee=4).double()
    model.calibrate(nb)
    for part in model.linear:
        part.pair.normal_()
        part.triple.normal_(std=0.2)
    model.spread_scales.copy_(torch.tensor([1.0, 2.0, 3.0]))
    members = model.members(nb)
    assert torch.allclose(members.mean(1), model(nb), rtol=0, atol=1e-14)
    found = model.uncertainty(nb, members)
    components = members.detach().numpy().std(axis=1, ddof=1)
    expected = np.sqrt((components**2).mean(axis=(1, 2))) * np.array([1.0, 2.0, 3.0])[species]
    assert np.allclose(found.detach().numpy(), expected)
    assert expected.min() > 0.01
    turned = neighbourhoods(species, positions @ rotation().T)
    assert torch.allclose(model.uncertainty(turned, model.members(turned)), found, rtol=1e-10)
    alone = models(torch.float64)[1]
    assert not alone.uncertainty(nb, alone.members(nb)).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_are_symmetric_and_traceless_to_rounding(dtype):
    tensors = models(dtype)[1](neighbourhoods(*cluster(dtype)))
    size = tensors.abs().max()
    rounding = 20 * torch.finfo(dtype).eps
    assert (tensors - tensors.transpose(1, 2)).abs().max() <= rounding * size
    assert tensors.diagonal(dim1=1, dim2=2).sum(1).abs().max() <= rounding * size


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensor_at_a_site_of_cubic_symmetry_vanishes(dtype):
    efg = models(dtype)[1]
    axes = torch.eye(3, dtype=dtype)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=dtype)] * 3)
    vectors = torch.cat([3.1 * axes, -3.1 * axes, 1.9 * corners])
    kinds = torch.tensor([1] * 6 + [2] * 8)
    nb = Neighbourhoods(torch.tensor([0]), torch.tensor([0, 14]), kinds, vectors)
    stretched = nb._replace(vectors=vectors * torch.tensor([1.0, 1.0, 1.05], dtype=dtype))
    assert efg(nb).abs().max() < 100 * torch.finfo(dtype).eps * max(1.0, efg(stretched).abs().max())
    assert efg(stretched).abs().max() > 1e-3


def test_pair_forces_are_the_derivative_of_the_energy():
    energy, _ = models(torch.float64)
    nb = neighbourhoods(*cluster(torch.float64, seed=8))
    total, gradient = energy.energies_and_pair_forces(nb)
    assert torch.equal(total, energy(nb))
    direction = torch.randn(nb.vectors.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = 1e-5
    up, down = (energy(nb._replace(vectors=nb.vectors + s * step * direction)).sum() for s in (1, -1))
    assert torch.isclose((up - down) / (2 * step), (gradient * direction).sum(), rtol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("lmax", "channels", "hidden"), [(1, 3, 5), (2, 8, 16), (3, 24, 64), (4, 17, 40)])
def test_fused_evaluation_matches_automatic_differentiation(instruction_set, dtype, lmax, channels, hidden):
    torch.manual_seed(4)
    energy = EnergyModel(ELEMENTS, cutoff=4.5, n_radial=6, lmax=lmax, channels=channels, hidden=hidden).to(dtype)
    nb = neighbourhoods(*spread_out(dtype))
    energy.calibrate(nb)
    energy.requires_grad_(False)
    assert energy.repulsion(nb).abs().max() == 0  # it would hide errors of the networks
    slow_energies, slow_gradient = energy.differentiated(nb)
    energies, gradient = energy.energies_and_pair_forces(nb)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    assert (energies - slow_energies).abs().max() < tolerance * slow_energies.abs().max()
    assert (gradient - slow_gradient).abs().max() < tolerance * slow_gradient.abs().max()
    with pytest.raises(ValueError, match="dtype"):
        energy._fused()(nb._replace(vectors=nb.vectors.half()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("lmax", "committee", "rank"), [(2, 1, 18), (3, 5, 7), (4, 8, 9)])
def test_compiled_linear_model_matches_plain_torch(instruction_set, dtype, lmax, committee, rank):
    torch.manual_seed(4)
    model = EFGModel(ELEMENTS, cutoff=4.5, n_radial=6, lmax=lmax, channels=0, committee=committee).double()
    for part in model.linear:
        left = torch.randn(18, rank, dtype=torch.float64)
        cores = torch.randn(*part.triple.shape[:2], rank, rank, dtype=torch.float64)
        part.pair.normal_()
        part.triple.copy_(left @ cores @ left.T)
    model.to(dtype).set_scales({"Pb": 0.5, "I": 2.0, "H": 1.0})
    nb = neighbourhoods(*cluster(dtype, atoms=50, size=9.0))
    vectors = nb.vectors.clone().requires_grad_(True)  # differentiable, so evaluated by torch
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    for evaluate in (model, model.members):
        fast, slow = evaluate(nb), evaluate(nb._replace(vectors=vectors)).detach()
        assert fast.shape == slow.shape
        assert (fast - slow).abs().max() < tolerance * slow.abs().max()
    model.linear[0].pair.mul_(2.0)  # weights that change are noticed
    assert torch.allclose(model(nb), model(nb._replace(vectors=vectors)).detach(), rtol=1e-3, atol=1e-4)
    assert (model.members(nb) - fast).abs().max() > 1e-3
    with pytest.raises(ValueError, match="dtype"):
        model._fused(True)(nb._replace(vectors=nb.vectors.half()))


def test_training_gradients_match_those_of_plain_torch(monkeypatch):
    """A loss on forces, differentiated through the compiled kernel's double backward, against autograd throughout."""
    energy, efg = models(torch.float64)
    nb = neighbourhoods(*cluster(torch.float64, seed=9))
    gradients = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(backbone_module, "density", reference_density)
        vectors = nb.vectors.clone().requires_grad_(True)
        (forces,) = torch.autograd.grad(energy(nb._replace(vectors=vectors)).sum(), vectors, create_graph=True)
        parameters = [p for m in (energy, efg) for p in m.parameters()]
        loss = forces.square().sum() + efg(nb).square().sum()
        gradients.append(torch.autograd.grad(loss, parameters, allow_unused=True))
    for fast, slow in zip(*gradients, strict=True):
        assert (fast is None) == (slow is None)
        if fast is not None:
            assert torch.allclose(fast, slow, rtol=1e-8, atol=1e-10 * float(slow.abs().max() + 1))


def test_a_neighbour_enters_smoothly():
    energy, efg = models(torch.float64)
    species, positions = torch.tensor([0, 1, 2]), torch.tensor([[0.0, 0, 0], [2.5, 0.3, 0], [0, 4.5, 0]]).double()

    def second_difference(step):
        values = []
        for shift in (-2 * step, -step, 0.0, step):
            moved = positions.clone()
            moved[2, 1] += shift
            nb = neighbourhoods(species, moved)
            values.append(torch.cat([energy(nb)[:1], efg(nb)[0].reshape(-1)]).detach())
        assert torch.equal(values[2], values[3])
        assert (values[0] - values[2]).abs().max() > 0
        return ((values[0] - 2 * values[1] + values[2]) / step**2).abs().max()

    # What vanishes as (rc - r)^3 has a second derivative that falls in proportion to the step.
    assert second_difference(1e-3) < 0.12 * second_difference(1e-2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_centres_and_isolated_centres(dtype):
    energy, efg = models(dtype)
    none = Neighbourhoods(*(torch.zeros(k, dtype=torch.int64) for k in (0, 1, 0)), torch.zeros(0, 3, dtype=dtype))
    assert energy.energies_and_pair_forces(none)[0].shape == (0,)
    assert efg(none).shape == (0, 3, 3)
    alone = none._replace(species=torch.tensor([1]), first=torch.zeros(2, dtype=torch.int64))
    assert torch.isfinite(energy(alone)).all()
    assert efg(alone).abs().max() == 0


def test_overlapping_nuclei_repel():
    energy, _ = models(torch.float64)
    distances = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    energies = []
    for d in distances:
        nb = neighbourhoods(torch.tensor([0, 1]), torch.tensor([[0.0, 0, 0], [0, 0, float(d)]]).double())
        energies.append(float(energy.repulsion(nb).sum()))
    # Bare Coulomb repulsion of Pb and I, e^2/(4 pi eps0) Z1 Z2 / r, screened: between 1 % and 100 % of it at 0.1 A.
    assert 0.01 * 14.4 * 82 * 53 / 0.1 < energies[0] < 14.4 * 82 * 53 / 0.1
    assert energies[0] > energies[1] > energies[2] > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_repulsion_matches_automatic_differentiation(dtype):
    repulsion = ShortRangeRepulsion([82, 53, 1]).to(dtype)
    nb = neighbourhoods(*cluster(dtype, atoms=60, size=6.0))
    vectors = nb.vectors.clone().requires_grad_(True)
    expected = repulsion(nb._replace(vectors=vectors))
    (slope,) = torch.autograd.grad(expected.sum(), vectors)
    energies, gradient = torch.ones(60, dtype=torch.float64), torch.ones_like(nb.vectors)
    inputs = nb.species, nb.first, nb.neighbour_species, nb.vectors.contiguous(), energies, gradient
    repulsion.compiled(dtype).add(60, *(array.data_ptr() for array in inputs))
    assert 20 < (slope != 0).any(1).sum() < len(slope) / 4
    tolerance = {"rtol": 1e-11, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(energies - 1, expected.detach().double(), **tolerance)
    torch.testing.assert_close(gradient - 1, slope, **tolerance)


def test_atoms_at_one_place_are_noticed():
    energy, _ = models(torch.float32)
    nb = neighbourhoods(torch.tensor([0, 1]), torch.zeros(2, 3))
    energies, gradient = energy.requires_grad_(False).energies_and_pair_forces(nb)
    assert not energies.isfinite().any() and not gradient.isfinite().all()


def test_the_compiled_form_follows_the_weights():
    """A change of dtype, or fixing a model anew, makes it again."""
    energy, _ = models(torch.float64)
    nb = neighbourhoods(*cluster(torch.float64, seed=8))
    single = nb._replace(vectors=nb.vectors.float())
    energy.requires_grad_(False).energies_and_pair_forces(nb)
    energy.float().energies_and_pair_forces(single)
    with torch.no_grad():
        energy.heads[0][0].weight.mul_(1.5)
    energy.double()
    assert torch.allclose(energy.energies_and_pair_forces(nb)[0], energy(nb), rtol=1e-12)
    energy.requires_grad_(True)
    with torch.no_grad():
        energy.heads[0][0].weight.mul_(1.5)
    assert torch.equal(energy.energies_and_pair_forces(nb)[0], energy(nb))
    energy.requires_grad_(False)
    assert torch.allclose(energy.energies_and_pair_forces(nb)[0], energy(nb), rtol=1e-12)


@pytest.mark.parametrize("index", [0, 1])
def test_file_round_trip(tmp_path, index):
    model = models(torch.float32)[index]
    if index == 0:
        model.set_energy_references({"Pb": -123.456789012, "I": 1.0, "H": -3.0})
    save_model(tmp_path / "m.safetensors", model, {"data": "none"})
    loaded = load_model(tmp_path / "m.safetensors", dtype="float64")
    nb = neighbourhoods(*cluster(torch.float64, seed=2))
    assert loaded.metadata["training"] == {"data": "none"}
    assert len(loaded.sha256) == 64
    assert torch.allclose(loaded(nb), model.double()(nb), rtol=1e-12, atol=1e-12)


def test_files_that_cannot_be_used_say_why(tmp_path):
    energy, _ = models(torch.float32)
    path = tmp_path / "m.safetensors"
    with pytest.raises(ModelFileError, match="does not exist"):
        load_model(path)
    path.write_bytes(b"not a model at all")
    with pytest.raises(ModelFileError, match="not an efgmd model file"):
        load_model(path)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelFileError, match="not an efgmd model"):
        load_model(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"efgmd": json.dumps({"format": "efgmd-model", "schema": 99})})
    with pytest.raises(ModelFileError, match="upgrade efgmd"):
        load_model(path)
    save_model(path, energy)
    with pytest.raises(ModelFileError, match="efg model is needed"):
        load_model(path, kind="efg")
    with pytest.raises(ModelFileError, match="float16"):
        load_model(path, dtype="float16")
    tensors = {k: v for k, v in energy.state_dict().items() if "mix" not in k}
    metadata = {
        "format": "efgmd-model",
        "schema": 1,
        "kind": "energy",
        "hyperparameters": energy.hyperparameters(),
    }
    save_file(tensors, path, metadata={"efgmd": json.dumps(metadata)})
    with pytest.raises(ModelFileError, match="damaged") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("index", [0, 1])
def test_a_version_that_computes_differently_is_refused(tmp_path, monkeypatch, index):
    path = tmp_path / "m.safetensors"
    save_model(path, models(torch.float64)[index])
    assert load_model(path, dtype="float32").dtype == torch.float32
    monkeypatch.setattr(backbone_module, "LIMIT", 7.0)
    monkeypatch.setattr(fused_module, "LIMIT", 7.0)
    with pytest.raises(ModelFileError, match="gives other values here"):
        load_model(path)


def test_weights_that_are_no_numbers_are_noticed(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "m.safetensors"
    save_model(path, models(torch.float64)[0])
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["heads.0.0.weight"][:] = float("nan")
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ModelFileError, match="gives other values here"):
        load_model(path)


def test_float64_weights_survive_the_file(tmp_path):
    model = models(torch.float64)[0]
    save_model(tmp_path / "m.safetensors", model)
    loaded = load_model(tmp_path / "m.safetensors", dtype="float64")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    loaded.energies_and_pair_forces(neighbourhoods(*cluster(torch.float64)))
    save_model(tmp_path / "again.safetensors", loaded)
    assert load_model(tmp_path / "again.safetensors", dtype="float64").metadata["probe"] == loaded.metadata["probe"]


def test_evaluation_does_without_e3nn(tmp_path):
    """It takes longer to import than a small model takes to load, in each process of each run."""
    program = """
import sys
from ase.build import bulk
from efgmd.calculators import EFGCalculator, EnergyCalculator
from efgmd.models import EFGModel, EnergyModel
from efgmd.models.io import save_model

atoms = bulk("Cu", cubic=True)
save_model("energy.safetensors", EnergyModel(("Cu",)))
save_model("efg.safetensors", EFGModel(("Cu",), channels=0, committee=2))
atoms.calc = EnergyCalculator("energy.safetensors")
atoms.get_forces()
EFGCalculator("efg.safetensors").get_property("efg", atoms)
sys.exit("e3nn" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
