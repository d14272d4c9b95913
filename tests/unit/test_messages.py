"""The part of the EFG model that sees the surroundings of neighbours."""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from e3nn import o3
from small_cells import assert_tensors_turn, assert_tensors_vanish_in_cubic_crystals, structure

from efgmd.coupling import native
from efgmd.coupling.efg import NativeEFG
from efgmd.errors import ModelFileError
from efgmd.frames.neighbours import PairList, batch_of
from efgmd.models import EFGModel
from efgmd.models.density import radial_functions
from efgmd.models.io import load_model, save_model
from efgmd.models.messages import RADIAL, message_features, message_paths
from efgmd.tensors import l2_to_cartesian, matrix_to_six
from efgmd.training.dataset import Prepared
from efgmd.training.ridge import fit_linear

ELEMENTS = ("Ne", "Ar")


def random_model(seed=0, elements=ELEMENTS, **changes):
    """A model whose tensors come mostly from messages."""
    torch.manual_seed(seed)
    shape = {"cutoff": 4.5, "n_radial": 3, "lmax": 2, "channels": 0, "committee": 2, "message_cutoff": 3.5}
    model = EFGModel(elements, **{**shape, "message_rank": 3, **changes}).double()
    model.surroundings.maps.normal_(std=0.5)
    model.surroundings.mean.normal_()
    for part in model.messages:
        part.weight.normal_(std=0.2)
    return model


def tensors(model, atoms):
    return model(batch_of(atoms, model.cutoff, model.elements, model.dtype).neighbourhoods)


@pytest.mark.parametrize("cutoffs", [{}, {"Ne": {"Ar": 4.4, "Ne": 0}, "Ar": {"Ar": 2.8}}])
def test_messages_are_the_sums_of_the_formula(cutoffs):
    model, atoms = random_model(message_cutoffs=cutoffs), structure()
    basis = model.surroundings.basis
    i, j, vectors = (torch.from_numpy(part) for part in neighbor_list("ijD", atoms, 4.5))
    kinds = torch.tensor([ELEMENTS.index(symbol) for symbol in atoms.get_chemical_symbols()])
    distance = vectors.norm(dim=1)
    functions = radial_functions(distance, 3.5, basis.r0, RADIAL)
    harmonics = [o3.spherical_harmonics(l, vectors, True, normalization="component") for l in range(5)]
    channels = [[None] * 4 for _ in atoms]
    for atom in range(len(atoms)):
        for l in range(4):
            density = torch.zeros(2, RADIAL, 2 * l + 1, dtype=torch.float64)
            for pair in torch.where((i == atom) & (distance < 3.5))[0]:
                density[kinds[j[pair]]] += functions[pair][:, None] * harmonics[l][pair]
            flat = density.reshape(2 * RADIAL, -1)
            if l == 0:
                flat = flat - model.surroundings.mean[kinds[atom]][:, None]
            channels[atom][l] = model.surroundings.maps[kinds[atom], l].T @ flat
    expected = torch.zeros(len(atoms), 5, dtype=torch.float64)
    for pair in range(len(i)):
        reach = cutoffs.get(ELEMENTS[kinds[i[pair]]], {}).get(ELEMENTS[kinds[j[pair]]], 3.5)
        if distance[pair] >= reach:
            continue
        bond = radial_functions(distance[pair : pair + 1], reach, basis.r0, RADIAL)[0]
        weights = model.messages[kinds[i[pair]]].weight.mean(0)[kinds[j[pair]]]
        for number, path in enumerate(message_paths()):
            mixed = bond @ weights[number] @ channels[j[pair]][path.l1]
            coupling = 5**0.5 * o3.wigner_3j(path.l1, path.l2, 2, dtype=torch.float64)
            expected[i[pair]] += torch.einsum("a,b,abc->c", mixed, harmonics[path.l2][pair], coupling)
    expected = torch.einsum("nk,kij->nij", expected, model.basis_change)
    found = tensors(model, atoms)
    assert expected.abs().max() > 0.1
    assert (found - expected).abs().max() < 1e-10 * expected.abs().max()


@pytest.mark.parametrize("improper", [False, True])
def test_messages_turn_with_the_atoms(improper):
    model = random_model()
    assert_tensors_turn(lambda atoms: tensors(model, atoms), structure(), improper)


