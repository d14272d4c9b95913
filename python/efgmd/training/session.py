"""One training run from files to a model file."""

import math
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

import efgmd
from efgmd.errors import ConfigError, DataError
from efgmd.models import EFGModel, Neighbourhoods
from efgmd.models.io import save_model
from efgmd.training import evaluation, plots
from efgmd.training.config import TrainingConfig
from efgmd.training.dataset import (
    LabelledFrames,
    Prepared,
    collate,
    composition,
    efg_scales,
    element_references,
    load,
    prepare,
    refuse_overlap,
    run_names,
    some_frames,
    split_runs,
    tensor_counts,
    weigh_members,
)
from efgmd.training.journal import Journal
from efgmd.training.loop import Outcome, Trainer
from efgmd.training.objectives import EFGObjective, EnergyObjective, Objective, check_frames
from efgmd.training.predictions import predict_energy
from efgmd.training.ridge import LinearFit, fit_linear
from efgmd.training.starting import copy_matching, new_model, starting_scales

#: Atoms that are evaluated at once where it is not training, and that set the standardising constants of a new model.
_CALIBRATION_ATOMS = 3000


@dataclass
class TrainingFiles:
    """Files of a run.

    Attributes
    ----------
    data
        Training frames (validation frames are split off unless given).
    validation
        Files of validation frames.
    test
        Files of frames that training never sees.
    output
        Model file to write; log, history, checkpoint and plots go to a folder of its name + ".training".
    """

    data: Sequence[Path]
    validation: Sequence[Path]
    test: Sequence[Path]
    output: Path

    @property
    def folder(self) -> Path:
        """Where everything but the model goes."""
        return self.output.with_name(self.output.name.removesuffix(".safetensors") + ".training")

    @property
    def checkpoint(self) -> Path:
        """The checkpoint."""
        return self.folder / "checkpoint.pt"


