"""EFG models whose atoms send messages: LAMMPS on 1, 2 and 4 ranks against the ASE calculator."""

from functools import cache

import numpy as np
import pytest
from lammps_cases import (
    ELEMENT_LIST,
    ELEMENTS,
    columns,
    efg_columns,
    perovskite,
    read_dump,
    run_lmp,
    succeed,
    write_data,
)

TOLERANCE = {"float64": 1e-8, "float32": 1e-4}
STRUCTURES = {
    "orthogonal": perovskite(seed=1),
    "triclinic": perovskite(seed=2, tilt=0.12),
    "cell smaller than a bond twice": perovskite((1, 1, 1), seed=4),
}
DECK = """
clear
units metal
{extra}
read_data {name}.data
pair_style zero 5.0
pair_coeff * *
comm_modify cutoff {ghosts}
neighbor 1.0 bin
group iodine type 2
compute efg all efg/atom messages.safetensors {elements} dtype {dtype} members yes uncertainty yes
compute some iodine efg/atom messages.safetensors {elements} dtype {dtype}
compute blind all efg/atom messages.safetensors Pb I NULL NULL NULL dtype {dtype}
dump 1 all custom 1 {name}.dump id type x y z c_efg[*] c_some[*] c_blind[*]
dump_modify 1 format float %.17g
run 0
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small random committee that looks 5.5 angstrom far, and sends messages along bonds of mostly 4.2 angstrom."""
    import torch

    from efgmd.models import EFGModel
    from efgmd.models.io import save_model

    torch.manual_seed(8)
    shape = {"cutoff": 5.5, "n_radial": 6, "lmax": 3, "channels": 0, "message_cutoff": 4.2, "message_rank": 3}
    shape["centre_cutoffs"] = {"N": 4.2, "H": 4.6}
    lengths = {"I": {"I": 5.4}, "H": {"Pb": 0.0, "H": 3.0}}
    products = {"I": ["Pb", "C"], "H": ["N"]}
    efg = EFGModel(ELEMENTS, committee=2, message_cutoffs=lengths, message_products=products, **shape)
    efg.surroundings.maps.normal_(std=0.3)
    for weights in (efg.products.own.maps, efg.products.own.mean, efg.products.offset, *efg.products.mixing):
        weights.normal_(std=0.3)
    efg.products.weight.normal_(std=0.1)
    for linear, messages in zip(efg.linear, efg.messages, strict=True):
        linear.pair.normal_()
        messages.weight.normal_(std=0.3)
    path = tmp_path_factory.mktemp("model") / "messages.safetensors"
    save_model(path, efg)
    return path


@pytest.fixture(scope="module")
def plain_model(tmp_path_factory):
    """A small random model without messages."""
    import torch

    from efgmd.models import EFGModel
    from efgmd.models.io import save_model

    torch.manual_seed(9)
    path = tmp_path_factory.mktemp("plain") / "efg.safetensors"
    save_model(path, EFGModel(ELEMENTS, cutoff=5.5, n_radial=4, lmax=2, channels=3, hidden=8))
    return path


@pytest.fixture(scope="module")
def evaluated(model, tmp_path_factory):
    """`evaluated(dtype, ranks)[structure]`: dumped frame; one launch for all structures."""

    @cache
    def evaluate(dtype, ranks):
        folder = tmp_path_factory.mktemp("run")
        (folder / "messages.safetensors").write_bytes(model.read_bytes())
        deck = ""
        for k, atoms in enumerate(STRUCTURES.values()):
            write_data(folder / f"{k}.data", atoms)
            deck += DECK.format(name=k, extra="", ghosts=6.5, elements=ELEMENT_LIST, dtype=dtype)
        succeed(folder, deck, ranks)
        return {name: read_dump(folder / f"{k}.dump")[0] for k, name in enumerate(STRUCTURES)}

    return evaluate


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(
    ("dtype", "ranks"),
    [("float64", 1), ("float64", 2), ("float64", 4), ("float32", 4)],
)
def test_lammps_equals_ase(evaluated, model, dtype, ranks, structure):
    from efgmd.calculators import EFGCalculator

    atoms, frame = STRUCTURES[structure], evaluated(dtype, ranks)[structure]
    calculator = EFGCalculator(model, dtype=dtype)
    expected = calculator.get_property("efg", atoms)
    largest = np.abs(expected).max()
    assert np.abs(efg_columns(frame) - expected).max() < TOLERANCE[dtype] * largest
    members = columns(frame, *(f"c_efg[{k}]" for k in range(9, 21))).reshape(-1, 2, 6)
    assert np.abs(members.mean(1) - columns(frame, *(f"c_efg[{k}]" for k in range(1, 7)))).max() < 1e-5 * largest
    uncertainty = calculator.get_property("efg_uncertainty", atoms)
    assert np.abs(frame["c_efg[7]"] - uncertainty).max() < TOLERANCE[dtype] * largest
    assert uncertainty.min() > 1e-3 * largest
    iodine = frame["type"] == 2
    assert np.abs(efg_columns(frame, "some")[iodine] - expected[iodine]).max() < TOLERANCE[dtype] * largest
    assert not efg_columns(frame, "some")[~iodine].any()
    seen = frame["type"] <= 2
    framework = calculator.get_property("efg", atoms[seen])
    assert np.abs(efg_columns(frame, "blind")[seen] - framework).max() < TOLERANCE[dtype] * largest


