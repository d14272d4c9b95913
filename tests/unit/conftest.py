"""Fixtures of the unit tests; also lets them import helper modules (pytest's importlib mode adds no path)."""

import sys
from pathlib import Path

import pytest

from efgmd import _kernels

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(params=["generic", "x86-64-v3", "x86-64-v4"])
def instruction_set(request):
    """Run a test with the kernels of each instruction set that the processor has; skip the others."""
    best = _kernels.instruction_set()
    try:
        _kernels.set_instruction_set(request.param)
    except ValueError as error:  # which ones may be refused is checked in test_kernels
        assert request.param in str(error)
        pytest.skip(str(error))
    assert _kernels.instruction_set() == request.param
    yield
    _kernels.set_instruction_set(best)


@pytest.fixture(scope="module")
def frames_file(tmp_path_factory):
    """Two frames of each of ten runs, with tensors."""
    from toy_data import write_frames

    path = tmp_path_factory.mktemp("toy") / "frames.xyz"
    write_frames(path, runs=10, per_run=2)
    return path
