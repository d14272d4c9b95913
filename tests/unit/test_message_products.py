"""Products of own densities with messages in the EFG model."""

import pytest
import small_cells
import torch
from ase.neighborlist import neighbor_list
from e3nn import o3

from efgmd.errors import ModelFileError
from efgmd.frames.neighbours import PairList, batch_of
from efgmd.models import EFGModel
from efgmd.models.density import radial_functions
from efgmd.models.io import load_model, save_model
from efgmd.models.message_products import product_features, product_paths
from efgmd.models.messages import DEGREE, RADIAL, message_paths
from efgmd.training.dataset import Prepared, collate
from efgmd.training.ridge import fit_linear

ELEMENTS = ("Ne", "Ar", "Kr")
SHAPE = {"cutoff": 4.5, "n_radial": 7, "lmax": 4, "channels": 0, "committee": 2, "message_cutoff": 3.5}


def random_model(seed=0, **changes):
    """A model whose tensors come from products of own densities with messages alone."""
    torch.manual_seed(seed)
    given = {"message_rank": 3, "message_products": {"Ne": ["Ar", "Kr"], "Kr": ["Kr"]}, "product_rank": 4, **changes}
    model = EFGModel(ELEMENTS, **{**SHAPE, **given}).double()
    products = model.products
    for channels in (model.surroundings, products.own):
        channels.maps.normal_(std=0.5)
        channels.mean.normal_()
    for part in products.mixing:
        part.normal_(std=0.3)
    products.offset.normal_()
    products.weight.normal_(std=0.3)
    return model


def structure(seed=1):
    """Sixteen atoms of three elements."""
    atoms = small_cells.structure(seed)
    atoms.symbols[2::5] = "Kr"
    return atoms


def tensors(model, atoms):
    return model(batch_of(atoms, model.cutoff, model.elements, model.dtype).neighbourhoods)


def harmonics(vectors):
    return [o3.spherical_harmonics(l, vectors, True, normalization="component") for l in range(DEGREE + 2)]


def coupled(a, b, degrees):
    l1, l2, l3 = degrees
    return torch.einsum("...a,...b,abc->...c", a, b, (2 * l3 + 1) ** 0.5 * o3.wigner_3j(l1, l2, l3, dtype=a.dtype))


def channels_of(surroundings, atoms):
    """Channels ``[atom][l]`` of densities, of shape ``(rank, 2 l + 1)``, by their sums."""
    basis = surroundings.basis
    i, j, vectors = (torch.from_numpy(part) for part in neighbor_list("ijD", atoms, basis.cutoffs[0]))
    kinds = [ELEMENTS.index(symbol) for symbol in atoms.get_chemical_symbols()]
    functions = radial_functions(vectors.norm(dim=1), basis.cutoffs[0], basis.r0, RADIAL)
    angular = harmonics(vectors)
    out = []
    for atom, kind in enumerate(kinds):
        rows = []
        for l in range(DEGREE + 1):
            density = torch.zeros(len(ELEMENTS), RADIAL, 2 * l + 1, dtype=torch.float64)
            for pair in torch.where(i == atom)[0]:
                density[kinds[j[pair]]] += functions[pair][:, None] * angular[l][pair]
            flat = density.reshape(len(ELEMENTS) * RADIAL, -1)
            flat = flat - surroundings.mean[kind][:, None] if l == 0 else flat
            rows.append(surroundings.maps[kind, l].T @ flat)
        out.append(rows)
    return out, kinds


def test_tensors_are_the_sums_of_the_formulas():
    model, atoms = random_model(), structure()
    products = model.products
    sent, kinds = channels_of(model.surroundings, atoms)
    own, _ = channels_of(products.own, atoms)
    i, j, vectors = (torch.from_numpy(part) for part in neighbor_list("ijD", atoms, 3.5))
    functions = radial_functions(vectors.norm(dim=1), 3.5, model.surroundings.basis.r0, RADIAL)
    angular = harmonics(vectors)
    expected = torch.zeros(len(atoms), 5, dtype=torch.float64)
    for atom, kind in enumerate(kinds):
        if kind not in products.centres:
            continue
        messages = [torch.zeros(products.rank, 2 * l + 1, dtype=torch.float64) for l in range(DEGREE + 1)]
        messages[0] -= products.offset[kind][:, None]
        for pair in torch.where(i == atom)[0]:
            if (kind, kinds[j[pair]]) not in products.pairs:
                continue
            mixing = products.pairs.index((kind, kinds[j[pair]]))
            for l in range(DEGREE + 1):
                for number, path in enumerate(message_paths(l)):
                    weight = torch.einsum("rnq,n->rq", products.mixing[l][mixing][:, number], functions[pair])
                    left = weight @ sent[j[pair]][path.l1]
                    messages[l] += coupled(left, angular[path.l2][pair].expand(len(left), -1), (path.l1, path.l2, l))
        for number, path in enumerate(product_paths()):
            left = products.weight[kind].mean(0)[number].T @ own[atom][path.l1]
            expected[atom] += coupled(left, messages[path.l2], (path.l1, path.l2, 2)).sum(0)
    expected = torch.einsum("nk,kij->nij", expected, model.basis_change)
    assert not expected[torch.tensor(kinds) == 1].any() and expected.abs().max() > 0.1
    assert (tensors(model, atoms) - expected).abs().max() < 1e-10 * expected.abs().max()