def train(config: TrainingConfig, files: TrainingFiles, restart: bool = False, console: Console | None = None) -> Path:
    """Train a model, write its file and the record of the run, and return the model's path.

    An interrupted run is taken up where it stopped when the same command is given again.

    Raises
    ------
    ConfigError
        Settings that do not fit the model or the data.
    DataError
        Frames that cannot be used, or a checkpoint of another run.
    ModelFileError
        The model to start from cannot be used.
    """
    if not files.checkpoint.exists() and not restart:
        _refuse_to_replace(files.output)
    data = load(files.data, config.kind, config.label_keys())
    training, validation = _split(data, files, config)
    test = load(files.test, config.kind, config.label_keys()) if files.test else None
    for others in ([validation] if files.validation else []) + ([test] if test else []):
        refuse_overlap(data, others)
    if test is not None:
        refuse_overlap(validation, test)
    model, source = new_model(config, training)
    if config.refit:
        _check_refit(model, training, validation)
    references, copied = np.zeros(len(model.elements)), ""
    if source is not None:
        copied = copy_matching(source, model)
    model.to(device=config.device, dtype=getattr(torch, config.dtype))
    if config.kind == "energy":
        model.references = model.references.double()  # all-electron references need all their digits
    calibration = prepare(
        some_frames(training, model.elements, _CALIBRATION_ATOMS),
        config.kind,
        model.elements,
        model.cutoff,
        model.dtype,
    )
    with torch.no_grad():
        model.calibrate(collate(calibration)[0].to(config.device).neighbourhoods)
    if source is not None:
        copy_matching(source, model)
    sigma: dict[str, float] = {}
    if config.kind == "energy":
        references = _fit_references(model, training, config, network=source is not None and source.kind == "energy")
    else:
        sigma = efg_scales(training.frames, model.elements)
        model.set_scales(starting_scales(model, source, sigma))
        if test is not None:
            evaluation.refuse_incomparable(model, test)
    frames, held_out = (
        prepare(part, config.kind, model.elements, model.cutoff, model.dtype, references)
        for part in (training, validation)
    )
    objective = _objective(config, training, frames, model.elements, sigma)
    check_frames(objective, "training", frames)
    check_frames(objective, "validation", held_out)
    fits: dict[str, LinearFit] = {}
    if config.kind == "efg":
        runs = run_names(training, config.split_by)
        if model.committee > 1:
            weigh_members(frames, runs, model.committee, config.seed)
        if len(model.linear):
            fits = fit_linear(model, frames, runs, config.seed)
            if source is None or source.kind != "efg":
                model.silence_network()
    fingerprint = {
        "settings": config.fingerprint() | {"model": model.hyperparameters()},
        "data": data.sha256,
        "validation data": validation.sha256,
        "initial model": getattr(source, "sha256", None),
        "versions": {"efgmd": efgmd.__version__, "torch": str(torch.__version__)},
    }
    if restart:  # only now that the inputs have proved usable
        shutil.rmtree(files.folder, ignore_errors=True)
    trainer = None
    if any(True for _ in model.parameters()):
        trainer = Trainer(model, objective, frames, held_out, config, files.checkpoint, _flat(fingerprint))
    elif not restart:  # what a network left in the folder does not make this run its heir
        _refuse_to_replace(files.output)
    resumed = trainer.resumed_epoch if trainer else 0
    with Journal(files.folder, f"train {config.kind}", resumed > 0, console) as journal:
        journal.log(
            f"{config.kind} model of {' '.join(model.elements)}, cutoff {model.cutoff:g} A, "
            f"{sum(p.numel() for p in model.parameters())} parameters; {len(frames)} training and {len(held_out)} "
            f"validation frames ({sum(f.n_atoms for f in frames)} and {sum(f.n_atoms for f in held_out)} atoms)"
        )
        if copied:
            journal.log(f"started from {config.initialise}: {copied}")
        if config.kind == "efg":
            _log_tensors(journal, model, training, validation, config.refit)
        _log_fits(journal, fits)
        if resumed:
            journal.log(f"resumed after epoch {resumed}")
        outcome = _run(trainer, journal) if trainer else Outcome([], 0, 0.0, "there is no network to train")
        journal.log(f"ended: {outcome.reason}; best epoch {outcome.best_epoch}; {outcome.seconds:.1f} s")
        if config.kind == "energy":
            model.references.copy_(torch.from_numpy(references))
            model.record_training(*(partial(neighbourhoods_of, part, config.device) for part in (frames, held_out)))
        if config.kind == "efg" and model.committee > 1:
            evaluation.calibrate_spread(model, validation)
        accuracy, learnt = {}, training

        def judge(name: str, part: LabelledFrames) -> None:
            result = evaluation.evaluate(model, part)
            accuracy[name] = result.numbers
            plots.parity_plot(result, files.folder / f"parity_{name}")
            (console or Console()).print(evaluation.table(result, name.replace("_", " ")))

        judge("validation_before_refit" if config.refit else "validation", validation)
        if config.refit:
            learnt = training.joined(validation)
            fits = _refit(model, [training, validation], config, journal)
        if test is not None:
            judge("test", test)
        record = _record(config, learnt, len(validation.frames), outcome, model)
        record |= {"accuracy": accuracy, "initial_model_sha256": getattr(source, "sha256", None)}
        record |= {"sigma_au": {e: s for e, s in sigma.items() if not math.isnan(s)}} if sigma else {}
        record |= {"linear_fit": {element: asdict(fit) for element, fit in fits.items()}} if fits else {}
        save_model(files.output, model, record)
        journal.log(f"model written to {files.output}")
    return files.output


def _refuse_to_replace(output: Path) -> None:
    if output.exists():
        raise ConfigError(f"{output}: exists already; choose another name or say --restart to replace it")


def _log_tensors(
    journal: Journal, model: EFGModel, training: LabelledFrames, validation: LabelledFrames, refit: bool
) -> None:
    learnt, judged = (tensor_counts(part.frames, model.elements) for part in (training, validation))
    for element, count, held_out in zip(model.elements, learnt, judged, strict=True):
        if not count:
            journal.log(f"no training frame has tensors of {element}: the model will not know any")
        elif not held_out:
            missing = "known" if refit else "known, nor calibrated"
            journal.log(f"no validation frame has tensors of {element}: its errors are not {missing}")


def _log_fits(journal: Journal, fits: dict[str, LinearFit]) -> None:
    for element, fit in fits.items():
        shares = ", ".join(
            f"{name} {share.size:.2g}" + (f" to {share.decay:g} A" if share.decay else "")
            for name, share in fit.shares.items()
        )
        journal.log(
            f"linear part of {element}: RMSE/sigma {fit.error:.4f} on runs left out, penalty {fit.penalty:g}; {shares}"
            + (f"; spread of the committee times {fit.spread_scale:.2f}" if fit.spread_scale else "")
        )


def _check_refit(model: Any, training: LabelledFrames, validation: LabelledFrames) -> None:
    """Refuse what `_refit` could not solve, before anything has been computed."""
    if not isinstance(model, EFGModel) or any(True for _ in model.parameters()):
        raise ConfigError("refit: only a linear EFG model can be solved again; train one with --set channels=0")
    counts = [tensor_counts(part.frames, model.elements) for part in (training, validation)]
    if new := [element for element, old, added in zip(model.elements, *counts, strict=True) if added and not old]:
        raise DataError(
            f"refit: validation frames hold tensors of {', '.join(new)}, which no training frame does, so nothing "
            "would judge them; move some of these frames to training or leave out --refit"
        )


