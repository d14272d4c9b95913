"""Accuracy of EFG models beside lambda-SOAP regression on the same frames; of thermal MAPbI3 unless told otherwise.

usage: python benchmarks/efg_accuracy.py [--data FOLDER] [--out FILE.json] [--config FILE.yaml] [--set NAME=VALUE ...]
       [--epochs N] [--initialise MODEL] [--fractions 0.25 0.5 1.0] [--kernel]
needs: pip install featomic metatensor

Baseline: lambda-SOAP of featomic with lambda = 2, two-body terms to 7 angstrom and three-body terms to 5 angstrom, 6
radial functions, l up to 3, ridge regression for each element; with --kernel also the form of the MAPbI3 study
(8 and 5 angstrom, 12 and 8 radial functions, l up to 4, equivariant times third power of invariant kernel). Ours:
`efgmd train efg` with the settings given. All learn from efg_train of the data folder and are judged on efg_test; the
regularisation of the regressions is chosen by leaving training runs out. Learning curves drop whole runs.
"""

import argparse
import json
import shlex
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import matplotlib
import numpy as np
from ase.data import atomic_numbers
from ase.io import read, write
from featomic import SphericalExpansion
from featomic.clebsch_gordan import EquivariantPowerSpectrum

from efgmd.calculators import EFGCalculator
from efgmd.frames.labels import known_atoms
from efgmd.nuclei import nucleus
from efgmd.tensors import asymmetry, principal_axes
from efgmd.training.config import parse_assignments, read_config
from efgmd.training.dataset import LabelledFrames, run_names
from efgmd.training.regression import Ridge
from efgmd.training.session import TrainingFiles, train

matplotlib.use("Agg")

ROOT = Path(__file__).resolve().parents[1]
NUCLEI = {"I": "127I", "N": "14N", "H": "2H", "O": "17O", "Al": "27Al", "Mg": "25Mg"}


def standard_basis():
    """Symmetric traceless unit matrices ``(5, 3, 3)`` in the order m = -2 ... 2 of real spherical harmonics."""
    b = np.zeros((5, 3, 3))
    half = 0.5**0.5
    for m, (i, j) in zip((0, 1, 3), ((0, 1), (1, 2), (0, 2)), strict=True):
        b[m, i, j] = b[m, j, i] = half
    b[2] = np.diag([-1.0, -1.0, 2.0]) / 6**0.5
    b[4] = np.diag([half, -half, 0.0])
    return b