def test_tensors_in_cubic_crystals_vanish():
    model = random_model()
    assert_tensors_vanish_in_cubic_crystals(lambda atoms: tensors(model, atoms))


def test_nothing_jumps_as_an_atom_crosses_the_cutoff_of_messages():
    """Value and slope at both kinds of border: the bond's length, and a neighbour's neighbour."""
    model = random_model()
    steps = torch.tensor([-2e-3, -1e-3, 0.0, 1e-3, 2e-3])
    for fixed in ([0.0], [0.0, 2.0]):  # the far atom is a neighbour of the centre, then of its neighbour
        values = []
        for step in steps:
            line = [*fixed, fixed[-1] + 3.5 + float(step)]
            atoms = Atoms(["Ne", "Ar", "Ne"][: len(line)], [[x, 0, 0] for x in line])
            values.append(model._messages(*message_input(model, atoms), mean=True)[0, 0].clone())
        values = torch.stack(values)
        assert (values[-1] - values[-2]).abs().max() == 0
        assert values.diff(dim=0).abs().max() < 1e-6 * model.messages[0].weight.abs().max()
    near = Atoms(["Ne", "Ar", "Ne"], [[0, 0, 0], [2.0, 0, 0], [4.0, 0, 0]])
    alone = near[:2]
    first, second = (model._messages(*message_input(model, a), mean=True)[0] for a in (near, alone))
    assert (first - second).abs().max() > 1e-3  # an atom beyond the cutoff of bonds matters through the neighbour


def message_input(model, atoms):
    nb = batch_of(atoms, model.cutoff, model.elements, model.dtype).neighbourhoods
    return nb, model.channels(nb)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rank", [3, 8, 12])
def test_the_compiled_form_equals_the_plain_one(instruction_set, dtype, rank):
    model = random_model(message_rank=rank).to(dtype)
    nb, channels = message_input(model, structure())
    for mean in (True, False):
        plain = model.plain_messages(nb, channels, mean)
        found = model._messages(nb, channels, mean)
        assert plain.abs().max() > 0.1
        assert (found - plain).abs().max() < {torch.float64: 1e-12, torch.float32: 1e-5}[dtype] * plain.abs().max()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rank", [1, 3, 8, 12])
def test_the_compiled_channels_equal_the_plain_ones(instruction_set, dtype, rank):
    """Also for more centres than a block holds, for an element without any, and for an atom without neighbours."""
    model = random_model(message_rank=rank, elements=("Ne", "Kr", "Ar")).to(dtype)
    atoms = structure(n=16).repeat((3, 1, 1)) + Atoms("Ne", [[3.0, 3.0, 40.0]])
    atoms.pbc = False
    nb = batch_of(atoms, model.cutoff, model.elements, model.dtype).neighbourhoods
    assert int((nb.vectors.norm(dim=1) > 3.5).sum()) and not int(nb.first[-1] - nb.first[-2])
    for factor in (1.0, 1.7):
        model.surroundings.maps.mul_(factor)
        plain = model.surroundings(nb.within(3.5))
        found = model.channels(nb)
        assert found.shape == plain.shape and plain.abs().max() > 1
        assert (found - plain).abs().max() < {torch.float64: 1e-13, torch.float32: 5e-6}[dtype] * plain.abs().max()
    with pytest.raises(ValueError, match="dtype"):
        model.channels(nb._replace(vectors=nb.vectors.half()))
    none = nb._replace(species=nb.species[:0], first=nb.first[:1])
    assert model.channels(none).shape == (16, 0, model.surroundings.rank)


def test_members_and_their_mean_agree():
    model, atoms = random_model(), structure()
    nb, channels = message_input(model, atoms)
    members = model.members(nb, channels)
    assert members.std(dim=1).max() > 0.1
    assert torch.allclose(members.mean(1), model(nb), rtol=0, atol=1e-12)


