"""What the energy and the EFG model have in common: elements, hyperparameters, dispatch of centres to elements."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn

from efgmd.errors import ModelFileError
from efgmd.models.backbone import Backbone
from efgmd.models.neighbourhoods import Neighbourhoods


class LocalModel(nn.Module):
    """A local equivariant model with one network per chemical element.

    Subclasses set ``kind`` and give one head per element, and cutoffs by the element of the centre where these differ.
    """

    kind: ClassVar[str]
    metadata: dict[str, Any]
    sha256: str

    def __init__(self, elements: tuple[str, ...], cutoffs: tuple[float, ...] | None = None, **hyper: Any):
        super().__init__()
        self.elements = tuple(elements)
        if len(set(self.elements)) != len(self.elements) or not self.elements:
            raise ModelFileError(f"elements must be distinct and at least one, got {list(elements)}")
        self._hyper = {"elements": list(self.elements), **hyper}
        cutoffs = cutoffs or (hyper["cutoff"],) * len(elements)
        self.backbone = Backbone(cutoffs, hyper["r0"], hyper["n_radial"], hyper["lmax"], hyper["channels"])

    @property
    def cutoff(self) -> float:
        """Cutoff radius, angstrom; the largest where elements have their own."""
        return float(self._hyper["cutoff"])

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the parameters."""
        return next(self.parameters()).dtype

    def hyperparameters(self) -> dict[str, Any]:
        """Arguments that rebuild this model, JSON-able."""
        return dict(self._hyper)

    @classmethod
    def parameters_of_constructor(cls) -> dict[str, Any]:
        """Names and defaults of the hyperparameters."""
        signature = inspect.signature(cls.__init__).parameters
        return {name: p.default for name, p in signature.items() if name not in ("self", "elements")}

    def calibrate(self, nb: Neighbourhoods) -> None:
        """Set standardising constants from representative neighbourhoods, before training."""
        self.backbone.calibrate(nb)

    def per_centre(self, nb: Neighbourhoods, head: Callable[[int, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Apply ``head(element index, density block)`` to each element's centres; rows in the centres' own order."""
        blocks, layout = self.backbone.densities(nb)
        rows = torch.cat([head(s, block) for s, block in enumerate(blocks) if block.shape[1]])
        return torch.empty_like(rows).index_copy(0, layout.order, rows)
