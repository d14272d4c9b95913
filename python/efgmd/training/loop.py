"""The training loop: AdamW with warmup and cosine decay, averaged weights, checkpoints, exact resume."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efgmd.errors import DataError
from efgmd.frames.neighbours import Batch
from efgmd.training.checkpoint import load_checkpoint, save_checkpoint
from efgmd.training.config import TrainingConfig
from efgmd.training.dataset import Prepared, collate
from efgmd.training.objectives import Labels, Objective, Sums

Weights = dict[str, Tensor]


@dataclass
class Outcome:
    """What training leaves behind; the model holds the best averaged weights.

    Attributes
    ----------
    history
        One row per epoch.
    best_epoch
        The epoch, from 1, whose averaged weights had the smallest validation score.
    seconds
        Time spent, over all resumed parts.
    reason
        Why it ended.
    """

    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    reason: str


@dataclass
class _State:
    """Everything that a checkpoint holds besides the weights being trained and the optimiser."""

    averaged: Weights
    best: Weights
    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_score: float = math.inf
    seconds: float = 0.0
    finished: str = ""
    history: list[dict[str, float]] = field(default_factory=list)


def rate_at(progress: float, warmup: float, final: float) -> float:
    """Learning rate as a share of its peak, at a share ``progress`` of the run: linear rise, then half a cosine."""
    if progress < warmup:
        return max(progress, 1e-3 * warmup) / warmup
    phase = min(1.0, (progress - warmup) / (1.0 - warmup))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * phase))


def batches(
    frames: Sequence[Prepared], size: int, device: str, order: Sequence[int] | None = None
) -> Iterator[tuple[Batch, Labels]]:
    """Minibatches of ``size`` frames, in the given order."""
    indices = range(len(frames)) if order is None else order
    for start in range(0, len(indices), size):
        batch, labels = collate([frames[k] for k in indices[start : start + size]])
        if device != "cpu":
            batch, labels = batch.to(device), {name: tensor.to(device) for name, tensor in labels.items()}
        yield batch, labels


def accumulate(model: nn.Module, objective: Objective, frames: Sequence[Prepared], size: int, device: str) -> Sums:
    """Squared errors of a model over frames."""
    sums = Sums()
    model.eval()
    for batch, labels in batches(frames, size, device):
        objective.accumulate(sums, model, batch, labels)
    return sums


class Trainer:
    """Trains one model.

    Parameters
    ----------
    model
        In the precision and on the device of the settings.
    objective
        Loss and metrics.
    training
        Frames learnt from.
    validation
        Frames that choose the epoch whose weights are kept.
    config
        Settings.
    checkpoint
        File written after every epoch.
    fingerprint
        What a checkpoint must agree with to be resumed.

    Raises
    ------
    DataError
        The checkpoint belongs to another run.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        training: Sequence[Prepared],
        validation: Sequence[Prepared],
        config: TrainingConfig,
        checkpoint: Path,
        fingerprint: Mapping[str, Any],
    ) -> None:
        self.model, self.objective, self.config = model, objective, config
        self._training, self._validation = training, validation
        self._checkpoint, self._fingerprint = checkpoint, fingerprint
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.decay, fused=True
        )
        self._begun = time.monotonic()
        self.steps_per_epoch = math.ceil(len(training) / config.batch_size)
        self._validator = copy.deepcopy(model)
        weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self._state = _State(averaged=weights, best=weights)
        stored = load_checkpoint(checkpoint, fingerprint)
        self.resumed_epoch = 0
        if stored is not None:
            model.load_state_dict(stored["model"])
            self._optimizer.load_state_dict(stored["optimizer"])
            self._state = _State(**stored["state"], history=json.loads(stored["history"]))
            self.resumed_epoch = self._state.epoch
            self._begun -= self._state.seconds

    @property
    def history(self) -> list[dict[str, float]]:
        """Rows of the epochs done so far."""
        return self._state.history

    def progress(self) -> float:
        """Share of the run that is done, by epochs or by time, whichever is further."""
        by_steps = self._state.step / (self.config.epochs * self.steps_per_epoch)
        by_time = self._elapsed() / (60 * self.config.minutes) if self.config.minutes else 0.0
        return max(by_steps, by_time)

    def run(
        self,
        on_step: Callable[[int, float], None] = lambda step, loss: None,
        on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
    ) -> Outcome:
        """Train to the end, and leave the best averaged weights in the model.

        Parameters
        ----------
        on_step
            Called with the number of steps done in this epoch and the running training loss.
        on_epoch
            Called with the new row of the history.

        Raises
        ------
        DataError
            The loss became NaN or infinite.
        """
        state = self._state
        self._begun = time.monotonic() - state.seconds
        # Asked anew: a run that its time budget ended goes on if it is given more minutes.
        state.finished = self._reason_to_end() if state.epoch else ""
        while not state.finished:
            training_loss = self._train_epoch(on_step)
            row = self._close_epoch(training_loss)
            state.finished = self._reason_to_end()
            self._save()
            on_epoch(row)
        self.model.load_state_dict(state.best)
        self.model.eval()
        return Outcome(state.history, state.best_epoch, state.seconds, state.finished)

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _train_epoch(self, on_step: Callable[[int, float], None]) -> float:
        state, config = self._state, self.config
        self.model.train()
        # The order depends on the seed and the epoch alone, so a resumed run meets the frames in the same order.
        order = np.random.default_rng((config.seed, state.epoch)).permutation(len(self._training)).tolist()
        parameters = list(self.model.parameters())
        total, steps = 0.0, 0
        for batch, labels in batches(self._training, config.batch_size, config.device, order):
            rate = config.learning_rate * rate_at(self.progress(), config.warmup, config.final_rate)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.zero_grad(set_to_none=True)
            loss = self.objective.loss(self.model, batch, labels)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise DataError(
                    f"training diverged in epoch {state.epoch + 1} (loss {value}); lower --learning-rate and --restart"
                )
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, config.clip)
            self._optimizer.step()
            state.step += 1
            self._average()
            total, steps = total + value, steps + 1
            on_step(steps, total / steps)
            if config.minutes and self._elapsed() >= 60 * config.minutes:
                break
        return total / steps

    def _average(self) -> None:
        """Exponential moving average of the parameters, with a short memory at the start."""
        decay = min(self.config.ema, (1.0 + self._state.step) / (10.0 + self._state.step))
        averaged = self._state.averaged
        current = dict(self.model.named_parameters())
        with torch.no_grad():
            torch._foreach_lerp_([averaged[name] for name in current], list(current.values()), 1.0 - decay)

    def _close_epoch(self, training_loss: float) -> dict[str, float]:
        state = self._state
        self._validator.load_state_dict(state.averaged)
        size = max(self.config.batch_size, 8)
        sums = accumulate(self._validator, self.objective, self._validation, size, self.config.device)
        score = self.objective.score(sums)
        state.epoch += 1
        if score < state.best_score:
            state.best_score, state.best_epoch = score, state.epoch
            state.best = {name: tensor.clone() for name, tensor in state.averaged.items()}
        state.seconds = self._elapsed()
        row = {
            "epoch": state.epoch,
            "seconds": round(state.seconds, 3),
            "learning_rate": self._optimizer.param_groups[0]["lr"],
            "training_loss": training_loss,
            "validation_loss": self.objective.mean_loss(sums),
            "validation_score": score,
            **self.objective.metrics(sums),
        }
        state.history.append(row)
        return row

    def _reason_to_end(self) -> str:
        state, config = self._state, self.config
        if state.epoch >= config.epochs:
            return f"all {config.epochs} epochs done"
        if config.minutes and state.seconds >= 60 * config.minutes:
            return f"the {config.minutes:g} minutes are over"
        if config.patience and state.epoch - state.best_epoch >= config.patience:
            return f"no improvement in {config.patience} epochs"
        return ""

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "state": {name: value for name, value in vars(self._state).items() if name != "history"},
            "history": json.dumps(self._state.history),
        }
        save_checkpoint(self._checkpoint, self._fingerprint, state)