def test_features_times_weights_are_the_tensors():
    model, atoms = random_model(), structure()
    nb, channels = message_input(model, atoms)
    bonds = model.bonds(nb)
    for s, part in enumerate(model.messages):
        chosen = (nb.species == s).nonzero()[:, 0]
        row = torch.full_like(nb.species, -1).index_copy(0, chosen, torch.arange(len(chosen)))[bonds.centre]
        features = message_features(channels, bonds, row, len(chosen), range(len(ELEMENTS)))
        expected = part(channels, bonds, row, len(chosen))
        found = torch.einsum("nkf,mf->nmk", features, part.weight.flatten(1))
        assert torch.allclose(found, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


def test_a_function_of_neighbours_surroundings_is_learnt():
    """A teacher whose tensors need messages: a fit with them finds it, one without does not."""
    teacher = random_model(seed=5, message_rank=2)
    errors = {}
    for cutoff in (3.5, 0.0):
        frames = []
        for seed in range(40):
            atoms = structure(seed)
            batch = batch_of(atoms, 4.5, ELEMENTS, torch.float64)
            pairs = (batch.neighbourhoods, batch.centre, batch.neighbour)
            known = torch.ones(len(atoms), dtype=torch.bool)
            labels = {"efg": teacher(batch.neighbourhoods), "known": known, "member_weights": torch.ones(len(atoms), 1)}
            frames.append(Prepared(PairList(*pairs), atoms.get_volume(), labels))
        before = [frame.labels["efg"].clone() for frame in frames]
        student = EFGModel(
            ELEMENTS, cutoff=4.5, n_radial=6, lmax=3, channels=0, message_cutoff=cutoff, message_rank=12
        ).double()
        fit_linear(student, frames[:35], [str(k) for k in range(35)], seed=0)
        wrong = [student(f.pairs.neighbourhoods) - b for f, b in zip(frames[35:], before[35:], strict=True)]
        errors[cutoff] = float((torch.cat(wrong).square().mean() / torch.cat(before).square().mean()).sqrt())
    assert errors[3.5] < 0.02
    assert errors[0.0] > 5 * errors[3.5]


def test_there_are_no_more_channels_than_densities():
    atoms = structure()
    atoms.symbols[:] = "Ar"
    model = random_model(elements=("Ar",), cutoff=4.0, message_rank=8)
    assert model.surroundings.rank == RADIAL
    batch = batch_of(atoms, 4.0, ("Ar",), torch.float64)
    model.surroundings.fit(batch.neighbourhoods.within(3.5))
    nb, channels = message_input(model, atoms)
    assert channels.shape == (16, len(atoms), RADIAL)
    plain = model.plain_messages(nb, channels, mean=True)
    assert (model._messages(nb, channels, mean=True) - plain).abs().max() < 1e-12 * plain.abs().max()


def test_many_bonds_of_all_lengths_are_sorted_apart():
    """More bonds of each kind than a vector has lanes, centres in no order of elements, and pairs beyond the cutoff."""
    model = random_model(elements=("Ne", "Ar", "Kr"), cutoff=6.0, message_cutoff=4.0)
    atoms = structure(n=16, a=9.0)
    atoms.symbols[3::5] = "Kr"
    nb, channels = message_input(model, atoms)
    assert len(nb.within(4.0).vectors) < len(nb.vectors)
    plain = model.plain_messages(nb.within(4.0), channels, mean=False)
    for given in (nb, nb.within(4.0)):
        assert (model._messages(given, channels, mean=False) - plain).abs().max() < 1e-12 * plain.abs().max()


def test_messages_between_elements_go_as_far_as_they_are_told():
    """A length of their own, longer or shorter than others, does what leaving out the rest does."""
    lengths = {"Ne": {"Ar": 5.5, "Kr": 0}, "Kr": {"Kr": 2.9}}
    shape = {"elements": ("Ne", "Ar", "Kr"), "cutoff": 6.0, "message_cutoff": 4.0}
    model, usual = random_model(**shape, message_cutoffs=lengths), random_model(**shape)
    far = random_model(**shape, message_cutoffs={"Ne": {"Ar": 5.5}})
    atoms = structure(n=16, a=9.0)
    atoms.symbols[3::5] = "Kr"
    nb, channels = message_input(model, atoms)
    plain = model.plain_messages(nb, channels, mean=False)
    assert (model._messages(nb, channels, mean=False) - plain).abs().max() < 1e-12 * plain.abs().max()
    before, further = (other.plain_messages(nb, channels, mean=False) for other in (usual, far))
    neon, argon, krypton = (nb.species == k for k in range(3))
    scale = plain.abs().max()
    assert torch.allclose(plain[argon], before[argon], rtol=0, atol=1e-12)
    assert (further - before)[neon].abs().max() > 1e-2 * scale and not (further - before)[~neon].any()
    assert (plain - before)[krypton].abs().max() > 1e-3 * scale
    for part in far.messages:
        part.weight[:, 2] = 0  # nothing from krypton
    assert torch.allclose(plain[neon], far.plain_messages(nb, channels, mean=False)[neon], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [{}, {"channels": 4, "outputs": 4}, {"message_cutoff": 0.0}])
def test_centres_see_as_far_as_they_are_told(shape):
    """A shorter cutoff of an element's centres does what a model of that cutoff does, and nothing to others."""
    common = {"elements": ELEMENTS, "n_radial": 4, "channels": 0, "committee": 2, "message_cutoff": 3.5, **shape}
    lengths = {"message_cutoffs": {"Ne": {"Ar": 3.9}}} if common["message_cutoff"] else {}
    models = []
    for cutoffs in ({"cutoff": 5.5, "centre_cutoffs": {"Ne": 4.0}}, {"cutoff": 4.0}, {"cutoff": 5.5}):
        torch.manual_seed(3)
        model = EFGModel(**common, **lengths, **cutoffs).double()
        for number, weights in enumerate(model.buffers()):
            if weights.is_floating_point() and not weights.any():  # not the standardising constants
                weights.normal_(std=0.3, generator=torch.Generator().manual_seed(number))
        models.append(model)
    atoms = structure(a=7.5)
    both, near, far = (tensors(model, atoms) for model in models)
    neon = torch.tensor([symbol == "Ne" for symbol in atoms.get_chemical_symbols()])
    scale = both.abs().max()
    assert (both - near)[neon].abs().max() < 1e-12 * scale and (both - far)[~neon].abs().max() < 1e-12 * scale
    assert (both - far)[neon].abs().max() > 1e-2 * scale and (both - near)[~neon].abs().max() > 1e-2 * scale
    nb = batch_of(atoms, 5.5, ELEMENTS, torch.float64).neighbourhoods
    vectors = nb.vectors.clone().requires_grad_(True)
    assert (models[0](nb._replace(vectors=vectors)) - both).abs().max() < 1e-12 * scale  # by operations of torch


def test_a_fit_with_shorter_sight_is_that_of_a_model_of_this_cutoff():
    """For the element that it was given to; another learns what a model without it learns."""
    rng = np.random.default_rng(0)
    frames = []
    for seed in range(8):
        batch = batch_of(structure(seed, a=7.5), 5.5, ELEMENTS, torch.float64)
        n = len(batch.neighbourhoods.species)
        efg = torch.from_numpy(l2_to_cartesian(rng.normal(size=(n, 5))))
        labels = {"efg": efg, "known": torch.ones(n, dtype=torch.bool), "member_weights": torch.ones(n, 1)}
        frames.append(Prepared(PairList(batch.neighbourhoods, batch.centre, batch.neighbour), 420.0, labels))
    parts = []
    for cutoffs in ({"cutoff": 5.5, "centre_cutoffs": {"Ne": 4.0}}, {"cutoff": 4.0}, {"cutoff": 5.5}):
        model = EFGModel(ELEMENTS, n_radial=4, lmax=2, channels=0, **cutoffs).double()
        fit_linear(model, copy.deepcopy(frames), [str(k) for k in range(8)], seed=0)
        parts.append(torch.stack([part.triple for part in model.linear]))
    both, near, far = parts
    assert torch.allclose(both[0], near[0], rtol=1e-6, atol=1e-9) and torch.allclose(
        both[1], far[1], rtol=1e-6, atol=1e-9
    )
    assert not torch.allclose(near[0], far[0], rtol=0.1) and not torch.allclose(near[1], far[1], rtol=0.1)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"Xe": 4.0}, "centre_cutoffs: Xe is no element of the model, which has Ne Ar"),
        ({"Ne": 4.6}, "centre_cutoffs of Ne: 4.6 angstrom is not from the message_cutoff of 3 to the cutoff of 4.5"),
        ({"Ne": 2.9}, "centre_cutoffs of Ne: 2.9 angstrom is not from the message_cutoff of 3"),
        (
            {"Ne": 4.0, "Ar": 4.2},
            "centre_cutoffs: no centre sees as far as the cutoff of 4.5 angstrom, lower it to 4.2",
        ),
    ],
)
def test_cutoffs_of_centres_that_cannot_be_are_refused(wrong, told):
    with pytest.raises(ModelFileError, match=told):
        EFGModel(ELEMENTS, cutoff=4.5, channels=0, message_cutoff=3.0, centre_cutoffs=wrong)
    with pytest.raises(ModelFileError, match=r"of Ne: 0 angstrom is not from 0\.1 to the cutoff of 4\.5"):
        EFGModel(ELEMENTS, cutoff=4.5, channels=0, centre_cutoffs={"Ne": 0})
    with pytest.raises(ModelFileError, match=r"Ne from Ar: 3\.9 angstrom is not from 0 to the cutoff of 3\.8"):
        lengths = {"message_cutoffs": {"Ne": {"Ar": 3.9}}, "centre_cutoffs": {"Ne": 3.8}}
        EFGModel(ELEMENTS, cutoff=4.5, channels=0, message_cutoff=3.0, **lengths)


