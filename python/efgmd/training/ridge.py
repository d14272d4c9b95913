"""The linear part of an EFG model by ridge regression, with sizes and regularisation chosen by leaving runs out.

Features come in parts (`efgmd.training.parts`), each with a size and a decay length of its own
(`efgmd.training.shares`), so that a model may offer more than the frames can teach: what does not help on runs left out
becomes small.
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
from efgmd.models.linear import LinearTensor
from efgmd.models.message_products import MessageProducts, product_features
from efgmd.models.messages import MessageTensor, Surroundings, message_features
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.tensors import cartesian_to_l2, l2_to_cartesian
from efgmd.training.dataset import Prepared, collate
from efgmd.training.evaluation import scale_spread
from efgmd.training.parts import Install, Pairs, Part, Sent, SentProducts, Triples
from efgmd.training.regression import Ridge
from efgmd.training.shares import Share, ShareSearch, some_centres, spread

FloatArray = NDArray[np.float64]
Fittable = TypeVar("Fittable", bound=torch.nn.Module)

_MESSAGES = 500  # combinations of messages kept


@dataclass
class LinearFit:
    """What the fit says about one element.

    Attributes
    ----------
    shares
        Of the parts of the features, by name: ``pairs``, ``triples``, ``messages from X``, ``products``.
    penalty
        Ridge parameter, relative to the mean square of the features.
    error
        RMSE/sigma on runs left out, each predicted from all others. It is less than on new runs, by a tenth with 25
        runs, since shares and penalty were chosen by it.
    spread_scale
        Errors on runs left out over the spread that a committee without them has there, if it was calibrated so.
    """

    shares: dict[str, Share]
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
        wanted = target[chosen] / scale
        linear = copy.deepcopy(cast(LinearTensor, model.linear[s])).double()
        own = block, model.backbone.basis, s, linear
        parts: dict[str, Part] = {"pairs": Pairs(*own), "triples": Triples(*own)}
        if messages:
            parts |= messages.parts(model, s, torch.from_numpy(chosen))
        shares = _shares(parts, wanted, run[chosen])
        matrix, install = _features(parts, shares, len(chosen))
        solution = Ridge(matrix, wanted, run[chosen])
        weights = bootstrap[run[chosen]] if model.committee > 1 else np.ones((len(chosen), 1))
        solved, scatter = solution.committee(weights, left_out=calibrate)
        for weight in (linear.pair, linear.triple, *_other_weights(model, s)):
            weight.zero_()
        install(solved)
        model.linear[s].load_state_dict(linear.state_dict())
        change[chosen] = scale * solution.gain
        fits[element] = LinearFit(shares, solution.penalty, solution.error)
        if len(scatter):
            # Nine components of a tensor have the sum of squares of five of l = 2.
            sizes = (scale * np.sqrt(np.sum(part**2, axis=1) / 9) for part in (solution.left_out, scatter))
            fits[element].spread_scale = scale_spread(model, element, *sizes)
    shift = torch.from_numpy(l2_to_cartesian(change)).to(labels["efg"])
    for frame, part in zip(frames, torch.split(shift, [frame.n_atoms for frame in frames]), strict=True):
        frame.labels["efg"] = frame.labels["efg"] + part
    model.to(device)
    return fits


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
        self._channels = _fitted(cast(Surroundings, model.surroundings), lambda precise: precise.fit(nb))(nb)
        self._bonds, self._products = model.bonds(nb), None
        if model.products:
            self._products = _fitted(model.products, lambda precise: precise.fit(nb, self._channels, self._bonds))
            self._own = self._products.own(nb)

    def parts(self, model: EFGModel, element: int, chosen: Tensor) -> dict[str, Part]:
        """Parts of the chosen centres of one element."""
        row, n = self._bonds.rows_among(chosen), len(chosen)
        out: dict[str, Part] = {}
        for sender, name in enumerate(model.elements):
            features = message_features(self._channels, self._bonds, row, n, [sender]).numpy()
            if features.any():
                cutoff, receiver = float(model.message_cutoffs[element, sender]), model.messages[element]
                basis = model.backbone.basis
                part = Sent(features, cutoff, basis.r0, sender, cast(MessageTensor, receiver))
                out[f"messages from {name}"] = part
        if self._products and element in self._products.centres:
            sent = self._products.messages(self._channels, self._bonds, row, n, element)
            products = product_features(self._own[:, chosen].contiguous(), sent).numpy()
            out["products"] = SentProducts(products, element, cast(MessageProducts, model.products))
        return out


def _fitted(module: Fittable, fit: Callable[[Fittable], None]) -> Fittable:
    """A copy in double precision of a part of a model after it was fitted; its numbers are those of the model."""
    precise = copy.deepcopy(module).double()
    fit(precise)
    module.load_state_dict(precise.state_dict())  # rounds to the precision of the model
    precise.load_state_dict(module.state_dict())
    return precise


def _shares(parts: dict[str, Part], target: FloatArray, run: NDArray[np.int64]) -> dict[str, Share]:
    """Sizes and decay lengths that err least on runs left out."""
    rows = some_centres(len(target))
    matrices = {name: {d: part.form(d, rows)[0] for d in part.decays} for name, part in parts.items()}
    return ShareSearch(matrices, target[rows], run[rows]).compute().shares


def _features(parts: dict[str, Part], shares: dict[str, Share], count: int) -> tuple[FloatArray, Install]:
    """Features of all centres ``(5 n, F)`` at their sizes, and what sets weights ``(members, F)``.

    Messages from all elements are reduced together to the combinations that vary most.
    """
    rows = np.arange(count)
    others: list[tuple[FloatArray, Install]] = []
    sent: list[tuple[FloatArray, Install]] = []
    for name, part in parts.items():
        features, install = part.form(shares[name].decay, rows)
        factor = shares[name].size / spread(features)
        (sent if isinstance(part, Sent) else others).append((factor * features, _scaled(install, factor)))
    if sent:
        every, receive = _joined(sent)
        reduced, back = _reduced(every)
        others.append((reduced, lambda weights: receive(weights @ back.T)))
    matrix, install = _joined(others)
    return matrix.reshape(5 * count, -1), install


def _joined(parts: Sequence[tuple[FloatArray, Install]]) -> tuple[FloatArray, Install]:
    """Features of several parts side by side, and what hands each part its own of their weights."""
    ends = np.cumsum([features.shape[2] for features, _ in parts])[:-1]

    def install_each(weights: FloatArray) -> None:
        for (_, install), own in zip(parts, np.split(weights, ends, axis=1), strict=True):
            install(own)

    return np.concatenate([features for features, _ in parts], axis=2), install_each


def _scaled(install: Install, factor: float) -> Install:
    return lambda weights: install(factor * weights)


def _reduced(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The combinations of features ``(n, 5, F)`` that vary most, and the orthonormal map ``(F, R)`` to them."""
    flat = features.reshape(-1, features.shape[2])
    values, vectors = np.linalg.eigh(flat.T @ flat)
    kept = np.flatnonzero(values > 1e-8 * values[-1])[-_MESSAGES:]
    return features @ vectors[:, kept], vectors[:, kept]


def _other_weights(model: EFGModel, element: int) -> list[Tensor]:
    """Weights of messages to one element, and of their products."""
    messages = [cast(MessageTensor, model.messages[element]).weight] if len(model.messages) else []
    return [*messages, model.products.weight[element]] if model.products else messages
