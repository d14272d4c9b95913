"""Settings of a training run, from a YAML file and the command line."""

import inspect
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from ase.data import chemical_symbols
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from efgmd.errors import ConfigError
from efgmd.frames.labels import LabelKeys
from efgmd.training.objectives import EnergyObjective

Kind = Literal["energy", "efg"]


class TrainingConfig(BaseModel):
    """Everything that decides how a model comes out, apart from the data.

    Two runs with the same settings, data and versions give the same model, unless ``minutes`` ends one of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    elements: tuple[str, ...] | None = Field(
        None, description="Elements in the model's order; by atomic number if unset."
    )
    model: dict[str, Any] = Field(default_factory=dict, description="Hyperparameters of the model.")
    initialise: Path | None = Field(None, description="Model file to start from.")
    epochs: int = Field(200, ge=1, description="Passes over the training frames.")
    minutes: float | None = Field(None, gt=0, description="End the run, fully annealed, after this many minutes.")
    batch_size: int = Field(4, ge=1, description="Frames per step.")
    learning_rate: float = Field(5e-3, gt=0, description="Peak learning rate of AdamW.")
    final_rate: float = Field(0.01, ge=0, le=1, description="Learning rate at the end, as a share of the peak.")
    warmup: float = Field(0.02, ge=0, lt=1, description="Share of the run over which the learning rate rises.")
    weight_decay: float | None = Field(None, ge=0, description="Of AdamW; 0.001 for energy and 1 for efg if unset.")
    ema: float = Field(0.99, ge=0, lt=1, description="Decay per step of the averaged weights, which are the ones kept.")
    clip: float = Field(
        1.0, gt=0, description="Largest norm of the gradient; rare atoms far from the rest raise it a hundredfold."
    )
    patience: int | None = Field(None, ge=1, description="Stop after this many epochs without improvement.")
    seed: int = Field(0, ge=0, description="Of the initial weights, the split and the order of the frames.")
    dtype: Literal["float32", "float64"] = Field("float32", description="Precision of training.")
    device: str = Field("cpu", description="``cpu`` or ``cuda``.")
    split_by: str = Field("tag", description="Info key that names a frame's run; frame: frames are independent.")
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="Share of the frames held out.")
    refit: bool = Field(
        False,
        description="Of a linear EFG model: solve again with the validation frames added, once they have judged it; "
        "the committee is calibrated on runs left out.",
    )
    weights: dict[str, float] = Field(default_factory=dict, description="Of energy, forces, stress, or of elements.")
    keys: dict[str, str] = Field(default_factory=dict, description="Names of the labels in the files.")

    @field_validator("elements", mode="before")
    @classmethod
    def _split_elements(cls, value: Any) -> Any:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("elements")
    @classmethod
    def _known_elements(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for symbol in value or ():
            if symbol not in chemical_symbols[1:]:
                raise ValueError(f"'{symbol}' is not an element")
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("name each element once")
        return value

    @field_validator("device")
    @classmethod
    def _usable_device(cls, value: str) -> str:
        import torch

        if value != "cpu" and not (value.startswith("cuda") and torch.cuda.is_available()):
            raise ValueError(f"'{value}' is not available here; use cpu")
        return value

    @field_validator("keys")
    @classmethod
    def _known_keys(cls, value: dict[str, str]) -> dict[str, str]:
        _only(value, LabelKeys.__dataclass_fields__)
        return value

    @model_validator(mode="after")
    def _check_weights(self) -> "TrainingConfig":
        _only(self.weights, EnergyObjective.default_weights if self.kind == "energy" else chemical_symbols[1:])
        effective = {**EnergyObjective.default_weights, **self.weights} if self.kind == "energy" else {"": 1.0}
        if any(not 0 <= weight < math.inf for weight in self.weights.values()) or not any(effective.values()):
            raise ValueError("weights: must not be negative or infinite, and not all zero")
        return self

    @property
    def decay(self) -> float:
        """Weight decay in force.

        EFG data are scarce and their targets of unit size, so strong decay generalises better; on the MAPbI3 tensors it
        lowers the validation error by a third. An energy model that must reach steep repulsion is held back by it.
        """
        return {"energy": 1e-3, "efg": 1.0}[self.kind] if self.weight_decay is None else self.weight_decay

    def label_keys(self) -> LabelKeys:
        """Names of the labels in the data files."""
        return LabelKeys(**self.keys)

    def fingerprint(self) -> dict[str, Any]:
        """Settings that a checkpoint must agree with; the time budget may change on resuming."""
        settings = self.model_dump(mode="json", exclude={"minutes", "device", "initialise"})
        return settings | {"weight_decay": self.decay}


def _only(given: Mapping[str, Any], known: Iterable[str]) -> None:
    names = list(known)
    for name in given:
        if name not in names:
            choice = f"one of {', '.join(names)}" if len(names) < 20 else "an element symbol"
            raise ValueError(f"'{name}' is unknown, expected {choice}")


def read_config(path: Path | None, given: Mapping[str, Any]) -> TrainingConfig:
    """Settings of a YAML file, overridden by those given on the command line.

    Parameters
    ----------
    path
        YAML file with fields of `TrainingConfig`, or None.
    given
        Settings by field name; dictionaries are merged with those of the file.

    Raises
    ------
    ConfigError
        Unreadable file, unknown field or wrong value, one line each.
    """
    settings: dict[str, Any] = {}
    where = str(path) if path else "settings"
    if path is not None:
        try:
            settings = yaml.safe_load(path.read_text()) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"cannot be read: {' '.join(str(error).split())}", where) from error
        if not isinstance(settings, dict):
            raise ConfigError("must hold fields like 'epochs: 200', one a line", where)
    if "kind" in given and settings.get("kind", given["kind"]) != given["kind"]:
        raise ConfigError(f"kind: the file is for '{settings['kind']}', the command for '{given['kind']}'", where)
    for name, value in given.items():
        inside = settings.get(name)
        settings[name] = {**inside, **value} if isinstance(value, dict) and isinstance(inside, dict) else value
    try:
        return TrainingConfig(**settings)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc'])) or 'settings'}: {_message(item)}" for item in error.errors()]
        raise ConfigError(problems, where) from error


def _message(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return f"unknown field; known are {', '.join(TrainingConfig.model_fields)}"
    own = isinstance(item.get("ctx", {}).get("error"), ValueError)
    return item["msg"].removeprefix("Value error, ") + ("" if own else f" (got {item['input']!r})")


def parse_assignments(items: Iterable[str], option: str) -> dict[str, Any]:
    """Read NAME=VALUE items; values are YAML, so ``3``, ``0.5``, ``true``, ``[1, 2]`` and ``{I: [Pb]}`` work.

    Raises
    ------
    ConfigError
        An item without "=".
    """
    values = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name or not text:
            raise ConfigError(f"{option} takes NAME=VALUE, got '{item}'")
        try:
            values[name.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"{option} {name}: '{text}' is not a number, word, list or mapping") from None
    return values


#: Least and largest values of hyperparameters; of those not named, 1 or more. The kernels hold 32 functions and l = 4.
_RANGES: dict[str, tuple[float, float]] = {
    "cutoff": (0.1, math.inf),
    "r0": (0.01, math.inf),
    "n_radial": (1, 32),
    "lmax": (1, 4),
    "channels": (0, math.inf),
    "message_cutoff": (0.0, math.inf),
}


_FORMS = {
    "message_cutoffs": "lengths (angstrom) by two elements, such as {I: {H: 3.5}}",
    "message_products": "lists of elements by element, such as {I: [Pb]}",
    "centre_cutoffs": "lengths (angstrom) by element, such as {H: 5.0}",
}


def check_hyperparameters(model_class: type, given: Mapping[str, Any]) -> None:
    """Refuse hyperparameters that a model cannot have.

    Raises
    ------
    ConfigError
        Names the unknown one and the known ones, or the range that a value is outside of.
    """
    signature = inspect.signature(model_class, eval_str=True).parameters
    known = {name: item.annotation for name, item in signature.items() if name not in ("self", "elements")}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"model.{name}: unknown hyperparameter; {model_class.__name__} takes {', '.join(known)}")
        if known[name] is bool:
            if not isinstance(value, bool):
                raise ConfigError(f"model.{name}: true or false, got {value}")
            continue
        if known[name] not in (int, float):
            try:
                TypeAdapter(known[name]).validate_python(value, strict=True)
            except ValidationError:
                raise ConfigError(f"model.{name}: {_FORMS[name]}, got {value}") from None
            continue
        whole = known[name] is int
        least, most = _RANGES.get(name, (1, math.inf))
        if (
            isinstance(value, bool)
            or not isinstance(value, int if whole else int | float)
            or not least <= value <= most
        ):
            kind = "a whole number" if whole else "a number (angstrom)"
            raise ConfigError(
                f"model.{name}: {kind}, {least:g} {f'to {most:g}' if most < math.inf else 'or more'}, got {value}"
            )
