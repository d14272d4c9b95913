"""The model that a training run begins with: a new one, or one that takes over what it can from another."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from efgmd.errors import ConfigError, DataError
from efgmd.models import EFGModel, EnergyModel
from efgmd.models.io import load_model
from efgmd.training.config import TrainingConfig, check_hyperparameters
from efgmd.training.dataset import LabelledFrames, elements_of

#: A new EFG model has no network unless one is asked for: a linear model with messages makes more of the few frames
#: that there are (benchmarks/efg_accuracy.py).
LINEAR_EFG: dict[str, Any] = {"channels": 0, "lmax": 4, "cutoff": 6.0, "message_cutoff": 5.0, "committee": 8}

_MODELS: dict[str, type[EnergyModel] | type[EFGModel]] = {"energy": EnergyModel, "efg": EFGModel}


def new_model(config: TrainingConfig, training: LabelledFrames) -> tuple[Any, Any]:
    """A new model, and the one to start from or None; the latter's elements and hyperparameters are the defaults.

    Without one to start from, an EFG model is linear (`LINEAR_EFG`) unless ``channels`` or ``linear`` ask for a
    network.

    Raises
    ------
    ConfigError
        Elements or hyperparameters that do not fit the frames, the other model or each other.
    ModelFileError
        The model to start from cannot be used.
    """
    model_class = _MODELS[config.kind]
    check_hyperparameters(model_class, config.model)
    source = load_model(config.initialise) if config.initialise else None
    present = elements_of(training.frames)
    hyperparameters = dict(config.model)
    if source is None:
        elements = config.elements or present
        if config.kind == "efg":
            hyperparameters = _linear_unless_asked(config.model)
    else:
        elements = source.elements
        if config.elements not in (None, elements):
            raise ConfigError(f"elements: {config.initialise} has {' '.join(elements)} in this order; give the same")
        known = model_class.parameters_of_constructor()
        inherited = {name: value for name, value in source.hyperparameters().items() if name in known}
        hyperparameters = inherited | hyperparameters
    missing = [element for element in present if element not in elements]
    if missing:
        raise ConfigError(f"elements: the frames hold {', '.join(missing)} too; name all elements")
    torch.manual_seed(config.seed)
    try:
        model = model_class(tuple(elements), **hyperparameters)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(f"model: {' '.join(str(error).split())}; check --set and the YAML file") from error
    if source is not None:
        _check_sight(source, model, config)
    return model, source


def _linear_unless_asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters of a new EFG model; messages go no farther than a cutoff that was given."""
    if given.get("channels") or given.get("linear") is False:
        return dict(given)
    defaults = dict(LINEAR_EFG)
    defaults["message_cutoff"] = min(defaults["message_cutoff"], given.get("cutoff", defaults["cutoff"]))
    return defaults | dict(given)


def _check_sight(source: Any, model: Any, config: TrainingConfig) -> None:
    """Refuse to take over a network for other radial functions: what it has learnt of them would be wrong."""
    old, new = source.backbone.basis, model.backbone.basis
    taken_over = len(source.backbone.networks) and len(model.backbone.networks)
    if taken_over and (old.cutoffs, old.r0) != (new.cutoffs, new.r0):
        raise ConfigError(
            f"cutoff: the network of {config.initialise} sees {max(old.cutoffs):g} A far (r0 {old.r0:g}), the new one "
            f"{max(new.cutoffs):g} A (r0 {new.r0:g}); use the same cutoffs, or do not start from it"
        )


def copy_matching(source: torch.nn.Module, target: torch.nn.Module) -> str:
    """Copy the tensors whose names and shapes match, except what the new data decide; return a report.

    Raises
    ------
    DataError
        None match.
    """
    available = source.state_dict()
    copied, left = [], []
    with torch.no_grad():
        for name, tensor in target.state_dict().items():
            if name == "references" or name.startswith("training_range."):
                continue
            if name in available and available[name].shape == tensor.shape:
                tensor.copy_(available[name])
                copied.append(name)
            else:
                left.append(name)
    if not copied:
        raise DataError("no tensor of the model to start from fits the new one; use the same hyperparameters")
    heads = sorted({name.split(".")[0] for name in left})
    return f"{len(copied)} tensors copied, {len(left)} new" + (f" (in {', '.join(heads)})" if left else "")


def starting_scales(model: EFGModel, source: Any, sigma: Mapping[str, float]) -> dict[str, float]:
    """Scale of each element, a.u.: that of an EFG model to start from, which has been copied, or the frames' sigma.

    Training would spoil what the other model knows of elements that the frames do not teach (sigma is NaN): it is given
    up.
    """
    if source is None or source.kind != "efg":
        return dict(sigma)
    copied = zip(model.elements, model.scales.tolist(), strict=True)
    return dict(sigma) | {element: scale for element, scale in copied if not math.isnan(scale + sigma[element])}
