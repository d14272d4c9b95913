"""The linear part of an EFG model by ridge regression, with the regularisation chosen by leaving runs out.

The features are the components k of each element's densities and their products (see `efgmd.models.linear`), and of
messages and their products (`efgmd.models.messages`, `efgmd.models.message_products`). The penalty on their weights
states what is expected of them: contributions of neighbours fall off with distance as 1 / (1 + (r / d)^4), the form of
weighting found best for SOAP descriptors (Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018)), and
combinations of densities that hardly vary carry little. The decay length d of each element is chosen like its
regularisation.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efgmd.errors import DataError
from efgmd.models import EFGModel
from efgmd.models.density import DensityBasis, radial_functions
from efgmd.models.linear import LinearTensor, triple_paths
from efgmd.models.message_products import MessageProducts, product_features
from efgmd.models.messages import MessageTensor, Surroundings, message_features
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.products import Path, table
from efgmd.tensors import cartesian_to_l2, l2_to_cartesian
from efgmd.training.dataset import Prepared, collate
from efgmd.training.evaluation import scale_spread
from efgmd.training.regression import Ridge

FloatArray = NDArray[np.float64]
Fittable = TypeVar("Fittable", bound=torch.nn.Module)

_DECAY_LENGTHS = (2.0, 3.0, 4.5)  # angstrom
_RANK = 24  # combinations of densities kept in the products, for each degree
_MESSAGES = 500  # combinations of messages kept
_CHUNK = 256  # centres whose products are formed at once


@dataclass
class LinearFit:
    """What the fit says about one element.

    Attributes
    ----------
    decay
        Decay length of the contributions of neighbours, angstrom.
    penalty
        Ridge parameter, relative to the mean square of the features.
    error
        RMSE/sigma on runs left out, each predicted from all others.
    spread_scale
        Errors on runs left out over the spread that a committee without them has there, if it was calibrated so.
    """

    decay: float
    penalty: float
    error: float
    spread_scale: float | None = None


def fit_linear(
    model: EFGModel, frames: Sequence[Prepared], runs: Sequence[str], seed: int, calibrate: bool = False
) -> dict[str, LinearFit]:
    """Fit the linear part of a model whose scales are set, to the atoms that have tensors.

    The labels of the frames are changed so that the network, trained on them next, learns what the linear part misses
    on runs it was not fitted to: each label grows by the difference of the full fit and the fit without its run.

    Parameters
    ----------
    model
        The weights of its ``linear``, ``surroundings``, ``messages`` and ``products`` are set. Those of a committee
        differ by weights for the runs (the Bayesian bootstrap, as in `efgmd.training.dataset.weigh_members`) and have
        the full fit as their mean.
    frames
        Training frames.
    runs
        Name of the run of each frame.
    seed
        Of the committee's weights.
    calibrate
        Scale the spread of the committee, too, to the errors on runs left out: afterwards the mean square of the
        expected errors there is that of the actual ones, and their largest is the unit of `EFGModel.extrapolation`.
        A committee of one, and one whose members do not differ, is left as it is.

    Returns
    -------
    Fit of each element that has tensors.

    Raises
    ------
    DataError
        An element has tensors in one run only, so that nothing tells how strong the regularisation must be.
    """
    names, device = sorted(set(runs)), model.scales.device
    model.cpu()  # the algebra is NumPy's
    batch, labels = collate(frames)
    nb = batch.neighbourhoods
    nb = nb._replace(vectors=nb.vectors.double())
    blocks, layout = model.backbone.densities(nb)
    target, known = cartesian_to_l2(labels["efg"].double().cpu().numpy()), labels["known"].cpu()
    messages = _Messages(model, nb) if model.surroundings else None
    run = np.array([names.index(name) for name in runs])[batch.frame.numpy()]
    bootstrap = np.random.default_rng((seed, 17)).exponential(size=(len(names), model.committee))
    change = np.zeros_like(target)
    fits = {}
    centres = torch.split(layout.order, layout.counts)
    for s, (block, atoms) in enumerate(zip(blocks, centres, strict=True)):
        block, chosen = block[:, known[atoms]], atoms[known[atoms]].numpy()
        if not len(chosen):
            continue
        element = model.elements[s]
        if len(set(run[chosen])) < 2:
            raise DataError(
                f"{element} has tensors in one run of the training frames only, so the linear part cannot be "
                "regularised: add runs, or leave it out with --set linear=false"
            )
        scale = float(model.scales[s])
        sent = messages.features(s, torch.from_numpy(chosen)) if messages else None
        matrix = sent.matrix if sent else None
        wanted = target[chosen] / scale
        features, solution = _best(block, model.backbone.basis, s, matrix, wanted, run[chosen])
        weights = bootstrap[run[chosen]] if model.committee > 1 else np.ones((len(chosen), 1))
        solved, spread = solution.committee(weights, left_out=calibrate)
        features.install(cast(LinearTensor, model.linear[s]), solved)
        if sent:
            sent.install(model, s, solved)
        change[chosen] = scale * solution.gain
        fits[element] = LinearFit(features.decay, solution.penalty, solution.error)
        if len(spread):
            # Nine components of a tensor have the sum of squares of five of l = 2.
            sizes = (scale * np.sqrt(np.sum(part**2, axis=1) / 9) for part in (solution.left_out, spread))
            fits[element].spread_scale = scale_spread(model, element, *sizes)
    shift = torch.from_numpy(l2_to_cartesian(change)).to(labels["efg"])
    for frame, part in zip(frames, torch.split(shift, [frame.n_atoms for frame in frames]), strict=True):
        frame.labels["efg"] = frame.labels["efg"] + part
    model.to(device)
    return fits


@dataclass
class _Sent:
    """What messages bring to the features of one element's centres.

    Attributes
    ----------
    matrix
        ``(n, 5, F)``: messages reduced to few features, then products with own densities.
    reduction
        ``(weights, features)``, from the reduced messages to all.
    products
        Number and scale of the features of products.
    """

    matrix: FloatArray
    reduction: FloatArray
    products: tuple[int, float]

    def install(self, model: EFGModel, element: int, weights: FloatArray) -> None:
        """Set a model's weights from those of the matrix, the last of ``(members, F)``."""
        count, scale = self.products
        split = weights.shape[1] - count
        if count:
            part = cast(MessageProducts, model.products).weight[element]
            part.copy_(torch.from_numpy(scale * weights[:, split:]).view_as(part))
        messages = cast(MessageTensor, model.messages[element]).weight
        full = weights[:, split - self.reduction.shape[1] : split] @ self.reduction.T
        messages.copy_(torch.from_numpy(full).view_as(messages))


