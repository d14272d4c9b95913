"""Energy model: one scalar per centre, forces by differentiation."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import torch
from ase.data import atomic_numbers
from torch import nn

from efgmd.errors import ModelFileError
from efgmd.models.backbone import mlp
from efgmd.models.fused import FusedEnergy
from efgmd.models.model import LocalModel
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.repulsion import ShortRangeRepulsion
from efgmd.models.training_range import TrainingRange


class EnergyModel(LocalModel):
    """Strictly local machine-learned force field.

    E = sum_i [reference(element i) + network(neighbourhood i)] + screened nuclear repulsion of atoms far inside bonding
    distance.

    Parameters
    ----------
    elements
        Chemical symbols.
    cutoff, r0
        Cutoff radius and length of the radial map, angstrom.
    n_radial, lmax, channels
        Radial functions, highest degree of harmonics, channels.
    hidden
        Width of the two hidden layers.
    """

    kind = "energy"
    references: torch.Tensor

    def __init__(
        self,
        elements: tuple[str, ...],
        cutoff: float = 6.0,
        r0: float = 2.0,
        n_radial: int = 8,
        lmax: int = 3,
        channels: int = 24,
        hidden: int = 64,
    ):
        if channels < 1:
            raise ModelFileError("an energy model needs channels")
        super().__init__(elements, cutoff=cutoff, r0=r0, n_radial=n_radial, lmax=lmax, channels=channels, hidden=hidden)
        sizes = [network.n_invariants for network in self.backbone.elements()]
        self.heads = nn.ModuleList([mlp([n, hidden, hidden, 1]) for n in sizes])
        self.repulsion = ShortRangeRepulsion([atomic_numbers[e] for e in self.elements])
        self.training_range = TrainingRange(len(sizes), sizes[0])
        self._compiled: FusedEnergy | None = None
        self.register_buffer("references", torch.zeros(len(self.elements), dtype=torch.float64))

    def set_energy_references(self, references: dict[str, float]) -> None:
        """Set the energy of each element's isolated-atom term, eV.

        Raises
        ------
        ModelFileError
            If an element is missing.
        """
        missing = [e for e in self.elements if e not in references]
        if missing:
            raise ModelFileError(
                f"no reference energy for {', '.join(missing)}: give one for each element of the model"
            )
        self.references.copy_(torch.tensor([references[e] for e in self.elements], dtype=torch.float64))

    def _apply(self, fn, recurse=True):
        """Convert everything but the element references, which stay in float64 so that large ones cost no digits."""
        exact = self.references
        self._compiled = None
        super()._apply(fn, recurse)
        self.references = exact.to(self.references.device)
        return self

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Take other weights."""
        self._compiled = None
        return super().load_state_dict(*args, **kwargs)

    def requires_grad_(self, requires_grad: bool = True) -> "EnergyModel":
        """Fix the parameters, or let them be trained; see :meth:`energies_and_pair_forces`."""
        self._compiled = None
        return super().requires_grad_(requires_grad)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the compiled form behind in copies."""
        return {**self.__dict__, "_compiled": None}

    def interaction(self, nb: Neighbourhoods) -> torch.Tensor:
        """Per-centre energies ``(N,)`` in eV without the element references, in the model's dtype."""

        networks = self.backbone.elements()

        def head(s: int, block: torch.Tensor) -> torch.Tensor:
            return self.heads[s](networks[s](block).invariants)[:, 0]

        return self.per_centre(nb, head) + self.repulsion(nb)

    def forward(self, nb: Neighbourhoods) -> torch.Tensor:
        """Per-centre energies ``(N,)`` in eV, float64 so that large references cost no digits."""
        return self.interaction(nb).double() + self.references[nb.species]

    def energies_and_pair_forces(self, nb: Neighbourhoods) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies ``(N,)`` in eV (float64) and dE_total/d vectors ``(P, 3)`` in eV/angstrom.

        The force of a pair is added to its centre and taken from its neighbour. A model whose parameters are fixed
        (``requires_grad_(False)``, as loaded from a file) is evaluated by a compiled kernel on the CPU; after the first
        evaluation its weights must not change, unless it is fixed anew.
        """
        if not len(nb.species):
            return nb.vectors.new_zeros(0, dtype=torch.float64), torch.zeros_like(nb.vectors)
        compiled = self._fused() if nb.vectors.device.type == "cpu" else None
        energies, gradient = compiled(nb) if compiled else self.differentiated(nb)
        return energies + self.references[nb.species], gradient

    def extrapolation(self, nb: Neighbourhoods) -> torch.Tensor:
        """Grade of extrapolation of each centre ``(N,)``, see `efgmd.models.training_range.TrainingRange`.

        Of the atoms in the training and validation frames 999 of 1000 are below 1; at twice that and more, energy and
        forces are guesses.

        Raises
        ------
        ModelFileError
            If the model did not record its training atoms.
        """
        if not self.training_range.known:
            raise ModelFileError(
                "this energy model did not record the atoms that it was trained on: train it with this version of efgmd"
            )
        if not len(nb.species):
            return nb.vectors.new_zeros(0)
        networks = self.backbone.elements()
        return self.per_centre(nb, lambda s, block: self.training_range(s, networks[s](block).invariants))

    def record_training(
        self, training: Callable[[], Iterable[Neighbourhoods]], validation: Callable[[], Iterable[Neighbourhoods]]
    ) -> None:
        """Record the training atoms, for :meth:`extrapolation`.

        Parameters
        ----------
        training, validation
            Each call gives the neighbourhoods of all these frames, in any portions.
        """
        networks = self.backbone.elements()

        def features(batches: Callable[[], Iterable[Neighbourhoods]]) -> Iterator[tuple[int, torch.Tensor]]:
            for nb in batches():
                for s, block in enumerate(self.backbone.densities(nb)[0]):
                    if block.shape[1]:
                        yield s, networks[s](block).invariants

        self.training_range.record(lambda: features(training), lambda: features(validation))

    def differentiated(self, nb: Neighbourhoods) -> tuple[torch.Tensor, torch.Tensor]:
        """Interaction energies ``(N,)``, float64, and their derivative ``(P, 3)``, by automatic differentiation."""
        vectors = nb.vectors.detach().requires_grad_(True)
        with torch.enable_grad():
            energies = self.interaction(nb._replace(vectors=vectors))
            (gradient,) = torch.autograd.grad(energies.sum(), vectors)
        return energies.detach().double(), gradient

    def _fused(self) -> FusedEnergy | None:
        """The compiled form of a model whose parameters are fixed, made when first needed; None for others."""
        if self._compiled is None and not any(parameter.requires_grad for parameter in self.parameters()):
            heads = cast(list[nn.Sequential], list(self.heads))
            self._compiled = FusedEnergy(self.backbone.elements(), heads, self.repulsion, self.dtype)
        return self._compiled
