"""The models as ASE calculators.

>>> from efgmd.calculators import EFGCalculator
>>> atoms.calc = EFGCalculator("potentials/mapbi3/efg.safetensors")  # doctest: +SKIP
>>> atoms.calc.get_property("efg", atoms).shape  # doctest: +SKIP
(48, 3, 3)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from efgmd.frames.neighbours import Batch, batch_of
from efgmd.models import EFGModel, EnergyModel
from efgmd.models.io import load_model
from efgmd.training.predictions import predict_energy


class _ModelCalculator(Calculator):
    """A model file as a calculator.

    Parameters
    ----------
    model
        Model file.
    dtype
        "float32" or "float64".
    device
        Torch device.

    Raises
    ------
    ModelFileError
        The file cannot be used.
    """

    kind: ClassVar[str]

    def __init__(self, model: str | Path, dtype: str = "float32", device: str = "cpu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model: Any = load_model(model, kind=self.kind, dtype=dtype, device=device)
        self._device = device

    def _batch(self, atoms: Atoms) -> Batch:
        batch = batch_of(atoms, self.model.cutoff, self.model.elements, self.model.dtype)
        return batch if self._device == "cpu" else batch.to(self._device)


class EnergyCalculator(_ModelCalculator):
    """Energy model: energy, energies (eV), forces (eV/angstrom) and, in a periodic cell, stress (eV/angstrom^3).

    ``calc.get_property("extrapolation", atoms)`` gives the grade of extrapolation of each atom, of shape ``(N,)``; see
    `efgmd.models.EnergyModel.extrapolation`.
    """

    kind = "energy"
    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", "extrapolation"]  # noqa: RUF012

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute all properties at once, the grade of extrapolation only where it is asked for; called by ASE.

        Raises
        ------
        DataError
            An element that the model does not know, or positions that are not finite.
        ModelFileError
            If the grade is wanted of a model that did not record its training atoms.
        """
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        batch = self._batch(self.atoms)
        predicted = predict_energy(self.model, batch)
        energies = predicted.atomic.double().cpu().numpy()
        energy = float(energies.sum())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": energies,
            "forces": predicted.forces.double().cpu().numpy(),
        }
        if float(batch.volumes[0]) > 0:
            self.results["stress"] = full_3x3_to_voigt_6_stress(predicted.stress[0].double().cpu().numpy())
        if "extrapolation" in properties:
            with torch.no_grad():
                grades = cast(EnergyModel, self.model).extrapolation(batch.neighbourhoods)
            self.results["extrapolation"] = grades.double().cpu().numpy()


class EFGCalculator(_ModelCalculator):
    """EFG model: ``calc.get_property("efg", atoms)`` and ``calc.results["efg"]``, of shape ``(N, 3, 3)``, a.u.

    Tensors of elements that the model knows none of are NaN.

    A committee also gives ``efg_uncertainty``, the expected error of a component, of shape ``(N,)``, a.u., and
    ``efg_extrapolation``, of shape ``(N,)``; see `efgmd.models.EFGModel.uncertainty` and ``extrapolation``.
    """

    kind = "efg"
    implemented_properties = ["efg", "efg_uncertainty", "efg_extrapolation"]  # noqa: RUF012

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("efg",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute the tensors; called by ASE.

        Raises
        ------
        DataError
            An element that the model does not know, or positions that are not finite.
        """
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        neighbourhoods = self._batch(self.atoms).neighbourhoods
        model = cast(EFGModel, self.model)
        with torch.no_grad():
            members = model.members(neighbourhoods)
            self.results = {"efg": members.mean(1).double().cpu().numpy()}
            if model.committee > 1:
                expected = model.uncertainty(neighbourhoods, members)
                self.results["efg_uncertainty"] = expected.double().cpu().numpy()
                self.results["efg_extrapolation"] = model.extrapolation(neighbourhoods, expected).double().cpu().numpy()
