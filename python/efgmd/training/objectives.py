"""What training minimises, and the errors by which a model is judged on the way."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from efgmd.errors import ConfigError
from efgmd.frames.neighbours import Batch
from efgmd.models import EFGModel
from efgmd.training.dataset import LabelledFrames, Prepared, tensor_counts
from efgmd.training.predictions import predict_efg, predict_energy

EV_PER_A3_IN_GPA = 160.21766208

Labels = Mapping[str, Tensor]


class Sums(dict[str, tuple[float, float]]):
    """Sums of squared errors and numbers of components, by quantity."""

    def add(self, name: str, squared: Tensor) -> None:
        """Add the squares of errors, of any shape."""
        total, count = self.get(name, (0.0, 0.0))
        self[name] = (total + float(squared.sum(dtype=torch.float64)), count + squared.numel())

    def mean(self, name: str) -> float:
        """Mean square of the errors added under a name, 0 if there were none."""
        total, count = self.get(name, (0.0, 0.0))
        return total / count if count else 0.0


def geometric_score(sums: Sums, weights: Mapping[str, float], spreads: Mapping[str, float]) -> float:
    """Weighted geometric mean of the mean squared errors, each relative to its spread; smaller is better.

    Epochs are compared by it because a quantity with few samples and large errors (the few lead atoms of a perovskite,
    say) would decide alone in a sum. In a product every quantity's relative gain counts alike.
    """
    names = [name for name, weight in weights.items() if weight and sums.get(name, (0.0, 0.0))[1]]
    logarithms = [weights[name] * np.log(max(sums.mean(name), 1e-30) / spreads[name] ** 2) for name in names]
    return float(np.exp(sum(logarithms) / sum(weights[name] for name in names)))


class EnergyObjective:
    """Mean squares of the errors of energy per atom, forces and stress, each in units of its spread in the data.

    The spreads make the weights pure numbers that carry over from one data set to the next.

    Parameters
    ----------
    frames
        Training frames, prepared (with references subtracted).
    weights
        Of "energy", "forces" and "stress".
    """

    untaught = "only the stress has one, and no {} frame has a stress"
    default_weights: Mapping[str, float] = {"energy": 1.0, "forces": 1.0, "stress": 0.1}

    def __init__(self, frames: Sequence[Prepared], weights: Mapping[str, float]) -> None:
        per_atom = np.array([float(frame.labels["energy"]) / frame.n_atoms for frame in frames])
        forces = torch.cat([frame.labels["forces"] for frame in frames])
        stress = _voigt(torch.cat([frame.labels["stress"][frame.labels["has_stress"]] for frame in frames]))
        self.spreads = {
            "energy": float(np.std(per_atom)) or 1.0,
            "forces": float(forces.double().square().mean().sqrt()) or 1.0,
            "stress": (float(stress.double().square().mean().sqrt()) if stress.numel() else 0.0) or 1.0,
        }
        self.weights = {**self.default_weights, **weights}
        self.has_stress = bool(stress.numel())

    def teaches(self, frame: Prepared) -> bool:
        """Whether a frame has a label that has a weight."""
        return bool(self.weights["energy"] or self.weights["forces"] or frame.labels["has_stress"])

    def _squares(self, model: nn.Module, batch: Batch, labels: Labels, create_graph: bool) -> dict[str, Tensor]:
        predicted = predict_energy(model, batch, create_graph)
        sizes = torch.bincount(batch.frame, minlength=batch.n_frames)
        mask = labels["has_stress"]
        return {
            "energy": ((predicted.energies - labels["energy"]) / sizes).square(),
            "forces": (predicted.forces - labels["forces"]).square(),
            "stress": (_voigt(predicted.stress[mask]) - _voigt(labels["stress"][mask])).square(),
        }

    def loss(self, model: nn.Module, batch: Batch, labels: Labels) -> Tensor:
        """Loss of a batch, differentiable with respect to the model's parameters."""
        loss = torch.zeros((), dtype=torch.float64, device=batch.volumes.device)
        for name, squares in self._squares(model, batch, labels, create_graph=True).items():
            if squares.numel() and self.weights[name]:
                loss = loss + self.weights[name] / self.spreads[name] ** 2 * squares.mean()
        return loss

    def accumulate(self, sums: Sums, model: nn.Module, batch: Batch, labels: Labels) -> None:
        """Add a batch's squared errors to ``sums``."""
        for name, squares in self._squares(model, batch, labels, create_graph=False).items():
            sums.add(name, squares)

    def mean_loss(self, sums: Sums) -> float:
        """The loss over everything accumulated."""
        return sum(self.weights[name] * sums.mean(name) / self.spreads[name] ** 2 for name in self.spreads)

    def score(self, sums: Sums) -> float:
        """What epochs are compared by, see `geometric_score`."""
        return geometric_score(sums, self.weights, self.spreads)

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Root-mean-square errors under names that carry their units."""
        metrics = {
            "energy_meV_per_atom": 1e3 * sums.mean("energy") ** 0.5,
            "forces_meV_per_A": 1e3 * sums.mean("forces") ** 0.5,
        }
        if self.has_stress:
            metrics["stress_GPa"] = EV_PER_A3_IN_GPA * sums.mean("stress") ** 0.5
        return metrics


def _voigt(stress: Tensor) -> Tensor:
    """Components xx yy zz yz xz xy of tensors of shape ``(B, 3, 3)``."""
    return stress[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


class EFGObjective:
    """Mean square of the tensors' errors in units of each element's sigma, averaged over the elements.

    Every element counts alike, however many atoms it has: the loss is the weighted mean of (RMSE/sigma)^2. Members of a
    committee are trained each on its own errors, with weights of its own for the frames; they are judged by their mean.

    Parameters
    ----------
    data
        Training frames.
    elements
        The model's elements.
    scales
        Sigma of each element, a.u.
    weights
        By element, 1 where not given.
    """

    untaught = "the {} frames have no tensors of an element that is learnt"

    def __init__(
        self,
        data: LabelledFrames,
        elements: Sequence[str],
        scales: Mapping[str, float],
        weights: Mapping[str, float],
    ) -> None:
        counts = tensor_counts(data.frames, elements)
        self.elements = tuple(elements)
        self.sigma = np.nan_to_num([scales[element] for element in elements], nan=1.0)
        weight = np.array([weights.get(element, 1.0) for element in elements]) * (counts > 0)
        self._learnt = counts > 0
        self.weights = weight / (weight.sum() or 1.0)
        # The sum over the atoms of all frames is the weighted mean over elements times the number of frames.
        per_atom = self.weights / self.sigma**2 * len(data.frames) / np.maximum(counts, 1)
        self._per_atom = torch.tensor(per_atom)

    def teaches(self, frame: Prepared) -> bool:
        """Whether an atom of an element that has a weight has a tensor."""
        species = frame.pairs.neighbourhoods.species[frame.labels["known"]]
        return bool(torch.from_numpy(self.weights)[species].any())

    def loss(self, model: nn.Module, batch: Batch, labels: Labels) -> Tensor:
        """Loss of a batch, differentiable with respect to the model's parameters.

        Its mean over batches of as many frames is the loss of all of them.
        """
        known = labels["known"]
        members = cast(EFGModel, model).members(batch.neighbourhoods)[known]
        squares = (members - labels["efg"][known][:, None]).square().mean(dim=(2, 3))
        self._per_atom = self._per_atom.to(squares)
        per_atom = self._per_atom[batch.neighbourhoods.species[known]]
        weighted = per_atom[:, None] * labels["member_weights"][known] * squares
        return weighted.mean(dim=1).sum() / batch.n_frames

    def accumulate(self, sums: Sums, model: nn.Module, batch: Batch, labels: Labels) -> None:
        """Add a batch's squared errors to ``sums``."""
        with torch.no_grad():
            squares = (predict_efg(model, batch) - labels["efg"]).square().mean(dim=(1, 2))
        for k in np.flatnonzero(self._learnt):
            sums.add(self.elements[k], squares[(batch.neighbourhoods.species == k) & labels["known"]])

    def mean_loss(self, sums: Sums) -> float:
        """The loss over everything accumulated."""
        means = np.array([sums.mean(element) for element in self.elements])
        return float((self.weights * means / self.sigma**2).sum())

    def score(self, sums: Sums) -> float:
        """What epochs are compared by, see `geometric_score`."""
        weights = dict(zip(self.elements, self.weights.tolist(), strict=True))
        return geometric_score(sums, weights, dict(zip(self.elements, self.sigma.tolist(), strict=True)))

    def metrics(self, sums: Sums) -> dict[str, float]:
        """RMSE/sigma of each element that occurs."""
        return {
            f"{element}_rmse_per_sigma": (sums.mean(element)) ** 0.5 / float(sigma)
            for element, sigma in zip(self.elements, self.sigma, strict=True)
            if sums.get(element, (0.0, 0.0))[1]
        }


Objective = EnergyObjective | EFGObjective


def check_frames(objective: Objective, name: str, frames: Sequence[Prepared]) -> None:
    """Refuse frames that have nothing to learn or to be judged by.

    Parameters
    ----------
    objective
        Of the training.
    name
        Of the set of frames.
    frames
        All of them.

    Raises
    ------
    ConfigError
        No frame has a label that has a weight.
    """
    if not any(objective.teaches(frame) for frame in frames):
        raise ConfigError(f"weights: {objective.untaught.format(name)}")