class _Messages:
    """Messages between the atoms of frames, in double precision, once the channels of the model are set.

    Parameters
    ----------
    model
        Its ``surroundings`` and the channels of its ``products`` are fitted to the atoms.
    nb
        All of them.
    """

    def __init__(self, model: EFGModel, nb: Neighbourhoods) -> None:
        self._kinds = range(len(model.elements))
        self._channels = _fitted(cast(Surroundings, model.surroundings), lambda precise: precise.fit(nb))(nb)
        self._bonds, self._products = model.bonds(nb), None
        if model.products:
            self._products = _fitted(model.products, lambda precise: precise.fit(nb, self._channels, self._bonds))
            self._own = self._products.own(nb)

    def features(self, element: int, chosen: Tensor) -> _Sent:
        """Features of chosen centres of one element."""
        row, n = self._bonds.rows_among(chosen), len(chosen)
        every = message_features(self._channels, self._bonds, row, n, self._kinds).numpy()
        flat = every.reshape(5 * n, -1)
        values, vectors = np.linalg.eigh(flat.T @ flat)
        kept = np.flatnonzero(values > 1e-8 * values[-1])[-_MESSAGES:]
        reduced = every @ vectors[:, kept]
        scale = 1 / _spread(reduced)
        reduction, reduced = scale * vectors[:, kept], scale * reduced
        if not self._products or element not in self._products.centres:
            return _Sent(reduced, reduction, (0, 0.0))
        sent = self._products.messages(self._channels, self._bonds, row, n, element)
        products = product_features(self._own[:, chosen].contiguous(), sent).numpy()
        scale = 1 / _spread(products)
        return _Sent(np.concatenate([reduced, scale * products], axis=2), reduction, (products.shape[2], scale))


def _fitted(module: Fittable, fit: Callable[[Fittable], None]) -> Fittable:
    """A copy in double precision of a part of a model after it was fitted; its numbers are those of the model."""
    precise = copy.deepcopy(module).double()
    fit(precise)
    module.load_state_dict(precise.state_dict())  # rounds to the precision of the model
    precise.load_state_dict(module.state_dict())
    return precise