def _refit(
    model: Any, parts: Sequence[LabelledFrames], config: TrainingConfig, journal: Journal
) -> dict[str, LinearFit]:
    """Solve a linear model again for the frames of all parts, and calibrate its committee on runs of them left out."""
    frames = [f for part in parts for f in prepare(part, config.kind, model.elements, model.cutoff, model.dtype)]
    journal.log(f"solving again with the validation frames added, {len(frames)} frames in all")
    runs = [name for part in parts for name in run_names(part, config.split_by)]  # a name in several parts is one run
    fits = fit_linear(model, frames, runs, config.seed, calibrate=True)
    _log_fits(journal, fits)
    return fits


def _record(
    config: TrainingConfig,
    learnt: LabelledFrames,
    held_out: int,
    outcome: Outcome,
    model: Any,
) -> dict[str, Any]:
    """Where a model comes from, for its file; ``held_out`` is the number of validation frames."""
    settings = config.model_dump(mode="json")
    if config.initialise:
        settings["initialise"] = config.initialise.name  # its hash is recorded, and folders mean nothing elsewhere
    return {
        "data": [vars(file) for file in learnt.files],
        "data_sha256": learnt.sha256,
        "frames": {"training": len(learnt.frames), "validation": held_out},
        "training_atoms": _atom_counts(learnt, model.elements),
        "settings": settings,
        "seed": config.seed,
        "epochs": len(outcome.history),
        "best_epoch": outcome.best_epoch,
        "seconds": round(outcome.seconds, 1),
        "versions": {
            "efgmd": efgmd.__version__,
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "date": datetime.now(UTC).date().isoformat(),
    }


def _run(trainer: Trainer, journal: Journal) -> Outcome:
    journal.start(trainer.progress())
    try:
        outcome = trainer.run(
            lambda _, loss: journal.step(trainer.progress(), len(trainer.history) + 1, loss),
            lambda _: journal.epoch(trainer.progress(), trainer.history),
        )
    finally:
        if trainer.history:
            journal.finish(trainer.history)
    return outcome


def _split(data: LabelledFrames, files: TrainingFiles, config: TrainingConfig) -> tuple[LabelledFrames, LabelledFrames]:
    if files.validation:
        return data, load(files.validation, config.kind, config.label_keys())
    runs = run_names(data, config.split_by)
    training, validation = split_runs(runs, config.validation_fraction, config.seed)
    return data.subset(training), data.subset(validation)


def neighbourhoods_of(frames: Sequence[Prepared], device: str = "cpu") -> Iterator[Neighbourhoods]:
    """The neighbourhoods of all frames, some thousand atoms at a time."""
    ends = np.cumsum([frame.n_atoms for frame in frames])
    cuts = np.flatnonzero(np.diff(ends // _CALIBRATION_ATOMS)) + 1
    for start, end in pairwise([0, *cuts.tolist(), len(frames)]):
        yield collate(frames[start:end])[0].to(device).neighbourhoods


def _fit_references(model: Any, data: LabelledFrames, config: TrainingConfig, network: bool) -> np.ndarray:
    """Least-squares references; of what the network leaves unexplained if it has been trained before."""
    energies = np.array([atoms.calc.results["energy"] for atoms in data.frames])
    if network:
        for k, frame in enumerate(prepare(data, config.kind, model.elements, model.cutoff, model.dtype)):
            energies[k] -= float(predict_energy(model, collate([frame])[0].to(config.device)).atomic.sum())
    return element_references(composition(data.frames, model.elements), energies)


def _objective(
    config: TrainingConfig,
    training: LabelledFrames,
    frames: Sequence[Prepared],
    elements: Sequence[str],
    sigma: dict[str, float],
) -> Objective:
    if config.kind == "energy":
        return EnergyObjective(frames, config.weights)
    unknown = [element for element in config.weights if element not in elements]
    if unknown:
        raise ConfigError(f"weights: {', '.join(unknown)} is not in the data")
    return EFGObjective(training, elements, sigma, config.weights)


def _atom_counts(data: LabelledFrames, elements: Sequence[str]) -> dict[str, int]:
    return dict(zip(elements, composition(data.frames, elements).sum(axis=0).astype(int).tolist(), strict=True))


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names, so that a difference can be named."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
    return flat
