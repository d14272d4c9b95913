"""How large each part of the features of a linear model is, and how fast it falls off: chosen by leaving runs out.

The penalty of a ridge regression on features of several parts (sums over pairs, over triples, messages from each
element) says how large each part of the tensor is expected to be: features that are scaled up are penalised less. The
fit to parts of sizes a_p is a kernel regression with sum_p a_p^2 K_p, where K_p are the Gram matrices of the parts
(learning with several kernels, see Gönen and Alpaydın, J. Mach. Learn. Res. 12, 2211 (2011)), so that trying other
sizes takes no new features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

FloatArray = NDArray[np.float64]

_MOST_ROWS = 2000  # of the Gram matrices, five for each centre
_FIRST_PENALTY = 1e-3
_PENALTIES = 1e-12, 1e2
_LARGEST = 1e3  # ratio of a part's size to what it begins with, at most, and its inverse
_SWEEPS = (10.0, 10.0**0.5, 10.0**0.25)  # factors of squared sizes
_GAIN = 5e-4  # of the mean squared error, below which a change is not taken


@dataclass(frozen=True)
class Share:
    """Of one part of the features.

    Attributes
    ----------
    size
        Root mean square of the sum of squares of its features; of all parts together it is 1.
    decay
        Decay length of the contributions of neighbours, angstrom, 0 if the part has none.
    """

    size: float
    decay: float


class ShareSearch:
    """Searches the shares of the parts one after the other, in ever smaller steps.

    Parameters
    ----------
    matrices
        By the name of a part and its decay length, features ``(n, 5, F)`` of centres.
    target
        ``(n, 5)``.
    run
        ``(n,)``, number of each centre's run.

    Attributes
    ----------
    shares : dict
        Found by `compute`.
    """

    def __init__(
        self, matrices: Mapping[str, Mapping[float, FloatArray]], target: FloatArray, run: NDArray[np.int64]
    ) -> None:
        self._target = target.reshape(-1)
        run5 = np.repeat(run, 5)
        self._groups = [np.flatnonzero(run5 == name) for name in np.unique(run)]
        self._grams = {
            name: {decay: _gram(features) for decay, features in of_decay.items()}
            for name, of_decay in matrices.items()
        }

    def compute(self) -> "ShareSearch":
        """Begin with equal sizes and the decay lengths in the middle; see `shares`."""
        squares = dict.fromkeys(self._grams, 1.0)
        decays = {name: sorted(grams)[len(grams) // 2] for name, grams in self._grams.items()}
        self._now = _State(squares, decays, _FIRST_PENALTY)
        self._error = self._judge(self._now)
        for factor in _SWEEPS:
            self._walk(lambda s, f: replace(s, penalty=s.penalty * f), factor)
            for name in self._grams:
                for decay in self._grams[name]:
                    self._try(replace(self._now, decays=self._now.decays | {name: decay}))
                self._walk(lambda s, f, name=name: replace(s, squares=s.squares | {name: s.squares[name] * f}), factor)
        total = sum(self._now.squares.values())
        self.shares = {
            name: Share(float(np.sqrt(square / total)), self._now.decays[name])
            for name, square in self._now.squares.items()
        }
        return self

    def _walk(self, moved: Callable[..., "_State"], factor: float) -> None:
        """Go on in the direction that helps, for as long as it does."""
        for step in (factor, 1 / factor):
            gained = False
            while self._try(moved(self._now, step)):
                gained = True
            if gained:
                break

    def _try(self, state: "_State") -> bool:
        least, most = _PENALTIES
        if state == self._now or not least <= state.penalty <= most:
            return False
        if any(not _LARGEST**-2 <= square <= _LARGEST**2 for square in state.squares.values()):
            return False
        error = self._judge(state)
        if error >= (1 - _GAIN) * self._error:
            return False
        self._now, self._error = state, error
        return True

    def _judge(self, state: "_State") -> float:
        """Mean squared error on runs left out, each predicted by the fit to all others."""
        gram = np.zeros((len(self._target), len(self._target)))
        for name, square in state.squares.items():
            gram += square * self._grams[name][state.decays[name]]
        gram[np.diag_indices_from(gram)] += state.penalty
        factor, failed = lapack.dpotrf(gram, lower=1, clean=1, overwrite_a=1)
        if failed:  # a penalty below rounding
            return np.inf
        solved = lapack.dpotrs(factor, self._target, lower=1)[0]
        inverse = lapack.dpotri(factor, lower=1, overwrite_c=1)[0]
        total = 0.0
        for rows in self._groups:
            own = inverse[np.ix_(rows, rows)]
            own = np.tril(own) + np.tril(own, -1).T
            total += float(np.sum(np.linalg.solve(own, solved[rows]) ** 2))
        return total / len(self._target)


@dataclass(frozen=True)
class _State:
    squares: dict[str, float]
    decays: dict[str, float]
    penalty: float


def some_centres(count: int) -> NDArray[np.int64]:
    """Centres for the search, in order: all if there are few."""
    most = _MOST_ROWS // 5
    return np.arange(count) if count <= most else np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def spread(features: FloatArray) -> float:
    """Root of the mean over centres and components of the sum of squares over features ``(n, 5, F)``."""
    return float(np.sqrt(np.mean(np.sum(features**2, axis=2)))) or 1.0


def _gram(features: FloatArray) -> FloatArray:
    flat = features.reshape(-1, features.shape[2]) / spread(features)
    return np.asarray(flat @ flat.T)