@pytest.mark.parametrize("improper", [False, True])
def test_tensors_turn_with_the_atoms(improper):
    model = random_model()
    small_cells.assert_tensors_turn(lambda atoms: tensors(model, atoms), structure(), improper)


def test_tensors_in_cubic_crystals_vanish():
    model = random_model()
    small_cells.assert_tensors_vanish_in_cubic_crystals(lambda atoms: tensors(model, atoms))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("rank", "products", "channels"), [(3, 5, 0), (8, 12, 0), (3, 5, 4)])
def test_the_compiled_form_equals_the_plain_one(instruction_set, dtype, rank, products, channels):
    """Of blocks and channels in any number, of members, beside a linear part and a network, of a model whose weights
    were changed after its first use, whose centres see unlike far, and of unknown tensors."""
    shape = {"channels": channels, "outputs": 4, "centre_cutoffs": {"Kr": 3.6}}
    model = random_model(message_rank=rank, product_rank=products, **shape).to(dtype)
    for linear in model.linear:
        linear.pair.normal_(std=0.1)
        linear.triple[..., :2, :3] = torch.randn(linear.triple[..., :2, :3].shape, dtype=dtype) * 0.01
    model.set_scales({"Ne": 0.3, "Ar": 1.0, "Kr": 2.0})
    nb = batch_of(structure().repeat((3, 2, 1)), model.cutoff, model.elements, model.dtype).neighbourhoods
    sent = model.channels(nb)
    tolerance = {torch.float64: 1e-12, torch.float32: 3e-5}[dtype]
    for factor in (1.0, 0.7):
        for weights in (model.products.weight, model.products.mixing[3], model.products.own.maps):
            weights.mul_(factor)
        for mean in (True, False):
            local, messages = model._components(nb, mean), model.plain_messages(nb, sent, mean)
            found = model.components(nb, sent, mean)
            assert messages.abs().max() > 0.1 and local.abs().max() > 0.1
            assert (found - local - messages).abs().max() < tolerance * (local + messages).abs().max()
    model.scales[0] = torch.nan
    known = nb.species != 0
    assert model(nb)[~known].isnan().all() and model(nb)[known].isfinite().all()


@pytest.mark.parametrize("channels", [0, 4])
def test_derivatives_go_through_products(channels):
    """By operations of torch, where the vectors ask for derivatives; also beside a network."""
    model = random_model(channels=channels, outputs=4)
    nb = batch_of(structure(), model.cutoff, model.elements, model.dtype).neighbourhoods
    vectors = nb.vectors.clone().requires_grad_(True)
    followed = model(nb._replace(vectors=vectors))
    assert (followed - model(nb)).abs().max() < 1e-12 * followed.abs().max()
    (gradient,) = torch.autograd.grad(followed[0, 0, 1], vectors)
    step = torch.zeros_like(vectors)
    step[int(gradient.abs().sum(1).argmax())] = torch.tensor([1e-5, -2e-5, 1e-5], dtype=torch.float64)
    ahead, back = (model(nb._replace(vectors=nb.vectors + sign * step))[0, 0, 1] for sign in (1, -1))
    assert float((ahead - back).detach() / 2) == pytest.approx(float((gradient * step).sum()), rel=1e-6)


