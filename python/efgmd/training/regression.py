"""Ridge regression whose regularisation is chosen by leaving runs out, and committees of such fits.

A fit to all runs but one needs no new solution: its errors on the rows g of that run are (1 - H_gg)^-1 times those of
the full fit, where H is the matrix that takes targets to predictions (the block form of the identity behind PRESS, see
Cook and Weisberg, Residuals and Influence in Regression, Chapman and Hall, 1982). That holds for fits to weighted rows,
too.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_PENALTIES = 10.0 ** np.arange(-10.0, 0.1, 1.0)


class Ridge:
    """Ridge regression on a matrix ``(5 n, F)`` and targets ``(n, 5)``, solved in the basis of its singular vectors.

    Attributes
    ----------
    penalty
        Ridge parameter, the one of `_PENALTIES` that errs least on runs left out.
    error
        Root mean square of ``left_out`` over that of the targets.
    left_out
        ``(n, 5)``: targets less predictions by the fit to all other runs.
    gain
        ``(n, 5)``: prediction of the full fit less that of the fit without the centre's run.
    """

    def __init__(self, matrix: FloatArray, target: FloatArray, run: NDArray[np.int64]) -> None:
        self._target = target.reshape(-1)
        rows, columns = matrix.shape
        if rows <= columns:
            values, left = np.linalg.eigh(matrix @ matrix.T)
            kept = values > 1e-13 * values[-1]
            self._squares, self._left = values[kept], left[:, kept]
            self._right = matrix.T @ (self._left / np.sqrt(self._squares))
        else:
            values, right = np.linalg.eigh(matrix.T @ matrix)
            kept = values > 1e-13 * values[-1]
            self._squares, self._right = values[kept], right[:, kept]
            self._left = matrix @ (self._right / np.sqrt(self._squares))
        self._projected = self._left.T @ self._target
        run5 = np.repeat(run, 5)
        self._groups = [np.flatnonzero(run5 == name) for name in np.unique(run)]
        tried = [self._left_out(penalty) for penalty in _PENALTIES]
        best = int(np.argmin([np.mean(errors**2) for errors in tried]))
        self.penalty, left_out = float(_PENALTIES[best]), tried[best]
        self.left_out = left_out.reshape(-1, 5)
        spread = np.mean(self._target**2)  # zero on sites whose symmetry lets no tensor be
        self.error = float(np.sqrt(np.mean(left_out**2) / spread)) if spread else 0.0
        share = self._squares / (self._squares + self.penalty)
        fitted = self._left @ (share * self._projected)
        self.gain = (fitted - (self._target - left_out)).reshape(-1, 5)

    def _left_out(self, penalty: float) -> FloatArray:
        """Errors on each run by the fit to all others, ``(5 n,)``."""
        share = self._squares / (self._squares + penalty)
        errors = self._target - self._left @ (share * self._projected)
        return self._without_its_run(errors, ((self._left[rows] * share) @ self._left[rows].T for rows in self._groups))

    def _without_its_run(self, errors: FloatArray, hats: Iterable[FloatArray]) -> FloatArray:
        """(1 - H_gg)^-1 times the errors of a fit to all runs; ``hats`` are the H_gg of one run after the other."""
        out = np.empty_like(errors)
        for rows, hat in zip(self._groups, hats, strict=True):
            out[rows] = np.linalg.solve(np.eye(len(rows)) - hat, errors[rows])
        return out

    def committee(self, weights: FloatArray, left_out: bool = False) -> tuple[FloatArray, FloatArray]:
        """Fits to weighted centres, shifted to the full fit's mean.

        Parameters
        ----------
        weights
            Of the centres, ``(n, members)``.
        left_out
            Whether to tell how these fits differ where they have not learnt.

        Returns
        -------
        Weights ``(members, F)`` of the features, and the standard deviation between members ``(n, 5)`` at centres
        whose run each of them has left out; the latter is empty unless asked for, and of a single member.
        """
        full = self._right @ (np.sqrt(self._squares) / (self._squares + self.penalty) * self._projected)
        if weights.shape[1] == 1:
            return full[None], np.empty((0, 5))
        scaled = self._left * np.sqrt(self._squares)
        solutions, predictions = [], []
        for column in weights.T:
            weight = np.repeat(column / column.mean(), 5)
            weighted = scaled * weight[:, None]
            normal = weighted.T @ scaled
            normal[np.diag_indices_from(normal)] += self.penalty
            wanted = (weighted.T @ self._target)[:, None]
            solved = np.linalg.solve(normal, np.hstack([wanted, scaled.T]) if left_out else wanted)
            solutions.append(self._right @ solved[:, 0])
            if left_out:
                hats = ((scaled[rows] @ solved[:, 1 + rows]) * weight[rows] for rows in self._groups)
                errors = self._target - scaled @ solved[:, 0]
                predictions.append(self._target - self._without_its_run(errors, hats))
        spread = np.std(predictions, axis=0, ddof=1).reshape(-1, 5) if left_out else np.empty((0, 5))
        return full + np.array(solutions) - np.mean(solutions, axis=0), spread
