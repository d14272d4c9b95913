"""SevenNet-0 (message passing, float32), whose weights come with the package."""

import pytest
from third_party_cases import compare, compare_moving_slab, perovskite_cell

pytestmark = pytest.mark.third_party
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def exported(tool):
    """SevenNet-0 for ML-IAP."""
    tool("sevenn", "get_model", "7net-0", "--use_mliap", "-o", "sevennet")
    return tool.folder / "sevennet.pt"


@pytest.fixture(scope="module")
def calculator():
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0", device="cpu")


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_equal_to_its_calculator(exported, calculator, tmp_path, ranks):
    compare(tmp_path, exported, perovskite_cell(), calculator, ranks, TOLERANCE)


def test_ranks_without_atoms(exported, calculator, tmp_path):
    compare_moving_slab(tmp_path, exported, calculator, 4, TOLERANCE)
