"""What a model says about a batch of frames: energies, forces and stress by autograd, and EFG tensors."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from efgmd.frames.neighbours import Batch
from efgmd.models import EnergyModel


class EnergyPrediction(NamedTuple):
    """Predictions of an energy model for N atoms in B frames.

    Attributes
    ----------
    atomic
        Energy of each atom, of shape ``(N,)``, eV.
    energies
        Of shape ``(B,)``, eV.
    forces
        Of shape ``(N, 3)``, eV/angstrom.
    stress
        Of shape ``(B, 3, 3)``, eV/angstrom^3, positive under tension; 0 for frames without a volume.
    """

    atomic: Tensor
    energies: Tensor
    forces: Tensor
    stress: Tensor


def predict_energy(model: nn.Module, batch: Batch, create_graph: bool = False) -> EnergyPrediction:
    """Energies, forces and stress of a batch.

    The model is a function of the pair vectors r_ij alone, so with g_ij = dE/dr_ij the force is
    F_i = sum_j g_ij - g_ji and the stress (1/V) sum_ij g_ij (x) r_ij, symmetrised: the derivative of the energy
    with respect to a strain that acts on every pair vector.

    Parameters
    ----------
    model
        Energy model.
    batch
        B frames.
    create_graph
        Keep the graph, so that a loss on forces and stress can be differentiated.
    """
    vectors = batch.neighbourhoods.vectors
    if create_graph:
        vectors = vectors.detach().requires_grad_(True)
        atomic = model(batch.neighbourhoods._replace(vectors=vectors))
        gradient = None
        if atomic.requires_grad:
            (gradient,) = torch.autograd.grad(atomic.sum(), vectors, create_graph=True, allow_unused=True)
        if gradient is None:  # no pairs at all
            gradient = torch.zeros_like(vectors)
    else:
        atomic, gradient = cast(EnergyModel, model).energies_and_pair_forces(batch.neighbourhoods)
    with torch.set_grad_enabled(create_graph):
        forces = gradient.new_zeros((batch.frame.shape[0], 3))
        forces = forces.index_add(0, batch.centre, gradient).index_add(0, batch.neighbour, -gradient)
        outer = gradient[:, :, None] * vectors[:, None, :]
        virial = gradient.new_zeros((batch.n_frames, 3, 3)).index_add(0, batch.frame[batch.centre], outer)
        inverse = torch.where(batch.volumes > 0, 1.0 / batch.volumes.clamp(min=1e-12), 0.0).to(virial.dtype)
        stress = 0.5 * (virial + virial.transpose(1, 2)) * inverse[:, None, None]
        energies = atomic.new_zeros(batch.n_frames).index_add(0, batch.frame, atomic)
    return EnergyPrediction(atomic, energies, forces, stress)


def predict_efg(model: nn.Module, batch: Batch) -> Tensor:
    """EFG tensors of shape ``(N, 3, 3)``, a.u."""
    return model(batch.neighbourhoods)