def test_a_file_keeps_messages(tmp_path):
    model, atoms = random_model(message_cutoffs={"Ne": {"Ar": 4.2}}), structure()
    assert not torch.equal(tensors(model, atoms), tensors(random_model(), atoms))
    save_model(tmp_path / "efg.safetensors", model)
    loaded = load_model(tmp_path / "efg.safetensors", dtype="float64")
    assert torch.equal(tensors(loaded, atoms), tensors(model, atoms))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"Ne": {"Xe": 3.0}}, "Xe is no element of the model, which has Ne Ar"),
        ({"Xe": {}}, "Xe is no element of the model"),
        ({"Ne": {"Ar": 4.6}}, "Ne from Ar: 4.6 angstrom is not from 0 to the cutoff of 4.5"),
        ({"Ne": {"Ar": -1.0}}, "Ne from Ar: -1 angstrom is not from 0"),
    ],
)
def test_cutoffs_of_messages_that_cannot_be_are_refused(wrong, told):
    with pytest.raises(ModelFileError, match=f"message_cutoffs.*{told}"):
        EFGModel(ELEMENTS, cutoff=4.5, channels=0, message_cutoff=3.0, message_cutoffs=wrong)
    with pytest.raises(ModelFileError, match="message_cutoffs: the model has no messages, set message_cutoff too"):
        EFGModel(ELEMENTS, cutoff=4.5, channels=0, message_cutoffs=wrong)


