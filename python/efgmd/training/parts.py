"""Parts of the features of a linear EFG model, and the way from their weights to the model's.

The features are the components k of each element's densities and their products (see `efgmd.models.linear`), messages
from each element (`efgmd.models.messages`), and their products with own densities (`efgmd.models.message_products`).
Contributions of neighbours fall off with distance as 1 / (1 + (r / d)^4), the form of weighting found best for SOAP
descriptors (Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018)), and combinations of densities that
hardly vary carry little.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efgmd.models.density import DensityBasis, radial_functions
from efgmd.models.linear import LinearTensor, triple_paths
from efgmd.models.message_products import MessageProducts
from efgmd.models.messages import RADIAL, MessageTensor
from efgmd.models.products import Path, table

FloatArray = NDArray[np.float64]
Install = Callable[[FloatArray], None]

_OWN_DECAYS = (1.5, 2.0, 3.0, 4.5, 7.0)  # angstrom
_MESSAGE_DECAYS = (2.0, 4.0, 100.0)
_RANK = 24  # combinations of densities kept in the products, for each degree
_CHUNK = 256  # centres whose products are formed at once


class Part(Protocol):
    """Features of one element's centres.

    Attributes
    ----------
    decays
        Decay lengths to choose from, angstrom.
    """

    decays: tuple[float, ...]

    def form(self, decay: float, rows: NDArray[np.int64]) -> tuple[FloatArray, Install]:
        """Features ``(n, 5, F)`` of some centres, and what adds weights ``(members, F)`` to the model's."""
        ...


class _OfDensities:
    """Made of the densities of an element's centres.

    Parameters
    ----------
    block
        Densities of all centres ``(lm, n, K)``, float64.
    basis, element
        Their basis, and which element the centres are of.
    linear
        Gets the weights.
    """

    decays: tuple[float, ...] = _OWN_DECAYS

    def __init__(self, block: Tensor, basis: DensityBasis, element: int, linear: LinearTensor) -> None:
        self._block, self._basis, self._element, self._linear = block, basis, element, linear


class Pairs(_OfDensities):
    """Sums over neighbours; parameters as of `_OfDensities`."""

    def form(self, decay: float, rows: NDArray[np.int64]) -> tuple[FloatArray, Install]:
        """See `Part`."""
        weighting = _weighting(self._basis, self._element, decay)
        features = self._block[4:9, rows].numpy().transpose(1, 0, 2) @ weighting

        def install(weights: FloatArray) -> None:
            self._linear.pair += torch.from_numpy(weights @ weighting.T).to(self._linear.pair)

        return features, install


class Triples(_OfDensities):
    """Sums over pairs of neighbours; parameters as of `_OfDensities`."""

    def form(self, decay: float, rows: NDArray[np.int64]) -> tuple[FloatArray, Install]:
        """See `Part`."""
        weighting, block = _weighting(self._basis, self._element, decay), self._block[:, rows]
        width, mean = block.shape[2], block[0].mean(0).numpy()
        maps, reduced = [], []
        for l in range(self._basis.lmax + 1):
            part = block[l * l : (l + 1) ** 2].numpy() - (mean if l == 0 else 0.0)
            weighted = part.reshape(-1, width) @ weighting
            values, vectors = np.linalg.eigh(weighted.T @ weighted)
            kept = np.flatnonzero(values > 1e-12 * values[-1])[-_RANK:]
            maps.append(weighting @ vectors[:, kept])
            reduced.append(part @ maps[-1])
        paths = triple_paths(self._basis.lmax)
        features = np.concatenate([_products(reduced, path, len(rows)) for path in paths], axis=2)
        return features, lambda weights: self._install(weights, maps, mean)

    def _install(self, weights: FloatArray, maps: list[FloatArray], mean: FloatArray) -> None:
        for member, row in enumerate(weights):
            position = 0
            for number, path in enumerate(triple_paths(self._basis.lmax)):
                left, right = maps[path.l1], maps[path.l2]
                shape = left.shape[1], right.shape[1]
                if path.l1 == path.l2:
                    i, j = np.triu_indices(shape[0])
                    part = row[position : position + len(i)] * np.where(i == j, 1.0, 2**0.5)
                    core = np.zeros(shape)
                    core[i, j] = part
                    core = 0.5 * (core + core.T)
                    position += len(i)
                else:
                    core = row[position : position + shape[0] * shape[1]].reshape(shape)
                    position += core.size
                full = left @ core @ right.T
                if path.l1 == 0:
                    self._linear.pair[member] -= torch.from_numpy(mean @ full).to(self._linear.pair)
                self._linear.triple[member, number] += torch.from_numpy(full).to(self._linear.triple)