def test_features_times_weights_are_the_tensors():
    model, atoms = random_model(), structure()
    nb = batch_of(atoms, model.cutoff, model.elements, model.dtype).neighbourhoods
    channels, bonds, products = model.channels(nb), model.bonds(nb), model.products
    chosen = (nb.species == 0).nonzero()[:, 0]
    own = products.own(nb)[:, chosen]
    sent = products.messages(channels, bonds, bonds.rows_among(chosen), len(chosen), 0)
    found = torch.einsum("nkf,mf->nmk", product_features(own, sent), products.weight[0].flatten(1))
    expected = products(nb, channels, bonds, mean=False)[chosen]
    assert torch.allclose(found, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize(("dtype", "committee"), [(torch.float64, 1), (torch.float32, 2)])
def test_a_function_with_such_products_is_learnt(dtype, committee):
    """A teacher of products of leading channels: a fit with products finds it, one without does not."""
    frames = []
    for seed in range(80):
        atoms = structure(seed)
        batch = batch_of(atoms, 4.5, ELEMENTS, torch.float64)
        pairs = PairList(batch.neighbourhoods, batch.centre, batch.neighbour)
        labels = {
            "known": torch.ones(len(atoms), dtype=torch.bool),
            "member_weights": torch.ones(len(atoms), committee),
        }
        frames.append(Prepared(pairs, atoms.get_volume(), labels))
    products = {"Ne": ["Ar"], "Kr": ["Ne"]}
    teacher = random_model(seed=5, message_products=products)
    for part in teacher.linear:
        part.pair.normal_(std=0.3)  # all that argon has
    nb = collate(frames)[0].neighbourhoods
    teacher.surroundings.fit(nb)
    channels = teacher.channels(nb)
    teacher.products.fit(nb, channels, teacher.bonds(nb))
    errors = {}
    for given in (products, None):
        tensors = [teacher(frame.pairs.neighbourhoods) for frame in frames]
        for frame, tensor in zip(frames, tensors, strict=True):
            frame.labels["efg"] = tensor.clone()
        shape = {
            **SHAPE,
            "lmax": 3,
            "n_radial": 6,
            "committee": committee,
            "message_rank": 3,
            "message_products": given,
        }
        student = EFGModel(ELEMENTS, product_rank=4, **shape).to(dtype)
        fit_linear(student, frames[:70], [str(k) for k in range(70)], seed=0)
        true, kinds = torch.cat(tensors[70:]), torch.cat([f.pairs.neighbourhoods.species for f in frames[70:]])
        inputs = [f.pairs.neighbourhoods for f in frames[70:]]
        found = [student(nb._replace(vectors=nb.vectors.to(dtype))) for nb in inputs]
        wrong = torch.cat(found).double() - true
        for kind, element in enumerate(ELEMENTS):
            mine = kinds == kind
            ratio = wrong[mine].square().mean() / true[mine].square().mean()
            errors[element, bool(given)] = float(ratio.sqrt())
    assert errors["Ar", True] < 0.02, errors
    for element in ("Ne", "Kr"):
        assert errors[element, True] < 0.1 and errors[element, False] > 2 * errors[element, True], errors


def test_a_file_keeps_products(tmp_path):
    model, atoms = random_model(), structure()
    save_model(tmp_path / "efg.safetensors", model)
    loaded = load_model(tmp_path / "efg.safetensors", dtype="float64")
    assert torch.equal(tensors(loaded, atoms), tensors(model, atoms))


def test_there_are_no_more_channels_than_functions():
    """Of one neighbour's messages of degree 0 there are four paths of six functions."""
    model = random_model(message_rank=1, product_rank=30, message_products={"Ne": ["Ar"]})
    assert model.products.rank == 18 and random_model(message_rank=1, product_rank=5).products.rank == 5
    nb = batch_of(structure(), model.cutoff, model.elements, model.dtype).neighbourhoods
    model.products.fit(nb, model.channels(nb), model.bonds(nb))
    assert model(nb).isfinite().all()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"message_products": {"Ne": ["Xe"]}}, "message_products: Xe is no element of the model, which has Ne Ar Kr"),
        ({"message_products": {"Xe": ["Ne"]}}, "message_products: Xe is no element of the model"),
        ({"message_products": {"Ne": ["Ar", "Ar"]}}, "message_products of Ne: Ar is named twice"),
        ({"message_products": {"Ne": "Ar"}}, "message_products of Ne: write a list of elements, got 'Ar'"),
        ({"message_products": {"Ne": []}}, "message_products of Ne: write a list of elements"),
        ({"message_cutoffs": {"Ne": {"Ar": 0}}}, "message_products of Ne: Ar sends it nothing"),
        ({"message_cutoff": 0.0}, "message_products: the model has no messages, set message_cutoff too"),
        ({"product_rank": 0}, "product_rank: 0 channels are none"),
        ({"lmax": 2}, "message_products need lmax of at least 3 and n_radial of at least 6, got 2 and 7"),
        ({"n_radial": 5}, "message_products need lmax of at least 3 and n_radial of at least 6, got 4 and 5"),
    ],
)
def test_products_that_cannot_be_are_refused(wrong, told):
    with pytest.raises(ModelFileError, match=told):
        EFGModel(ELEMENTS, **{**SHAPE, "message_products": {"Ne": ["Ar"]}, **wrong})