@pytest.mark.parametrize("wrong", [{"linear": False, "channels": 4}, {"message_cutoff": 5.0}, {"message_rank": 0}])
def test_messages_that_cannot_be_sent_are_refused(wrong):
    with pytest.raises(ModelFileError, match="messages need"):
        EFGModel(ELEMENTS, **{"cutoff": 4.5, "channels": 0, "message_cutoff": 3.0, **wrong})


@pytest.mark.parametrize(("centres", "pairs"), [(4000, 200000), (5, 200000), (4000, 70), (1, 1)])
def test_portions_of_a_rank_give_the_same_tensors(tmp_path, monkeypatch, centres, pairs):
    """A rank with many atoms is evaluated a portion at a time: here portions of a few atoms, or of one."""
    model = random_model(2, committee=2)
    save_model(tmp_path / "m.safetensors", model)
    nb = batch_of(structure(), model.cutoff, model.elements, torch.float64).neighbourhoods
    own = [nb.species.numpy(), nb.first.numpy(), nb.neighbour_species.numpy(), nb.vectors.numpy().copy()]
    monkeypatch.setattr(native, "CENTRES_PER_PORTION", centres)
    monkeypatch.setattr(native, "PAIRS_PER_PORTION", pairs)
    efg = NativeEFG(str(tmp_path / "m.safetensors"), "float64")
    sent = np.empty((len(nb.species), efg.message_width))
    efg.messages(*own, sent)
    found = efg.evaluate_with_messages(*own, nb.neighbour.numpy(), sent)
    exact = matrix_to_six(model(nb).detach().numpy())
    np.testing.assert_allclose(found, exact, atol=1e-12 * np.abs(exact).max())
