"""What the evaluation of efgmd's own models in LAMMPS has in common."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from efgmd.coupling.header import file_hash, read_header
from efgmd.errors import ModelFileError

# Centres can be taken in portions: the memory for features stays bounded however many atoms a rank holds.
PAIRS_PER_PORTION = 200_000
CENTRES_PER_PORTION = 4_000

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class NativeModel:
    """A model file, loaded when first evaluated: importing torch takes seconds, checking the header does not.

    Parameters
    ----------
    path
        Model file.
    dtype
        ``"float32"`` or ``"float64"``.
    threads
        Number of threads for torch, in the whole process.
    device
        Torch's name of the device that evaluates the model.

    Attributes
    ----------
    sha256 : str
        Of the file.
    elements : list[str]
        Elements the model knows; species are indices into it.
    cutoff : float
        Cutoff radius, angstrom.
    metadata : dict
        Of the file.
    hyperparameters : dict
        All that they say about the shape of the model.

    Raises
    ------
    ModelFileError
        If the file cannot be used.
    """

    kind: ClassVar[str]

    def __init__(self, path: str, dtype: str, threads: int = 1, device: str = "cpu") -> None:
        metadata = read_header(path)
        if metadata is None:
            raise ModelFileError(
                f"{path} is not an efgmd model file: give a .safetensors file of `efgmd train {self.kind}`"
            )
        if metadata.get("kind") != self.kind:
            raise ModelFileError(
                f"{path} is an {metadata.get('kind')} model where an {self.kind} model is needed: give the other file"
            )
        try:
            self.hyperparameters: dict[str, Any] = dict(metadata["hyperparameters"])
            self.elements = [str(element) for element in self.hyperparameters["elements"]]
            self.cutoff = float(self.hyperparameters["cutoff"])
        except (KeyError, TypeError, ValueError):
            raise ModelFileError(f"{path} names no elements or no cutoff: the file is damaged") from None
        self.metadata = metadata
        self.path, self.dtype, self.threads, self.device = path, dtype, threads, device
        self.sha256 = file_hash(path)
        self._model: Any = None

    def model(self) -> Any:
        """The model itself, loaded at the first call."""
        if self._model is None:
            import torch

            from efgmd.models.io import load_model

            torch.set_num_threads(self.threads)
            with torch.inference_mode(False):  # whatever the caller's mode: weights must be able to tell changes
                self._model = load_model(self.path, kind=self.kind, dtype=self.dtype, device=self.device)
        return self._model

    def neighbourhoods(
        self,
        species: Integers,
        first: Integers,
        neighbour_species: Integers,
        vectors: Floats,
        neighbour: Integers | None = None,
    ) -> Any:
        """The `efgmd.models.Neighbourhoods` of arrays of numpy, in the model's dtype and on its device.

        Parameters
        ----------
        species
            Shape ``(N,)``: element of each centre.
        first
            Shape ``(N + 1,)``: the pairs of centre k are ``first[k]`` to ``first[k + 1]``.
        neighbour_species
            Shape ``(P,)``: element of each neighbour.
        vectors
            Shape ``(P, 3)``: from centre to neighbour, angstrom.
        neighbour
            Shape ``(P,)``: row of each neighbour among the atoms that send messages, if any do.
        """
        import torch

        from efgmd.models import Neighbourhoods

        dtype = self.model().dtype
        return Neighbourhoods(
            torch.from_numpy(species).to(self.device),
            torch.from_numpy(first).to(self.device),
            torch.from_numpy(neighbour_species).to(self.device),
            torch.from_numpy(vectors).to(self.device, dtype),
            None if neighbour is None else torch.from_numpy(neighbour).to(self.device),
        )

    def portions(
        self,
        species: Integers,
        first: Integers,
        neighbour_species: Integers,
        vectors: Floats,
        neighbour: Integers | None = None,
    ) -> Iterator[tuple[slice, slice, Any]]:
        """Cut the neighbourhoods of a rank into portions.

        The arguments are those of :meth:`neighbourhoods`.

        Yields
        ------
        centres, pairs, neighbourhoods
            The rows of centres and of pairs, and their `efgmd.models.Neighbourhoods`.
        """
        begin = 0
        while begin < len(species):
            end = int(np.searchsorted(first, first[begin] + PAIRS_PER_PORTION, side="right")) - 1
            end = min(max(end, begin + 1), begin + CENTRES_PER_PORTION, len(species))
            pairs = slice(int(first[begin]), int(first[end]))
            yield (
                slice(begin, end),
                pairs,
                self.neighbourhoods(
                    species[begin:end],
                    first[begin : end + 1] - first[begin],
                    neighbour_species[pairs],
                    vectors[pairs],
                    None if neighbour is None else neighbour[pairs],
                ),
            )
            begin = end
