"""The compiled kernels against plain torch and e3nn, on every instruction set this processor has."""

from pathlib import Path

import pytest
import torch

from efgmd import _kernels
from efgmd.models import Neighbourhoods
from efgmd.models.density import CentreLayout, DensityBasis, density, radial_functions, reference_density
from efgmd.models.products import paths, product, reference_product, table

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}


def neighbourhoods(dtype, seed=0, centres=7):
    """Random neighbourhoods of 3 elements with an isolated centre, one element absent among centres, and far pairs."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 9, (centres,), generator=generator)
    counts[2] = 0
    pairs = int(counts.sum())
    directions = torch.randn(pairs, 3, generator=generator, dtype=torch.float64)
    lengths = 0.5 + 5.0 * torch.rand(pairs, 1, generator=generator, dtype=torch.float64)
    return Neighbourhoods(
        species=2 * torch.randint(0, 2, (centres,), generator=generator),
        first=torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
        neighbour_species=torch.randint(0, 3, (pairs,), generator=generator),
        vectors=(directions / directions.norm(dim=1, keepdim=True) * lengths).to(dtype),
    )


def close(a, b, dtype):
    scale = b.abs().max().clamp(min=1.0)
    assert a.shape == b.shape
    assert (a - b).abs().max() <= TOLERANCE[dtype] * scale


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("lmax", [1, 2, 3, 4])
def test_density_and_both_derivatives_match_the_reference(instruction_set, lmax, dtype):
    nb = neighbourhoods(dtype)
    basis = DensityBasis(cutoffs=(5.0, 3.0, 4.0), r0=2.0, n_radial=7, lmax=lmax)
    layout = CentreLayout.build(nb.species, basis)
    vectors = nb.vectors.clone().requires_grad_(True)
    results = []
    for function in (density, reference_density):
        features = function(nb._replace(vectors=vectors), basis, layout)
        weights = torch.linspace(-1, 1, len(features), dtype=dtype).requires_grad_(True)
        (gradient,) = torch.autograd.grad((features * weights).sum(), vectors, create_graph=True)
        direction = torch.linspace(1, -1, vectors.numel(), dtype=dtype).view_as(vectors)
        (tangent,) = torch.autograd.grad((gradient * direction).sum(), weights)
        results.append((features, gradient, tangent))
    for fast, slow in zip(*results, strict=True):
        close(fast.detach(), slow.detach(), dtype)
    blocks = layout.blocks(results[0][0], basis)
    assert [b.shape[1] for b in blocks] == torch.bincount(nb.species, minlength=3).tolist()


def test_radial_functions_vanish_to_second_order_at_the_cutoff():
    step = 1e-3
    at = torch.tensor([5.0 - 2 * step, 5.0 - step, 5.0, 5.1], dtype=torch.float64)
    b = radial_functions(at, 5.0, 2.0, 8)
    assert b[2:].abs().max() == 0
    assert b[1].abs().max() < 1e-8  # (2 step / rc)^3 is 6e-11 times polynomials of size 1
    assert ((b[0] - 2 * b[1] + b[2]) / step**2).abs().max() < 1e-2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("width", [3, 64, 150])
def test_product_matches_the_reference(instruction_set, width, dtype):
    path_list = paths(3, 3, (0, 1, 2, 3))
    t = table(16, 16, path_list)
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(16, width, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    close(product(a, b, t), reference_product(a, b, t), dtype)
    close(product(a, a, t), reference_product(a, a, t), dtype)


@pytest.mark.parametrize("same", [True, False])
def test_product_gradients_of_first_and_second_order(same):
    t = table(9, 9, paths(2, 2, (0, 2), symmetric=same))
    generator = torch.Generator().manual_seed(2)
    a = torch.randn(9, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    b = torch.randn(9, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    if same:
        assert torch.autograd.gradcheck(lambda x: product(x, x, t), (a,))
        assert torch.autograd.gradgradcheck(lambda x: product(x, x, t), (a,))
    else:
        assert torch.autograd.gradcheck(lambda x, y: product(x, y, t), (a, b))
        assert torch.autograd.gradgradcheck(lambda x, y: product(x, y, t), (a, b))


def test_product_refuses_shapes_that_do_not_fit():
    t = table(9, 9, paths(2, 2, (0,)))
    with pytest.raises(ValueError, match="do not fit"):
        product(torch.zeros(4, 5), torch.zeros(9, 5), t)


#: What the processor must be able to do, by instruction set, as Linux names it.
FLAGS = {
    "generic": set(),
    "x86-64-v3": {"avx2", "fma"},
    "x86-64-v4": {"avx512f", "avx512dq", "avx512bw", "avx512vl"},
}


@pytest.fixture
def available():
    """Instruction sets that the processor has, the best last."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        pytest.skip("no /proc/cpuinfo")
    lines = [line.split(":")[1].split() for line in information.read_text().splitlines() if line.startswith("flags")]
    flags = set(lines[0]) if lines else set()
    return [name for name, needed in FLAGS.items() if needed <= flags]


def test_every_instruction_set_of_the_processor_can_be_chosen_and_no_other(available):
    best = _kernels.instruction_set()
    assert best == available[-1]
    for name in FLAGS:
        if name in available:
            _kernels.set_instruction_set(name)
            assert _kernels.instruction_set() == name
        else:
            with pytest.raises(ValueError, match=f"this processor has no {name}"):
                _kernels.set_instruction_set(name)
    _kernels.set_instruction_set(best)


def test_the_instruction_sets_are_different_code(available):
    """Those with fused multiplication and addition round once where the others round twice."""
    if len(available) < 2:
        pytest.skip("the processor has one instruction set only")
    best = _kernels.instruction_set()
    nb, t = neighbourhoods(torch.float32), table(16, 16, paths(3, 3, (0, 1, 2, 3)))
    basis = DensityBasis(cutoffs=(5.0, 3.0, 4.0), r0=2.0, n_radial=7, lmax=3)
    layout = CentreLayout.build(nb.species, basis)
    a, b = torch.randn(2, 16, 150, generator=torch.Generator().manual_seed(1))
    found = {}
    for name in available:
        _kernels.set_instruction_set(name)
        found[name] = density(nb, basis, layout), product(a, b, t)
    _kernels.set_instruction_set(best)
    for name in available[1:]:
        for fused, plain in zip(found[name], found["generic"], strict=True):
            share = float((fused != plain).double().mean())
            assert 0.05 < share < 0.95, name
