"""A small ScaleShiftMACE (two layers of messages), trained for two epochs."""

import shutil
from pathlib import Path

import pytest
from lammps_cases import ELEMENT_LIST, columns, read_dump, succeed, write_data
from third_party_cases import compare, compare_moving_slab, perovskite_cell

pytestmark = pytest.mark.third_party
TOLERANCE = {"float64": 1e-10, "float32": 2e-5}
TRAINING = """
--name small --model ScaleShiftMACE --r_max 4.5 --num_interactions 2 --hidden_irreps 8x0e+8x1o --MLP_irreps 8x0e
--max_ell 2 --correlation 2 --num_radial_basis 4 --batch_size 2 --valid_batch_size 2 --max_num_epochs 2 --device cpu
--default_dtype float64 --energy_key energy --forces_key forces --E0s average --seed 1 --plot False
"""


@pytest.fixture(scope="module")
def trained(tool, labelled):
    tool("mace_run_train", *TRAINING.split(), "--train_file", labelled, "--valid_file", labelled)
    return tool.folder / "small.model"


@pytest.fixture(scope="module", params=["float64", "float32"])
def exported(request, tool, trained):
    """Precision, model for ML-IAP, ASE calculator."""
    from mace.calculators import MACECalculator

    tool("mace_create_lammps_model", trained, "--format", "mliap", "--dtype", request.param)
    file = trained.with_name(f"{request.param}.pt")
    shutil.move(f"{trained}-mliap_lammps.pt", file)
    return request.param, file, MACECalculator(model_paths=[str(trained)], device="cpu", default_dtype=request.param)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_equal_to_its_calculator(exported, tmp_path, ranks):
    dtype, file, calculator = exported
    compare(tmp_path, file, perovskite_cell(), calculator, ranks, TOLERANCE[dtype])


def test_ranks_without_atoms(exported, tmp_path):
    dtype, file, calculator = exported
    compare_moving_slab(tmp_path, file, calculator, 4, TOLERANCE[dtype])


def test_with_the_efg_compute(exported, tmp_path):
    """EFG tensors of this package on the trajectory of another package's force field."""
    atoms = perovskite_cell(2)
    write_data(tmp_path / "start.data", atoms)
    model = Path(__file__).parents[2] / "potentials" / "mapbi3" / "efg.safetensors"
    deck = "units metal\natom_modify map array\nread_data start.data\ncomm_modify cutoff 9.0\n"
    dump = f"compute efg all efg/atom {model} {ELEMENT_LIST} dtype float64\ndump 1 all custom 1 {{}}.dump id c_efg[*]\n"
    with_mace = f"pair_style mliap unified {exported[1]} 0\npair_coeff * * {ELEMENT_LIST}\n" + dump.format("mace")
    alone = "pair_style zero 6.0\npair_coeff * *\n" + dump.format("alone")
    variables = {"EFGMD_ALLOW_PICKLE": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    for part in (with_mace, alone):
        succeed(tmp_path, deck + part + "run 0\n", 2, **variables)
    names = [f"c_efg[{k + 1}]" for k in range(6)]
    first, second = (columns(read_dump(tmp_path / f"{name}.dump")[0], *names) for name in ("mace", "alone"))
    assert abs(second).max() > 0.1 and first == pytest.approx(second, abs=1e-10)
