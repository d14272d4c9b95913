"""Energy models on a GPU: the pair list stays there between rebuilds, positions go in and forces come back."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from efgmd.coupling.native import Floats, Integers, NativeModel
from efgmd.errors import CouplingError

# A pair takes some kilobytes in automatic differentiation, so centres are taken in portions.
PAIRS_PER_PORTION = 1_000_000


def torch_device(device: str, local_rank: int) -> str:
    """Name of the torch device of a rank.

    Parameters
    ----------
    device
        ``"cpu"`` or ``"cuda"``.
    local_rank
        Number of the rank among those of its machine; they share its GPUs in turn.

    Raises
    ------
    CouplingError
        If torch sees no GPU.
    """
    if device == "cpu":
        return "cpu"
    import torch

    count = torch.cuda.device_count()
    if not count:
        reason = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no GPU"
        raise CouplingError(f"device cuda was asked for, but {reason}: leave it out, or see `nvidia-smi`")
    return f"cuda:{local_rank % count}"


class DeviceEnergy(NativeModel):
    """An energy model, its pair list and the arithmetic on it, all on one device.

    The parameters are those of :class:`NativeModel`.
    """

    kind: ClassVar[str] = "energy"

    def take_list(
        self,
        elements: NDArray[np.int32],
        centres: NDArray[np.int32],
        first: Integers,
        neighbours: NDArray[np.int32],
    ) -> None:
        """Keep a new list of pairs, with those of the skin.

        Parameters
        ----------
        elements
            Shape ``(T,)``: element of each owned and ghost atom, -1 if unknown to the model.
        centres
            Shape ``(N,)``: atom of each centre.
        first
            Shape ``(N + 1,)``: the pairs of centre k are ``first[k]`` to ``first[k + 1]``.
        neighbours
            Shape ``(P,)``: atom of each pair's neighbour.
        """
        import torch

        def there(array: NDArray[Any]) -> torch.Tensor:
            return torch.tensor(array, device=self.device).long()

        self._elements, self._centres, self._neighbours = there(elements), there(centres), there(neighbours)
        self._first = there(first)
        self._cuts = [0]  # centres at which portions begin
        while self._cuts[-1] < len(centres):
            end = int(np.searchsorted(first, first[self._cuts[-1]] + PAIRS_PER_PORTION, side="right")) - 1
            self._cuts.append(min(max(end, self._cuts[-1] + 1), len(centres)))

    def evaluate(self, positions: Floats, shared: bool, centroid: bool) -> tuple[Floats, ...]:
        """Energies and forces at given positions.

        Parameters
        ----------
        positions
            Shape ``(T, 3)``, angstrom, in the order of the list's atoms.
        shared, centroid
            Whether to return the virials of atoms.

        Returns
        -------
        energies, forces, virial, shared, centroid
            Shapes ``(N,)``, ``(T, 3)`` and ``(6,)``: eV of centres, eV/angstrom, and eV as xx yy zz xy xz yz. Then
            virials of atoms as far as asked for, otherwise empty: ``(T, 6)`` with half of each pair's at either end,
            ``(T, 9)`` with all of it at the neighbour, as xx yy zz xy xz yz yx zx zy.
        """
        import torch

        from efgmd.models import Neighbourhoods

        model = self.model()
        x = torch.tensor(positions, device=self.device)
        energies, forces, virial = x.new_empty(len(self._centres)), torch.zeros_like(x), x.new_zeros(3, 3)
        at_both = x.new_zeros(len(x) if shared else 0, 9)
        at_neighbour = x.new_zeros(len(x) if centroid else 0, 9)
        for begin, end in zip(self._cuts[:-1], self._cuts[1:], strict=True):
            first = self._first[begin : end + 1]
            j = self._neighbours[first[0] : first[-1]]
            i = torch.repeat_interleave(self._centres[begin:end], first.diff())
            vectors = x[j] - x[i]
            inside = vectors.square().sum(1) < self.cutoff**2
            i, j, vectors = i[inside], j[inside], vectors[inside]
            counted = torch.cat([first.new_zeros(1), inside.cumsum(0)])
            neighbourhoods = Neighbourhoods(
                self._elements[self._centres[begin:end]],
                counted[first - first[0]],
                self._elements[j],
                vectors.to(model.dtype),
            )
            energy, gradient = model.energies_and_pair_forces(neighbourhoods)
            energies[begin:end] = energy.detach()
            pair_forces = gradient.detach().double()
            forces.index_add_(0, i, pair_forces).index_add_(0, j, pair_forces, alpha=-1)
            virial -= vectors.T @ pair_forces
            if shared or centroid:
                virials = -(vectors[:, :, None] * pair_forces[:, None, :]).reshape(-1, 9)
                if shared:
                    at_both.index_add_(0, i, virials, alpha=0.5).index_add_(0, j, virials, alpha=0.5)
                if centroid:
                    at_neighbour.index_add_(0, j, virials)
        nine = [0, 4, 8, 1, 2, 5, 3, 6, 7]
        results = (energies, forces, virial.reshape(9)[nine[:6]], at_both[:, nine[:6]], at_neighbour[:, nine])
        return tuple(result.cpu().numpy() for result in results)
