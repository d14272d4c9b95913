def density(
    mode: str,
    is_double: bool,
    lmax: int,
    first: int,
    base: int,
    stride: int,
    neighbours: int,
    count: int,
    species: int,
    cutoff: float,
    r0: float,
    radial_count: int,
    vectors: int,
    extra: int,
    out: int,
) -> None: ...
def product(
    is_double: bool, rows: int, width: int, start: int, ia: int, ib: int, coefficient: int, a: int, b: int, out: int
) -> None: ...
def instruction_set() -> str: ...
def set_instruction_set(name: str) -> None: ...

class _ElementEnergy:
    def __init__(
        self,
        weights: dict[str, object],
        lmax: int,
        channels: int,
        hidden: int,
        species: int,
        n_radial: int,
        cutoff: float,
        r0: float,
        limit: float,
    ) -> None: ...
    def evaluate(
        self,
        count: int,
        kind: int,
        kinds: int,
        first: int,
        neighbours: int,
        vectors: int,
        energies: int,
        gradient: int,
    ) -> None: ...

class ElementEnergyFloat(_ElementEnergy): ...
class ElementEnergyDouble(_ElementEnergy): ...

class _Repulsion:
    def __init__(self, elements: int, weights: dict[str, object]) -> None: ...
    def add(
        self, count: int, species: int, first: int, neighbours: int, vectors: int, energies: int, gradient: int
    ) -> None: ...

class RepulsionFloat(_Repulsion): ...
class RepulsionDouble(_Repulsion): ...

class _ElementTensor:
    def __init__(
        self,
        weights: dict[str, object],
        lmax: int,
        species: int,
        n_radial: int,
        cutoff: float,
        r0: float,
        members: int,
        rank: int,
    ) -> None: ...
    def evaluate(
        self, count: int, kind: int, kinds: int, first: int, neighbours: int, vectors: int, components: int
    ) -> None: ...

class ElementTensorFloat(_ElementTensor): ...
class ElementTensorDouble(_ElementTensor): ...

class _Channels:
    def __init__(
        self, weights: dict[str, object], species: int, n_radial: int, cutoff: float, r0: float, rank: int
    ) -> None: ...
    def evaluate(self, count: int, species: int, first: int, neighbours: int, vectors: int, channels: int) -> None: ...

class ChannelsFloat(_Channels): ...
class ChannelsDouble(_Channels): ...

class _Messages:
    def __init__(
        self,
        weights: dict[str, object],
        species: int,
        n_radial: int,
        cutoff: float,
        r0: float,
        members: int,
        rank: int,
    ) -> None: ...
    def evaluate(
        self,
        count: int,
        species: int,
        first: int,
        neighbours: int,
        rows: int,
        vectors: int,
        channels: int,
        components: int,
    ) -> None: ...

class MessagesFloat(_Messages): ...
class MessagesDouble(_Messages): ...