def test_a_linear_model_without_messages_equals_ase(tmp_path):
    """Such models are evaluated in compiled form from the first step on."""
    import torch

    from efgmd.calculators import EFGCalculator
    from efgmd.models import EFGModel
    from efgmd.models.io import save_model

    torch.manual_seed(9)
    efg = EFGModel(ELEMENTS, cutoff=5.5, n_radial=4, lmax=2, channels=0, committee=2)
    for linear in efg.linear:
        linear.pair.normal_()
    save_model(tmp_path / "messages.safetensors", efg)
    atoms = STRUCTURES["orthogonal"]
    write_data(tmp_path / "start.data", atoms)
    deck = DECK.format(name="start", extra="", ghosts=6.5, elements=ELEMENT_LIST, dtype="float64")
    for script in (deck, deck.replace("members yes uncertainty yes", "")):
        succeed(tmp_path, script, 2)
        frame = read_dump(tmp_path / "start.dump")[0]
        expected = EFGCalculator(tmp_path / "messages.safetensors", dtype="float64").get_property("efg", atoms)
        assert np.abs(efg_columns(frame) - expected).max() < 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("style", "ranks"),
    [
        ("processors 1 1 4", 4),  # two of the ranks have no atoms at the start
        ("processors * * *", 4),
        ("comm_style tiled", 4),
        ("comm_style tiled", 1),
    ],
)
def test_tensors_once_atoms_have_moved_between_ranks(model, tmp_path, style, ranks):
    """Free flight at 1000 K, tensors sampled on the way: neighbours, ghosts and owners change."""
    from efgmd.calculators import EFGCalculator

    (tmp_path / "messages.safetensors").write_bytes(model.read_bytes())
    atoms = perovskite((2, 2, 1), seed=6)
    cell = atoms.cell.array.copy()
    cell[2, 2] *= 2.5
    atoms.set_cell(cell)
    write_data(tmp_path / "start.data", atoms)
    deck = f"""
units metal
{style}
read_data start.data
pair_style zero 5.0
pair_coeff * *
comm_modify cutoff 6.5
neighbor 1.0 bin
neigh_modify every 1 delay 0 check yes
{"balance 1.0 rcb" if "tiled" in style else ""}
velocity all create 1000 7
timestep 0.002
fix move all nve
compute efg all efg/atom messages.safetensors {ELEMENT_LIST} dtype float64
dump 1 all custom 50 run.dump id x y z proc c_efg[*]
dump_modify 1 format float %.17g
run 200
"""
    succeed(tmp_path, deck, ranks)
    calculator = EFGCalculator(model, dtype="float64")
    frames = read_dump(tmp_path / "run.dump")
    assert len(frames) == 5
    for frame in frames:
        atoms.positions = columns(frame, "x", "y", "z")
        expected = calculator.get_property("efg", atoms)
        assert np.abs(efg_columns(frame) - expected).max() < 1e-8 * np.abs(expected).max()
    owners = np.array([frame["proc"] for frame in frames])
    assert ranks == 1 or (owners != owners[0]).any()
    if style == "processors 1 1 4":
        assert len(np.unique(owners[0])) < ranks


def test_a_failure_before_messages_are_sent_ends_all_ranks(model, tmp_path):
    """A position is no number; one rank, far from that atom, sees nothing of it."""
    (tmp_path / "messages.safetensors").write_bytes(model.read_bytes())
    write_data(tmp_path / "start.data", perovskite((1, 1, 6), seed=7))
    extra = "processors 1 1 4"
    deck = DECK.format(name="start", extra=extra, ghosts=6.5, elements=ELEMENT_LIST, dtype="float64")
    deck += "group one id 5\nvariable bad atom exp(1000)-exp(1000)\n"
    deck += "fix push one addforce v_bad 0 0\nfix move all nve\nrun 5\n"
    finished = run_lmp(tmp_path, deck, 4)
    assert finished.status != 0
    (line,) = finished.errors
    assert "Compute efg/atom" in line and "position of atom 5 is not a finite number" in line


@pytest.mark.parametrize(
    "script",
    [
        "run 0\n{compute}",
        "{compute}\nrun 1\ndelete_atoms group hydrogen compress no",
        "{compute}\nrun 1\ncreate_atoms 2 single 3.1 3.2 3.3",
    ],
    ids=["defined after the run", "atoms removed after the run", "atoms added after the run"],
)
@pytest.mark.parametrize("messages", [True, False])
def test_a_compute_asked_from_outside_of_a_run_refuses(model, plain_model, tmp_path, script, messages):
    """What is exchanged with ghosts is set up by a run, for the atoms that it had; no atom may be moved by asking."""
    (tmp_path / "messages.safetensors").write_bytes((model if messages else plain_model).read_bytes())
    write_data(tmp_path / "start.data", STRUCTURES["orthogonal"])
    begin = "units metal\nread_data start.data\npair_style zero 5.5\npair_coeff * *\ngroup hydrogen type 5\n"
    deck = begin + script.format(compute=f"compute efg all efg/atom messages.safetensors {ELEMENT_LIST}")
    code = f"""
from efgmd.coupling import create_lammps
lmp = create_lammps(["-log", "none", "-screen", "none"])
lmp.commands_string({deck!r})
before = lmp.numpy.extract_atom("x")[:lmp.extract_setting("nlocal")].copy()
try:
    lmp.numpy.extract_compute("efg", 1, 2)
except Exception as error:
    print("refused:", error, flush=True)
print("moved by", abs(lmp.numpy.extract_atom("x")[:len(before)] - before).max(), flush=True)
"""
    (tmp_path / "ask.py").write_text(code)
    finished = run_lmp(tmp_path, "", 1, program=("python", "ask.py"))
    assert finished.status == 0, finished.output
    assert "refused: " in finished.output and "write run 0 first" in finished.output
    assert "moved by 0.0" in finished.output
