"""Model files: safetensors with JSON metadata. Loading reads numbers and text and never executes code."""

import copy
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from efgmd.errors import ModelFileError
from efgmd.models.efg import EFGModel
from efgmd.models.energy import EnergyModel
from efgmd.models.model import LocalModel
from efgmd.models.neighbourhoods import Neighbourhoods

FORMAT = "efgmd-model"
#: 2: EFG models may have a linear part; 3: energy models record their training atoms; 4: messages; 5: their cutoffs by
#: element, and their products with own densities; 6: shorter cutoffs of the centres of some elements.
SCHEMA = 6
UNITS = {"length": "angstrom", "energy": "eV", "efg": "Hartree/(e bohr^2)"}
#: By kind, the schema since which files have these tensors; in older ones they are those of a new model.
_SINCE = {
    "energy": (3, [f"training_range.{name}" for name in ("means", "whitening", "units")]),
    "efg": (2, ["spread_limits"]),
}
_KINDS: dict[str, type[LocalModel]] = {"energy": EnergyModel, "efg": EFGModel}


def probe(model: LocalModel) -> list[float]:
    """Values of a float64 model on fixed made-up neighbourhoods, one of each element.

    They are stored with the model, so that a version of this package that computes anything else from the same weights
    finds out when it loads the file.
    """
    n = len(model.elements)
    k = torch.arange(12 * n, dtype=torch.float64)
    height, angle = 1 - 2 * ((k * 0.618034) % 1), 2.399963 * k
    length = model.cutoff * (0.3 + 0.65 * ((k * 0.754878) % 1))
    flat = (1 - height**2).sqrt()
    directions = torch.stack([flat * angle.cos(), flat * angle.sin(), height], dim=1)
    nb = Neighbourhoods(
        torch.arange(n),
        12 * torch.arange(n + 1),
        torch.arange(12 * n) % n,
        directions * length[:, None],
        torch.arange(12 * n) % n,
    )
    if isinstance(model, EnergyModel):
        energies, gradient = model.energies_and_pair_forces(nb)
        values = [energies - model.references, gradient.square().sum(1).sqrt()]
        if model.training_range.known:
            with torch.no_grad():
                values.append(model.extrapolation(nb))
        return torch.cat(values).tolist()
    with torch.no_grad():
        return model(nb).flatten().tolist()


def _differs(now: list[float], then: list[float]) -> bool:
    """Whether two probes disagree by more than rounding."""
    a, b = torch.tensor(now, dtype=torch.float64), torch.tensor(then, dtype=torch.float64)
    if a.shape != b.shape:
        return True
    tolerance = 1e-6 * float(b.nan_to_num().abs().max()) + 1e-9
    # A comparison with > would take NaN in place of a number for equal.
    return not torch.allclose(a, b, rtol=0.0, atol=tolerance, equal_nan=True)


def save_model(path: str | Path, model: LocalModel, training: dict[str, Any] | None = None) -> None:
    """Write a model with the metadata needed to rebuild it.

    Parameters
    ----------
    path
        File to write; replaced in one step, so that an interrupted write leaves no half file.
    model
        The model.
    training
        Where it comes from: data hash, accuracy, teacher and the like (JSON-able).
    """
    metadata = {
        "format": FORMAT,
        "schema": SCHEMA,
        "kind": model.kind,
        "units": UNITS,
        "hyperparameters": model.hyperparameters(),
        "probe": probe(copy.deepcopy(model).double().eval().requires_grad_(False)),
        "training": training or {},
    }
    if isinstance(model, EnergyModel):
        metadata["training_range"] = model.training_range.known
    if isinstance(model, EFGModel):
        metadata["without_tensors"] = list(model.without_tensors)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    save_file(tensors, partial, metadata={"efgmd": json.dumps(metadata)})
    mask = os.umask(0)
    os.umask(mask)
    partial.chmod(0o666 & ~mask)  # safetensors makes files that only their owner can read
    partial.replace(target)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata of a model file.

    Raises
    ------
    ModelFileError
        If the file is missing, is not a model of this package, or was written by a newer version.
    """
    target = Path(path)
    if not target.is_file():
        raise ModelFileError(f"model file {path} does not exist: check the path (working directory {Path.cwd()})")
    try:
        with safe_open(target, framework="pt") as file:
            header = (file.metadata() or {}).get("efgmd")
        metadata = json.loads(header) if header else {}
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ModelFileError(
            f"{path} is not an efgmd model file ({error}): give a .safetensors file of efgmd"
        ) from None
    if metadata.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} is a safetensors file but not an efgmd model: give a file written by `efgmd train`"
        )
    if metadata.get("schema", 0) > SCHEMA:
        raise ModelFileError(
            f"{path} has schema {metadata['schema']}, this efgmd reads up to {SCHEMA}: upgrade efgmd to use it"
        )
    if metadata.get("kind") not in _KINDS:
        raise ModelFileError(f"{path} holds a model of unknown kind {metadata.get('kind')!r}: expected energy or efg")
    return metadata


def load_model(
    path: str | Path, kind: str | None = None, dtype: str | torch.dtype = "float32", device: str = "cpu"
) -> LocalModel:
    """Load a model for evaluation, with its ``metadata`` and the file's ``sha256`` as attributes.

    Parameters
    ----------
    path
        A file written by :func:`save_model`.
    kind
        ``"energy"`` or ``"efg"`` if only that will do.
    dtype
        ``"float32"`` or ``"float64"``.
    device
        Torch device.

    Raises
    ------
    ModelFileError
        If the file cannot be used, in one line that says why.
    """
    metadata = read_metadata(path)
    if kind is not None and metadata["kind"] != kind:
        raise ModelFileError(
            f"{path} is an {metadata['kind']} model where an {kind} model is needed: give the other file"
        )
    names = {"float32": torch.float32, "float64": torch.float64}
    wanted = names.get(dtype) if isinstance(dtype, str) else dtype
    if wanted not in names.values():
        raise ModelFileError(f"dtype {dtype!r} is not supported: use float32 or float64")
    try:
        hyper = dict(metadata["hyperparameters"])
        if metadata["kind"] == "efg" and metadata["schema"] < 2:
            hyper["linear"] = False
        model = _KINDS[metadata["kind"]](tuple(hyper.pop("elements")), **hyper).double()
        with safe_open(Path(path), framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (safe_open is not iterable)
        since, names_of_new = _SINCE[metadata["kind"]]
        if metadata["schema"] < since:
            state |= {name: model.state_dict()[name] for name in names_of_new}
        model.load_state_dict(state)
        model.eval().requires_grad_(False)
        changed = _differs(probe(model), metadata["probe"])
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path} does not match its own metadata ({reason}): the file is damaged") from None
    if changed:
        raise ModelFileError(
            f"{path} gives other values here than when it was written: its weights are damaged, or this version of "
            "efgmd computes differently; train it again or install the version named in its metadata"
        )
    model = model.to(device=device, dtype=wanted)
    model.metadata = metadata
    model.sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return model