class Sent:
    """Messages from the neighbours of one element.

    Parameters
    ----------
    features
        ``(n, 5, paths * n_radial * rank)`` of all centres, see `efgmd.models.messages.message_features`.
    cutoff, r0
        Of the bonds' functions, angstrom.
    sender
        Index of the element.
    messages
        Gets the weights.
    """

    decays: tuple[float, ...] = _MESSAGE_DECAYS

    def __init__(self, features: FloatArray, cutoff: float, r0: float, sender: int, messages: MessageTensor) -> None:
        self._features, self._cutoff, self._r0 = features, cutoff, r0
        self._sender, self._messages = sender, messages

    def form(self, decay: float, rows: NDArray[np.int64]) -> tuple[FloatArray, Install]:
        """See `Part`."""
        weighting = _radial_weighting(self._cutoff, self._r0, RADIAL, decay)
        _, paths, _, rank = self._messages.weight.shape[1:]
        every = self._features[rows].reshape(len(rows), 5, paths, RADIAL, rank)
        weighted = np.einsum("ncpkq,kj->ncpjq", every, weighting, optimize=True).reshape(len(rows), 5, -1)

        def install(weights: FloatArray) -> None:
            own = weights.reshape(-1, paths, RADIAL, rank)
            full = torch.from_numpy(np.einsum("kj,mpjq->mpkq", weighting, own))
            self._messages.weight[:, self._sender] += full.to(self._messages.weight)

        return weighted, install


class SentProducts:
    """Products of own densities with messages.

    Parameters
    ----------
    features
        ``(n, 5, F)`` of all centres, see `efgmd.models.message_products.product_features`.
    element
        Of the centres.
    products
        Gets the weights.
    """

    decays: tuple[float, ...] = (0.0,)

    def __init__(self, features: FloatArray, element: int, products: MessageProducts) -> None:
        self._features, self._weight = features, products.weight[element]

    def form(self, decay: float, rows: NDArray[np.int64]) -> tuple[FloatArray, Install]:
        """See `Part`; there is no decay."""

        def install(weights: FloatArray) -> None:
            self._weight += torch.from_numpy(weights).view_as(self._weight).to(self._weight)

        return self._features[rows], install


def _products(reduced: list[FloatArray], path: Path, n: int) -> FloatArray:
    """Products of all components, ``(n, 5, R1 R2)``; of l1 = l2 each pair once."""
    coefficients = _coupling(path)
    a, b = reduced[path.l1], reduced[path.l2]
    parts = []
    for begin in range(0, n, _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        out = np.einsum("ank,bnq,abm->nmkq", a[:, rows], b[:, rows], coefficients, optimize=True)
        if path.l1 == path.l2:
            i, j = np.triu_indices(a.shape[2])
            parts.append(out[:, :, i, j] * np.where(i == j, 1.0, 2**0.5))
        else:
            parts.append(out.reshape(*out.shape[:2], -1))
    return np.concatenate(parts)


def _coupling(path: Path) -> FloatArray:
    """Coefficients ``(2 l1 + 1, 2 l2 + 1, 5)`` of a product."""
    t = table((path.l1 + 1) ** 2, (path.l2 + 1) ** 2, (path,))
    out = np.zeros((t.rows_a, t.rows_b, 5))
    out[tuple(t.terms.T.numpy())] = t.values.numpy()
    return out[path.l1**2 :, path.l2**2 :]


def _weighting(basis: DensityBasis, element: int, decay: float) -> FloatArray:
    """Matrix ``(K, K)`` from densities to those of radial functions that are weighted by distance."""
    one = _radial_weighting(basis.cutoffs[element], basis.r0, basis.n_radial, decay)
    return np.asarray(np.kron(np.eye(basis.n_species), one), dtype=np.float64)


def _radial_weighting(cutoff: float, r0: float, count: int, decay: float) -> FloatArray:
    """Matrix ``(count, count)`` from radial functions to those that are weighted by distance."""
    r = torch.linspace(0.0, cutoff, 400, dtype=torch.float64)
    functions = radial_functions(r, cutoff, r0, count).numpy()
    weighted = functions / (1 + (r.numpy()[:, None] / decay) ** 4)
    return np.asarray(np.linalg.lstsq(functions, weighted, rcond=None)[0])
