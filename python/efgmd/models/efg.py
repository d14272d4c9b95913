"""EFG model: one symmetric traceless tensor per centre, from a linear part and from a network on the backbone."""

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import torch
from torch import nn

from efgmd.errors import ModelFileError
from efgmd.models.fused_linear import FusedLinear
from efgmd.models.fused_messages import FusedMessages, FusedSurroundings, message_weights
from efgmd.models.fused_products import FusedProducts, product_message_weights
from efgmd.models.kernel_calls import filling
from efgmd.models.linear import LinearTensor
from efgmd.models.message_products import MessageProducts
from efgmd.models.messages import (
    DEGREE,
    RADIAL,
    Bonds,
    MessageTensor,
    Surroundings,
    cutoffs_of_centres,
    pair_cutoffs,
)
from efgmd.models.model import LocalModel
from efgmd.models.neighbourhoods import Neighbourhoods
from efgmd.models.tensor_head import TensorHead
from efgmd.tensors import l2_basis

Form = TypeVar("Form")


class EFGModel(LocalModel):
    """Model of electric field gradient tensors.

    The linear part is solved for in closed form and needs few data; the network adds what is left. Either can be left
    out. Without messages the model is strictly local; with them a tensor depends on what is within
    ``message_cutoff`` of its neighbours too.

    Parameters
    ----------
    elements
        Chemical symbols.
    cutoff, r0
        Cutoff radius and length of the radial map, angstrom.
    n_radial, lmax, channels
        Radial functions, highest degree of harmonics (at least 2), channels of the network (0: no network).
    outputs, hidden
        Gated l = 2 channels and width of the gate's hidden layer.
    committee
        Read-outs on the same backbone; their mean is the prediction and their spread tells its error.
    linear
        Whether there is a linear part.
    message_cutoff, message_rank
        Of the part of the linear part that sees the surroundings of neighbours (`efgmd.models.messages`): cutoff of
        these surroundings and of the messages, angstrom, at most ``cutoff`` (0: no messages), and channels of each
        degree, of which there are at most six per element.
    message_cutoffs
        Other cutoffs of messages, angstrom, at most that of the centre, by the element of the centre and of the
        neighbour: ``{I: {I: 6.5}, Pb: {H: 0}}`` (0: no messages from H to Pb). That of the surroundings stays
        ``message_cutoff``.
    message_products, product_rank
        Elements whose tensors also have products of their own densities with messages from some elements
        (`efgmd.models.message_products`): ``{I: [Pb]}``; and channels of each degree in these, at most six per element.
        They need ``lmax`` of at least 3 and ``n_radial`` of at least 6.
    centre_cutoffs
        Shorter cutoffs for the centres of some elements, angstrom, at least ``message_cutoff``: ``{H: 5.0}``. One
        element at least keeps ``cutoff``.

    Raises
    ------
    ModelFileError
        Hyperparameters that contradict each other, or name elements that the model does not have.
    """

    kind = "efg"
    scales: torch.Tensor
    spread_scales: torch.Tensor
    spread_limits: torch.Tensor

    def __init__(
        self,
        elements: tuple[str, ...],
        cutoff: float = 6.5,
        r0: float = 2.0,
        n_radial: int = 8,
        lmax: int = 3,
        channels: int = 32,
        outputs: int = 32,
        hidden: int = 64,
        committee: int = 1,
        linear: bool = True,
        message_cutoff: float = 0.0,
        message_rank: int = 8,
        message_cutoffs: dict[str, dict[str, float]] | None = None,
        message_products: dict[str, list[str]] | None = None,
        product_rank: int = 12,
        centre_cutoffs: dict[str, float] | None = None,
    ):
        if lmax < 2 or not (linear or channels):
            raise ModelFileError("an EFG model needs lmax of at least 2, and a linear part or channels of a network")
        if message_cutoff and not (linear and 0 < message_cutoff <= cutoff and message_rank > 0):
            raise ModelFileError("messages need a linear part, a rank and a message_cutoff of at most the cutoff")
        message_rank = min(message_rank, RADIAL * len(elements))  # densities have no more functions
        cutoffs = cutoffs_of_centres(elements, cutoff, message_cutoff, centre_cutoffs or {})
        super().__init__(
            elements,
            cutoffs,
            cutoff=cutoff,
            r0=r0,
            n_radial=n_radial,
            lmax=lmax,
            channels=channels,
            outputs=outputs,
            hidden=hidden,
            committee=committee,
            linear=linear,
            message_cutoff=message_cutoff,
            message_rank=message_rank,
            message_cutoffs=message_cutoffs,
            message_products=message_products,
            product_rank=product_rank,
            centre_cutoffs=centre_cutoffs,
        )
        networks = self.backbone.elements()
        self.heads = nn.ModuleList([TensorHead(network, outputs, hidden, committee) for network in networks])
        self.linear = nn.ModuleList([LinearTensor(self.backbone.basis, committee) for _ in elements if linear])
        self.message_cutoffs = pair_cutoffs(self.elements, cutoffs, message_cutoff, message_cutoffs or {})
        senders = (message_cutoff,) * len(elements)
        self.surroundings = Surroundings(senders, r0, message_rank) if message_cutoff else None
        self.messages = nn.ModuleList(
            [MessageTensor(len(elements), message_rank, committee) for _ in elements if message_cutoff]
        )
        if message_products and not message_cutoff:
            raise ModelFileError("message_products: the model has no messages, set message_cutoff too")
        sizes = product_rank, message_rank, committee
        self.products = (
            MessageProducts(self.elements, message_products, self.message_cutoffs, self.backbone.basis, *sizes)
            if message_products
            else None
        )
        self.committee = committee
        self.register_buffer("scales", torch.ones(len(self.elements)))
        self.register_buffer("spread_scales", torch.ones(len(self.elements)))
        self.register_buffer("spread_limits", torch.full((len(self.elements),), torch.inf))
        self.basis_change = torch.from_numpy(l2_basis().copy())
        self._compiled: dict[tuple[Any, ...], tuple[list[tuple[dict[str, Any], str, torch.Tensor, int]], Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the compiled forms behind in copies."""
        return {**self.__dict__, "_compiled": {}}

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the weights."""
        return self.scales.dtype

    def set_scales(self, scales: dict[str, float]) -> None:
        """Set the unit of each element's output, a.u. (the spread sigma of its tensor components).

        NaN stands for an element of which no tensors are known: it is seen as a neighbour, and its own tensors are NaN.

        Raises
        ------
        ModelFileError
            If an element is missing or a scale is not positive.
        """
        bad = [e for e in self.elements if scales.get(e, 0.0) <= 0]
        if bad:
            raise ModelFileError(f"no positive EFG scale for {', '.join(bad)}: give one for each element of the model")
        self.scales.copy_(torch.tensor([scales[e] for e in self.elements]))

    @property
    def without_tensors(self) -> tuple[str, ...]:
        """Elements of which no tensors are known."""
        return tuple(e for e, scale in zip(self.elements, self.scales.tolist(), strict=True) if math.isnan(scale))

    def silence_network(self) -> None:
        """Make the network's tensors zero, so that training it begins at the linear part alone."""
        for head in self.heads:
            nn.init.zeros_(cast(TensorHead, head).mix)

    def calibrate(self, nb: Neighbourhoods) -> None:
        """Set standardising constants from representative neighbourhoods, before training."""
        if not len(self.heads):
            return
        super().calibrate(nb)
        with torch.no_grad():
            blocks = self.backbone.densities(nb)[0]
            for block, network, head in zip(blocks, self.backbone.elements(), self.heads, strict=True):
                if block.shape[1] > 1:
                    cast(TensorHead, head).calibrate(network(block).stack)

    def channels(self, nb: Neighbourhoods) -> torch.Tensor:
        """What atoms tell their neighbours, ``(lm, N, rank)`` for N centres of a model with messages.

        By a compiled kernel where the vectors are on the CPU and no derivative with respect to them is wanted.
        """
        surroundings = cast(Surroundings, self.surroundings)
        if self._fusible(nb):
            return self._compile(
                (FusedSurroundings,), lambda: [surroundings], lambda: FusedSurroundings(surroundings, self.dtype)
            )(nb)
        return surroundings(nb.within(surroundings.basis.cutoffs[0]))

    def bonds(self, nb: Neighbourhoods) -> Bonds:
        """The pairs that messages go along."""
        return Bonds(nb, self.message_cutoffs, self.backbone.basis.r0)

    def forward(self, nb: Neighbourhoods, channels: torch.Tensor | None = None) -> torch.Tensor:
        """EFG tensors ``(N, 3, 3)``, a.u., symmetric and traceless: the mean of the committee.

        They are NaN for elements of which the model knows no tensors (`without_tensors`), here and in what follows.

        Parameters
        ----------
        nb
            The neighbourhoods.
        channels
            What :meth:`channels` gave for all atoms that ``nb.neighbour`` counts; not needed where these are the
            centres.
        """
        return self._evaluate(nb, channels, mean=True)[:, 0]

    def uncertainty(self, nb: Neighbourhoods, members: torch.Tensor) -> torch.Tensor:
        """Expected error ``(N,)`` of a tensor component, a.u.: the spread of the committee, calibrated by element.

        The square is the mean over the nine components of the variance between members. Calibration makes its
        average over held-out data the mean square error there; it is 0 for a committee of one.

        Parameters
        ----------
        nb
            The neighbourhoods.
        members
            What :meth:`members` gave for them.
        """
        if members.shape[1] < 2:
            return members.new_zeros(len(members))
        return members.var(dim=1).mean(dim=(1, 2)).sqrt() * self.spread_scales[nb.species]

    def extrapolation(self, nb: Neighbourhoods, expected: torch.Tensor) -> torch.Tensor:
        """Grade ``(N,)``: the expected error over the largest one of the element's atoms that the calibration saw.

        The spread of the committee grows with the distance from what it was trained on, without bound in the linear
        part. A grade above 1 is beyond what the errors were calibrated on, and one of many times 1 means that neither
        the tensor nor its error is to be trusted. It is 0 for a model that was not calibrated.

        Parameters
        ----------
        nb
            The neighbourhoods.
        expected
            What :meth:`uncertainty` gave for them.
        """
        return expected / self.spread_limits[nb.species]

    def members(self, nb: Neighbourhoods, channels: torch.Tensor | None = None) -> torch.Tensor:
        """EFG tensors of each read-out, ``(N, committee, 3, 3)``, a.u.; arguments as of :meth:`forward`."""
        return self._evaluate(nb, channels, mean=False)

    def _units(self) -> torch.Tensor:
        """The scale of each element, 1 where it is unknown."""
        return self.scales.nan_to_num(nan=1.0)

    def components(self, nb: Neighbourhoods, channels: torch.Tensor | None = None, mean: bool = True) -> torch.Tensor:
        """Components in e3nn's l = 2 basis, a.u.: of the mean ``(N, 1, 5)``, or of all members ``(N, committee, 5)``.

        The other arguments are those of :meth:`forward`.
        """
        count = 1 if mean else self.committee
        if not len(nb.species):
            return nb.vectors.new_zeros(0, count, 5)
        if self.surroundings and channels is None:
            channels = self.channels(nb)
        if self._fusible(nb) and not len(self.heads):
            components, own = self._fused(mean)(nb)
            if channels is not None:
                self._add_messages(nb, channels, own, components, mean)
            return components
        components = self._components(nb, mean)
        if channels is not None:
            components = components + self._messages(nb, channels, mean)
        # Filled in at the end, so that no derivative is multiplied by NaN.
        return components.masked_fill(self.scales.isnan()[nb.species][:, None, None], torch.nan)

    def _evaluate(self, nb: Neighbourhoods, channels: torch.Tensor | None, mean: bool) -> torch.Tensor:
        """Tensors of all members ``(N, committee, 3, 3)``, or of their mean ``(N, 1, 3, 3)``."""
        return torch.einsum("nck,kij->ncij", self.components(nb, channels, mean), self.basis_change.to(nb.vectors))

    @staticmethod
    def _fusible(nb: Neighbourhoods) -> bool:
        """Whether compiled forms can be used: on the CPU, where no derivative is wanted."""
        return nb.vectors.device.type == "cpu" and not nb.vectors.requires_grad

    def _messages(self, nb: Neighbourhoods, channels: torch.Tensor, mean: bool) -> torch.Tensor:
        """What messages add, ``(N, members, 5)``."""
        if not self._fusible(nb):
            return self.plain_messages(nb, channels, mean)
        out = nb.vectors.new_zeros(len(nb.species), 1 if mean else self.committee, 5)
        own = None
        if self.products:
            own = self.products.own(nb).transpose(0, 1)
            own = nn.functional.pad(own, (0, filling(own.shape[2]))).contiguous()
        self._add_messages(nb, channels, own, out, mean)
        return out

    def _add_messages(
        self, nb: Neighbourhoods, channels: torch.Tensor, own: torch.Tensor | None, components: torch.Tensor, mean: bool
    ) -> None:
        """Add what messages and their products bring to ``(N, members, 5)``, by compiled kernels."""
        products = self._fused_products(self.products, mean) if self.products else None
        sums = products.sums(nb) if products else []
        self._fused_messages(mean).add(nb, channels, [components, *sums])
        if products and own is not None:
            products.add(nb, own, sums, components)

    def plain_messages(self, nb: Neighbourhoods, channels: torch.Tensor, mean: bool) -> torch.Tensor:
        """What messages add, ``(N, members, 5)``, by operations of torch: the reference, and for other devices."""
        bonds = self.bonds(nb)
        out = nb.vectors.new_zeros(len(nb.species), 1 if mean else self.committee, 5)
        for s, (part, scale) in enumerate(zip(self.messages, self._units(), strict=True)):
            centres = (nb.species == s).nonzero()[:, 0]
            if len(centres):
                out[centres] = scale * part(channels, bonds, bonds.rows_among(centres), len(centres), mean)
        if self.products:
            out = out + self.products(nb, channels, bonds, mean) * self._units()[nb.species][:, None, None]
        return out

    def _fused(self, mean: bool) -> FusedLinear:
        """The compiled form of pairs and products of densities."""
        own = [self.products.own] if self.products else []

        def make() -> FusedLinear:
            parts = cast(list[LinearTensor], list(self.linear))
            return FusedLinear(parts, self.backbone.basis, self.scales, self.dtype, mean, *own)

        return self._compile((FusedLinear, mean), lambda: [*self.linear, *own], make)

    def _fused_messages(self, mean: bool) -> FusedMessages:
        """The compiled form of messages, those for products among them."""
        products = [self.products] if self.products else []

        def make() -> FusedMessages:
            weights = [message_weights(cast(list[MessageTensor], list(self.messages)), self.scales, mean)]
            degrees = [2]
            for part in products:
                weights += product_message_weights(part)
                degrees += range(DEGREE + 1)
            return FusedMessages(weights, degrees, self.message_cutoffs, self.backbone.basis.r0, self.dtype)

        return self._compile((FusedMessages, mean), lambda: [*self.messages, *products], make)

    def _fused_products(self, products: MessageProducts, mean: bool) -> FusedProducts:
        """The compiled form of products of densities with messages."""
        return self._compile(
            (FusedProducts, mean), lambda: [products], lambda: FusedProducts(products, self.scales, self.dtype, mean)
        )

    def _compile(
        self, name: tuple[Any, ...], parts: Callable[[], Iterable[nn.Module]], make: Callable[[], Form]
    ) -> Form:
        """A compiled form, made when first needed and again when weights of its parts or the scales have changed."""
        known = self._compiled.get((*name, self.dtype))
        # The weights it was made of are held, so that no other tensor can come to lie at their address.
        if known is None or any(of[key] is not old or old._version != version for of, key, old, version in known[0]):
            places = [part._buffers for whole in parts() for part in whole.modules()]
            weights = [(of, key, weight) for of in places for key, weight in of.items() if weight is not None]
            weights.append((self._buffers, "scales", self.scales))
            known = [(*weight, weight[2]._version) for weight in weights], make()
            self._compiled[*name, self.dtype] = known
        return known[1]

    def _components(self, nb: Neighbourhoods, mean: bool) -> torch.Tensor:
        """Components ``(N, members, 5)`` by operations of torch, which can be differentiated and run anywhere."""
        networks, units = self.backbone.elements(), self._units()

        def head(s: int, block: torch.Tensor) -> torch.Tensor:
            if not networks:
                return self.linear[s](block, mean) * units[s]
            components = self.heads[s](*networks[s](block), mean)
            if len(self.linear):
                components = components + self.linear[s](block, mean)
            return components * units[s]

        return self.per_centre(nb, head)