def expansion(cutoff: float, radial: int, lmax: int) -> SphericalExpansion:
    """Density expansion with the given number of radial functions."""
    return SphericalExpansion(
        cutoff={"radius": cutoff, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
        density={"type": "Gaussian", "width": 0.3},
        basis={"type": "TensorProduct", "max_angular": lmax, "radial": {"type": "Gto", "max_radial": radial - 1}},
    )


def elements_of(symbols) -> list[str]:
    """Elements present, the heaviest first."""
    return sorted({str(symbol) for symbol in symbols}, key=atomic_numbers.get, reverse=True)


def stacked(tensormap, frames, o3_lambda: int) -> dict[str, np.ndarray]:
    """Features ``(centres, 2 lambda + 1, F)`` of each element, centres in the order of the frames."""
    out = {}
    for element in elements_of(symbol for atoms in frames for symbol in atoms.symbols):
        block = tensormap.block({"o3_lambda": o3_lambda, "o3_sigma": 1, "center_type": atomic_numbers[element]})
        order = np.lexsort((np.asarray(block.samples["atom"]), np.asarray(block.samples["system"])))
        out[element] = np.asarray(block.values)[order]
    return out


class LambdaSOAP:
    """Ridge regression on two-body and three-body features; ``kernel`` multiplies by powers of invariant kernels."""

    def __init__(self, pair=(7.0, 6, 3), triple=(5.0, 6, 3), kernel: bool = False):
        self.kernel = kernel
        self._pair, self._triple = expansion(*pair[:2], max(2, pair[2])), expansion(*triple)

    def features(self, frames) -> dict[str, np.ndarray]:
        """Matrix ``(5 n, F)`` for each element, rows centre by centre."""
        neighbours = ["neighbor_type"]
        pair = stacked(self._pair.compute(frames).keys_to_properties(neighbours), frames, 2)
        power = EquivariantPowerSpectrum(self._triple)
        degrees = [0, 2] if self.kernel else [2]
        spectrum = power.compute(frames, neighbors_to_properties=True, selected_keys=_selection(degrees))
        triple = stacked(spectrum, frames, 2)
        out = {}
        for element in pair:
            parts = [_normalised(pair[element]), _normalised(triple[element])]
            matrix = np.concatenate(parts, axis=2)
            matrix = matrix.reshape(-1, matrix.shape[2])
            if self.kernel:
                invariants = stacked(spectrum, frames, 0)[element][:, 0]
                invariants /= np.linalg.norm(invariants, axis=1, keepdims=True)
                gram = (matrix @ matrix.T) * np.kron((invariants @ invariants.T) ** 3, np.ones((5, 5)))
                values, vectors = np.linalg.eigh(gram)
                kept = values > 1e-12 * values[-1]
                matrix = vectors[:, kept] * np.sqrt(values[kept])
            out[element] = matrix
        return out

    def predict(self, features, frames, runs, training, test) -> np.ndarray:
        """Tensors of the test frames, ``(N, 3, 3)``; ``training`` and ``test`` are indices into the frames and runs.

        It learns from the atoms of the training frames whose tensors are known.
        """
        symbols = np.concatenate([a.get_chemical_symbols() for a in frames])
        frame = np.repeat(np.arange(len(frames)), [len(a) for a in frames])
        tensors = np.concatenate([a.arrays["efg"].reshape(-1, 3, 3) for a in frames])
        known = np.concatenate([known_atoms(a) for a in frames])
        basis = standard_basis()
        components = np.einsum("mij,nij->nm", basis, tensors)
        out = np.zeros_like(tensors)
        for element, matrix in features.items():
            chosen = symbols == element
            own = frame[chosen]
            learn, judge = np.isin(own, training) & known[chosen], np.isin(own, test)
            target = components[chosen][learn]
            scale = np.sqrt(np.mean(target**2))
            _, run = np.unique(runs[own[learn]], return_inverse=True)
            ridge = Ridge(matrix[np.repeat(learn, 5)], target / scale, run)
            weights = ridge.committee(np.ones((len(target), 1)))[0][0]
            predicted = scale * (matrix[np.repeat(judge, 5)] @ weights).reshape(-1, 5)
            out[np.flatnonzero(chosen)[judge]] = np.einsum("nm,mij->nij", predicted, basis)
        return out[np.isin(frame, test)]


def _selection(degrees):
    from metatensor import Labels

    return Labels(["o3_lambda", "o3_sigma"], np.array([[degree, 1] for degree in degrees]))


def _normalised(features):
    return features / np.sqrt(np.mean(np.sum(features**2, axis=2)))


def errors(symbols, reference, predicted) -> dict:
    """Errors of each element: RMSE/sigma and the like, and those of what experiments measure."""
    out = {}
    for element in elements_of(symbols):
        a, b = reference[symbols == element], predicted[symbols == element]
        rmse, sigma = np.sqrt(np.mean((b - a) ** 2)), np.sqrt(np.mean(a**2))
        values_a, axes_a = principal_axes(a)
        values_b, axes_b = principal_axes(b)
        cosine = np.abs(np.einsum("ni,ni->n", axes_a[:, :, 2], axes_b[:, :, 2])).clip(max=1.0)
        angle = np.degrees(np.arccos(cosine))
        row = {
            "tensors": len(a),
            "rmse_au": rmse,
            "sigma_au": sigma,
            "rmse_per_sigma": rmse / sigma,
            "r2": 1 - np.sum((a - b) ** 2) / np.sum((a - a.mean()) ** 2),
            "eta_rmse": np.sqrt(np.mean((asymmetry(values_a) - asymmetry(values_b)) ** 2)),
            "axis_degrees_median": np.median(angle),
            "axis_degrees_rms": np.sqrt(np.mean(angle**2)),
        }
        if element in NUCLEI:
            couple = nucleus(NUCLEI[element]).coupling_mhz
            difference = np.abs(couple(values_a[:, 2])) - np.abs(couple(values_b[:, 2]))
            row |= {"nucleus": NUCLEI[element], "abs_cq_rmse_mhz": np.sqrt(np.mean(difference**2))}
        out[element] = {key: value if isinstance(value, str | int) else float(value) for key, value in row.items()}
    return out


def ours(arguments, training, validation, test) -> tuple[np.ndarray, float]:
    """Tensors that our model, trained on the given frames, predicts for the test frames; and the seconds it took."""
    given = {
        "kind": "efg",
        "elements": " ".join(elements_of(s for a in training for s in a.symbols)),
        "model": parse_assignments(arguments.set, "--set"),
    }
    given |= {"epochs": arguments.epochs, "learning_rate": arguments.learning_rate}
    given |= {"initialise": arguments.initialise} if arguments.initialise else {}
    begun = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, frames in (("training", training), ("validation", validation)):
            write(folder / f"{part}.xyz", frames, format="extxyz")
        files = TrainingFiles([folder / "training.xyz"], [folder / "validation.xyz"], [], folder / "model.safetensors")
        calculator = EFGCalculator(train(read_config(arguments.config, given), files))
        seconds = (datetime.now(UTC) - begun).total_seconds()
        return np.concatenate([calculator.get_property("efg", atoms) for atoms in test]), seconds


def plot(curves, path: Path) -> None:
    """RMSE/sigma against the number of training frames."""
    from matplotlib import pyplot as plt

    elements = list(curves["efgmd"][0]["elements"])
    figure, axes = plt.subplots(1, len(elements), figsize=(13, 3.2), constrained_layout=True)
    for axis, element in zip(axes, elements, strict=True):
        for method, points in curves.items():
            x, y = zip(*((p["frames"], 100 * p["elements"][element]["rmse_per_sigma"]) for p in points), strict=True)
            axis.semilogx(x, y, "o-", label=method)
        axis.set_title(element)
        axis.set_xticks(x, [str(frames) for frames in x])
        axis.minorticks_off()
        axis.set_xlabel("training frames")
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("RMSE/sigma (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(curves))
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT / "potentials" / "mapbi3" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "efg_accuracy.json")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--learning-rate", type=float, default=0.003)
    parser.add_argument("--initialise", type=Path)
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--kernel", action="store_true")
    arguments = parser.parse_args()

    parts = {name: read(arguments.data / f"efg_{name}.xyz.gz", ":") for name in ("train", "validation", "test")}
    frames = parts["train"] + parts["test"]
    test = np.arange(len(parts["train"]), len(frames))
    symbols = np.concatenate([a.get_chemical_symbols() for a in parts["test"]])
    reference = np.concatenate([a.arrays["efg"].reshape(-1, 3, 3) for a in parts["test"]])
    if not all(known_atoms(a).all() for a in parts["test"]):
        raise SystemExit(
            f"{arguments.data}: some tensors of the test frames are unknown, so there is nothing to judge by"
        )
    baselines = {"lambda-SOAP ridge": LambdaSOAP()}
    if arguments.kernel:
        baselines["lambda-SOAP kernel"] = LambdaSOAP((8.0, 12, 4), (5.0, 8, 4), kernel=True)
    features = {name: method.features(frames) for name, method in baselines.items()}
    runs = np.array(run_names(LabelledFrames(frames, ["efg_train and efg_test"] * len(frames), []), "tag"))
    order = np.random.default_rng(0).permutation(sorted(set(runs[: len(parts["train"])])))
    curves: dict[str, list] = {name: [] for name in [*baselines, "efgmd"]}
    for fraction in sorted(arguments.fractions):
        kept = set(order[: max(2, round(fraction * len(order)))])
        training = [k for k in range(len(parts["train"])) if runs[k] in kept]
        for name, method in baselines.items():
            predicted = method.predict(features[name], frames, runs, training, test)
            curves[name].append({"frames": len(training), "elements": errors(symbols, reference, predicted)})
        predicted, seconds = ours(arguments, [frames[k] for k in training], parts["validation"], parts["test"])
        row = {"frames": len(training), "elements": errors(symbols, reference, predicted), "training_seconds": seconds}
        curves["efgmd"].append(row)
        for name, points in curves.items():
            ratios = {e: round(100 * row["rmse_per_sigma"], 2) for e, row in points[-1]["elements"].items()}
            print(f"{len(training)} frames, {name}: RMSE/sigma in % {ratios}", flush=True)
    record = {
        "command": shlex.join(["python", "benchmarks/efg_accuracy.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "test_frames": len(test),
        "versions": {name: version(name) for name in ("efgmd", "featomic", "metatensor", "torch", "numpy")},
        "learning_curves": curves,
    }
    arguments.out.write_text(json.dumps(record, indent=1) + "\n")
    if len(arguments.fractions) > 1:
        plot(curves, arguments.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
