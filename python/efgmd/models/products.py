"""Channel-wise Clebsch-Gordan products of features stacked by spherical harmonic, and their sparse tables.

Features are tensors of shape ``(rows, ...)``: row lm of one irrep after the other (l = 0, 1, ...), and everything else
(centres, channels) multiplied element by element. Only products of natural parity, l1 + l2 + l3 even, are kept, so that
every feature of degree l has parity (-1)^l.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import torch

from efgmd import _kernels
from efgmd.wigner import wigner_3j


@dataclass(frozen=True)
class Path:
    """One product l1 x l2 -> l3; offsets give the row where the stack that holds each factor begins."""

    l1: int
    l2: int
    l3: int
    offset_a: int = 0
    offset_b: int = 0

    def shifted(self, offset_a: int, offset_b: int) -> "Path":
        """Return the same product on stacks that begin at the given rows."""
        return Path(self.l1, self.l2, self.l3, offset_a, offset_b)


def paths(lmax_a: int, lmax_b: int, degrees: tuple[int, ...], symmetric: bool = False) -> tuple[Path, ...]:
    """All natural-parity paths into the given output degrees, in the order of ``degrees``.

    With ``symmetric`` the factors are the same features, so only l1 <= l2 is kept.
    """
    return tuple(
        Path(l1, l2, l3)
        for l3 in degrees
        for l1 in range(lmax_a + 1)
        for l2 in range(l1 if symmetric else 0, lmax_b + 1)
        if abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 + l3) % 2 == 0
    )


class ProductTable:
    """Sparse coefficients of out[k] = sum_t c_t a[i_t] b[j_t] for a list of paths.

    Output rows follow the paths, 2 l3 + 1 rows each. Coefficients are Wigner 3j symbols times sqrt(2 l3 + 1),
    so that independent unit-variance factors give unit-variance products.
    """

    def __init__(self, rows_a: int, rows_b: int, terms: torch.Tensor, values: torch.Tensor, rows_out: int):
        self.rows_a, self.rows_b, self.rows_out = rows_a, rows_b, rows_out
        order = torch.argsort(terms[:, 2], stable=True)
        self.terms, self.values = terms[order], values[order]
        self.start = torch.zeros(rows_out + 1, dtype=torch.int64)
        self.start[1:] = torch.bincount(self.terms[:, 2], minlength=rows_out).cumsum(0)
        self.index_a = self.terms[:, 0].to(torch.int32).contiguous()
        self.index_b = self.terms[:, 1].to(torch.int32).contiguous()
        self.coefficient = {d: self.values.to(d).contiguous() for d in (torch.float32, torch.float64)}
        self._adjoints: tuple[ProductTable, ProductTable] | None = None
        self._square_adjoint: ProductTable | None = None

    @classmethod
    def from_paths(cls, rows_a: int, rows_b: int, path_list: tuple[Path, ...]) -> "ProductTable":
        """Table of the given paths for factors with the given numbers of rows."""
        terms, values, offset = [], [], 0
        for path in path_list:
            cg = torch.tensor(wigner_3j(path.l1, path.l2, path.l3)) * (2 * path.l3 + 1) ** 0.5
            index = cg.abs().gt(1e-12).nonzero()
            values.append(cg[tuple(index.T)])
            shift = [path.offset_a + path.l1**2, path.offset_b + path.l2**2, offset]
            terms.append(index + torch.tensor(shift))
            offset += 2 * path.l3 + 1
        return cls(rows_a, rows_b, torch.cat(terms), torch.cat(values), offset)

    def adjoints(self) -> "tuple[ProductTable, ProductTable]":
        """Tables of the gradients: on a from (out, b), and on b from (out, a)."""
        if self._adjoints is None:
            i, j, k = self.terms.T
            on_a = ProductTable(self.rows_out, self.rows_b, torch.stack([k, j, i], 1), self.values, self.rows_a)
            on_b = ProductTable(self.rows_out, self.rows_a, torch.stack([k, i, j], 1), self.values, self.rows_b)
            self._adjoints = on_a, on_b
        return self._adjoints

    def square_adjoint(self) -> "ProductTable":
        """Table of the gradient on a from (out, a) where both factors are the same features."""
        if self._square_adjoint is None:
            on_a, on_b = self.adjoints()
            terms, values = torch.cat([on_a.terms, on_b.terms]), torch.cat([on_a.values, on_b.values])
            unique, inverse = torch.unique(terms, dim=0, return_inverse=True)
            merged = values.new_zeros(len(unique)).index_add(0, inverse, values)
            self._square_adjoint = ProductTable(self.rows_out, self.rows_a, unique, merged, self.rows_a)
        return self._square_adjoint


@cache
def merged_table(path_list: tuple[Path, ...], rows_b: int) -> ProductTable:
    """Table of the sum of paths into one degree, each with left rows of its own.

    The left factor holds the 2 l1 + 1 rows of each path one after the other, the right one the rows of all degrees.
    """
    shifted, begin = [], 0
    for path in path_list:
        shifted.append(path.shifted(begin - path.l1**2, 0))
        begin += 2 * path.l1 + 1
    separate = ProductTable.from_paths(begin, rows_b, tuple(shifted))
    i, j, k = separate.terms.T
    width = 2 * path_list[0].l3 + 1
    return ProductTable(begin, rows_b, torch.stack([i, j, k % width], 1), separate.values, width)


def mixed(stack: torch.Tensor, path_list: tuple[Path, ...], weights: Iterable[torch.Tensor]) -> torch.Tensor:
    """Left factor for :func:`merged_table`: rows ``(sum of 2 l1 + 1, n, C')`` of a stack ``(rows, n, C)``.

    Each path takes its rows l1, their channels mixed by its own weights ``(C, C')``.
    """
    pairs = zip(path_list, weights, strict=True)
    return torch.cat([torch.matmul(stack[path.l1**2 : (path.l1 + 1) ** 2], weight) for path, weight in pairs])


@cache
def table(rows_a: int, rows_b: int, path_list: tuple[Path, ...]) -> ProductTable:
    """Cached :meth:`ProductTable.from_paths`."""
    return ProductTable.from_paths(rows_a, rows_b, path_list)


def reference_product(a: torch.Tensor, b: torch.Tensor, t: ProductTable) -> torch.Tensor:
    """Sparse product by plain torch operations on any device: rows of a and b to rows of the output."""
    i, j, k = t.terms.to(a.device).T
    value = t.values.to(a).view(-1, *[1] * (a.dim() - 1))
    out = a.new_zeros(t.rows_out, *a.shape[1:])
    return out.index_add(0, k, value * a[i] * b[j])


def _kernel(a: torch.Tensor, b: torch.Tensor, t: ProductTable) -> torch.Tensor:
    """Call the compiled kernel."""
    out = a.new_empty(t.rows_out, *a.shape[1:])
    _kernels.product(
        a.dtype == torch.float64,
        t.rows_out,
        a[0].numel(),
        t.start.data_ptr(),
        t.index_a.data_ptr(),
        t.index_b.data_ptr(),
        t.coefficient[a.dtype].data_ptr(),
        a.data_ptr(),
        b.data_ptr(),
        out.data_ptr(),
    )
    return out


class _Product(torch.autograd.Function):
    """Bilinear product whose gradients are products again, so it can be differentiated to any order."""

    @staticmethod
    def forward(ctx, a, b, t):
        a, b = a.contiguous(), b.contiguous()
        ctx.save_for_backward(a, b)
        ctx.table = t
        return _kernel(a, b, t)

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        on_a, on_b = ctx.table.adjoints()
        return _Product.apply(grad, b, on_a), _Product.apply(grad, a, on_b), None


class _Square(torch.autograd.Function):
    """Product of features with themselves; its gradient is one product with a merged table."""

    @staticmethod
    def forward(ctx, a, t):
        a = a.contiguous()
        ctx.save_for_backward(a)
        ctx.table = t
        return _kernel(a, a, t)

    @staticmethod
    def backward(ctx, grad):
        (a,) = ctx.saved_tensors
        return _Product.apply(grad, a, ctx.table.square_adjoint()), None


def product(a: torch.Tensor, b: torch.Tensor, t: ProductTable) -> torch.Tensor:
    """Sparse product, compiled on the CPU and plain torch elsewhere.

    Raises
    ------
    ValueError
        If the shapes do not fit the table or the dtypes differ.
    """
    if a.shape[0] != t.rows_a or b.shape[0] != t.rows_b or a.shape[1:] != b.shape[1:] or a.dtype != b.dtype:
        raise ValueError(f"product: shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit the table")
    if a.device.type == "cpu" and a is b:
        return _Square.apply(a, t)
    if a.device.type == "cpu":
        return _Product.apply(a, b, t)
    return reference_product(a, b, t)
