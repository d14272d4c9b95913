"""The Python half of ``compute efg/atom``."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from efgmd.coupling.native import Floats, Integers, NativeModel
from efgmd.errors import ModelFileError
from efgmd.tensors import l2_basis

# xx yy zz xy xz yz, LAMMPS' order of symmetric tensors.
ROWS, COLUMNS = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)

_HARMONICS = 16  # of the channels that atoms tell their neighbours, l up to 3


class NativeEFG(NativeModel):
    """Electric field gradients of an efgmd EFG model.

    Parameters
    ----------
    path, dtype, threads, device
        As of `NativeModel`.
    uncertainty
        Whether to give the expected error of each tensor and its grade of extrapolation too.
    members
        Whether to give the tensors of each member of the committee too.

    Attributes
    ----------
    columns : int
        Numbers for each centre.
    without_tensors : list[str]
        Elements of which the model knows no tensors: theirs are NaN.
    centre_cutoffs : list[float]
        Cutoff of each element's centres, angstrom.
    message_cutoff : float
        Cutoff of the densities that atoms tell their neighbours of, angstrom; not how far they tell.
    message_width : int
        With how many doubles, each of which holds two numbers of a model in single precision; 0 if they do not.

    Raises
    ------
    ModelFileError
        If the file cannot be used, or the model is no committee but what only a committee has is wanted.
    """

    kind: ClassVar[str] = "efg"

    def __init__(
        self,
        path: str,
        dtype: str,
        threads: int = 1,
        device: str = "cpu",
        uncertainty: bool = False,
        members: bool = False,
    ) -> None:
        super().__init__(path, dtype, threads, device)
        self.uncertainty, self.members = uncertainty, members
        self.without_tensors = [str(element) for element in self.metadata.get("without_tensors", [])]
        shorter = self.hyperparameters.get("centre_cutoffs") or {}
        self.centre_cutoffs = [float(shorter.get(element, self.cutoff)) for element in self.elements]
        committee = int(self.hyperparameters.get("committee", 1))
        self.message_cutoff = float(self.hyperparameters.get("message_cutoff", 0.0))
        rank = int(self.hyperparameters.get("message_rank", 0))
        self.message_width = _HARMONICS * rank // (1 if dtype == "float64" else 2) if self.message_cutoff else 0
        self.columns = 6 + (2 if uncertainty else 0) + (6 * committee if members else 0)
        train = "or train it with --set committee=8"
        if uncertainty and committee < 2:
            raise ModelFileError(
                f"{path} is no committee, so its uncertainty is unknown: leave out uncertainty yes, {train}"
            )
        if members and committee < 2:
            raise ModelFileError(f"{path} is no committee, so it has no members: leave out members yes, {train}")

    def evaluate(self, species: Integers, first: Integers, neighbour_species: Integers, vectors: Floats) -> Floats:
        """Tensors ``(N, 6)`` as xx yy zz xy xz yz, atomic units Hartree/(e bohr^2).

        With uncertainty two columns follow: the expected error of a component and the grade of extrapolation, see
        `efgmd.models.EFGModel.uncertainty` and ``extrapolation``. With members six columns for each of them follow.
        Arguments as of :meth:`NativeModel.portions`.
        """
        import torch

        with torch.inference_mode():
            return self._tensors(len(species), self.portions(species, first, neighbour_species, vectors), None)

    def messages(
        self, species: Integers, first: Integers, neighbour_species: Integers, vectors: Floats, sent: Floats
    ) -> None:
        """Write what centres tell their neighbours into ``sent``, ``(N, message_width)``.

        The doubles are to be copied, not to be read: LAMMPS sends them to where they are needed. Other arguments as of
        :meth:`NativeModel.portions`.
        """
        import torch

        model = self.model()
        with torch.inference_mode():
            rows = torch.from_numpy(sent).view(model.dtype).unflatten(1, (_HARMONICS, -1))
            for centres, _, neighbourhoods in self.portions(species, first, neighbour_species, vectors):
                rows[centres] = model.channels(neighbourhoods).transpose(0, 1)

    def evaluate_with_messages(
        self,
        species: Integers,
        first: Integers,
        neighbour_species: Integers,
        vectors: Floats,
        neighbour: Integers,
        messages: Floats,
    ) -> Floats:
        """As :meth:`evaluate`, of a model whose atoms send messages.

        ``neighbour`` ``(P,)`` holds the row of ``messages``, as :meth:`messages` wrote them, for each neighbour.
        """
        import torch

        with torch.inference_mode():
            sent = torch.from_numpy(messages).view(self.model().dtype).to(self.device)
            channels = sent.unflatten(1, (_HARMONICS, -1)).transpose(0, 1)
            portions = self.portions(species, first, neighbour_species, vectors, neighbour)
            return self._tensors(len(species), portions, channels)

    def _tensors(self, count: int, portions: Iterator[tuple[slice, slice, Any]], channels: Any) -> Floats:
        import torch

        model, six = self.model(), l2_basis()[:, ROWS, COLUMNS]
        tensors = np.empty((count, self.columns))
        for centres, _, neighbourhoods in portions:
            if not (self.uncertainty or self.members):
                components = model.components(neighbourhoods, channels)[:, 0].cpu().numpy()
                np.matmul(components, six, out=tensors[centres])
                continue
            members = model.members(neighbourhoods, channels)
            parts = [members.mean(1)[:, ROWS, COLUMNS]]
            if self.uncertainty:
                expected = model.uncertainty(neighbourhoods, members)
                parts += [expected[:, None], model.extrapolation(neighbourhoods, expected)[:, None]]
            if self.members:
                parts.append(members[:, :, ROWS, COLUMNS].flatten(1))
            tensors[centres] = torch.cat(parts, dim=1).double().cpu().numpy()
        return tensors