def _best(
    block: Tensor,
    basis: DensityBasis,
    element: int,
    messages: FloatArray | None,
    target: FloatArray,
    run: NDArray[np.int64],
) -> "tuple[_Features, Ridge]":
    """Features and solution of the decay length that errs least on runs left out."""
    best: tuple[_Features, Ridge] | None = None
    for decay in _DECAY_LENGTHS:
        features = _Features(block, basis, element, decay, messages)
        solution = Ridge(features.matrix, target, run)
        if best is None or solution.error < best[1].error:
            best = features, solution
    assert best is not None
    return best


class _Features:
    """Features of one element's centres as a matrix ``(5 n, F)``, and the way from its weights to the model's.

    Parameters
    ----------
    block
        Densities ``(lm, n, K)``, float64.
    basis, element
        Their basis, and which element the centres are of.
    decay
        Decay length, angstrom.
    messages
        Scaled features of messages ``(n, 5, M)``, the last of the matrix, if the model has them.
    """

    def __init__(
        self, block: Tensor, basis: DensityBasis, element: int, decay: float, messages: FloatArray | None = None
    ) -> None:
        self._lmax, self.decay = basis.lmax, decay
        n, width = block.shape[1:]
        weighting = _weighting(basis, element, decay)
        self._mean = block[0].mean(0).numpy()
        self._maps, reduced = [], []
        for l in range(basis.lmax + 1):
            part = block[l * l : (l + 1) ** 2].numpy() - (self._mean if l == 0 else 0.0)
            weighted = part.reshape(-1, width) @ weighting
            values, vectors = np.linalg.eigh(weighted.T @ weighted)
            kept = np.flatnonzero(values > 1e-12 * values[-1])[-_RANK:]
            self._maps.append(weighting @ vectors[:, kept])
            reduced.append(part @ self._maps[-1])
        pair = block[4:9].numpy().transpose(1, 0, 2)
        triple = np.concatenate([self._products(reduced, p, n) for p in triple_paths(basis.lmax)], axis=2)
        self._scale_pair, self._scale_triple = (1 / _spread(part) for part in (pair, triple))
        self._width = width
        parts = [self._scale_pair * pair, self._scale_triple * triple]
        if messages is not None:
            parts.append(messages)
        self.matrix = np.concatenate(parts, axis=2).reshape(5 * n, -1)

    def _products(self, reduced: list[FloatArray], path: Path, n: int) -> FloatArray:
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

    def install(self, linear: LinearTensor, weights: FloatArray) -> None:
        """Set a model's weights ``(members, F)``."""
        for member, row in enumerate(weights):
            pair = self._scale_pair * row[: self._width]
            position = self._width
            for number, path in enumerate(triple_paths(self._lmax)):
                left, right = self._maps[path.l1], self._maps[path.l2]
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
                full = self._scale_triple * left @ core @ right.T
                if path.l1 == 0:
                    pair = pair - self._mean @ full
                linear.triple[member, number] = torch.from_numpy(full)
            linear.pair[member] = torch.from_numpy(pair)


def _coupling(path: Path) -> FloatArray:
    """Coefficients ``(2 l1 + 1, 2 l2 + 1, 5)`` of a product."""
    t = table((path.l1 + 1) ** 2, (path.l2 + 1) ** 2, (path,))
    out = np.zeros((t.rows_a, t.rows_b, 5))
    out[tuple(t.terms.T.numpy())] = t.values.numpy()
    return out[path.l1**2 :, path.l2**2 :]


def _spread(features: FloatArray) -> float:
    """Root of the mean over centres and components of the sum of squares over features ``(n, 5, F)``."""
    return float(np.sqrt(np.mean(np.sum(features**2, axis=2)))) or 1.0


def _weighting(basis: DensityBasis, element: int, decay: float) -> FloatArray:
    """Matrix ``(K, K)`` from densities to those of radial functions that are weighted by distance."""
    cutoff = basis.cutoffs[element]
    r = torch.linspace(0.0, cutoff, 400, dtype=torch.float64)
    functions = radial_functions(r, cutoff, basis.r0, basis.n_radial).numpy()
    weighted = functions / (1 + (r.numpy()[:, None] / decay) ** 4)
    one = np.linalg.lstsq(functions, weighted, rcond=None)[0]
    return np.asarray(np.kron(np.eye(basis.n_species), one), dtype=np.float64)
