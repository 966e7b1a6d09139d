"""Training in stages: each resumes at an epoch, and its result is kept under a name with a hash of its recipe."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from benchmarks.activeguard.budgets import Budget
from benchmarks.progress import Steps
from models.augmentation import CropAndFlip
from models.data import Dataset, Split
from models.training import EpochReport, Regularizer, TrainingConfig, presets, train

SEED = 0


@dataclass(frozen=True)
class Stage:
    """Some epochs over the first `images` training images of CIFAR-10, their sides divided by `shrunk`."""

    name: str
    epochs: int
    images: int
    learning_rate: float
    batch_size: int = 128
    weight_decay: float = 0.05
    shrunk: int = 1

    @property
    def config(self) -> TrainingConfig:
        """For `models.training.train`; the weights there go on."""
        return replace(
            presets("cifar10"),
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            augment=CropAndFlip(padding=4 // self.shrunk),
            seed=SEED,
            fresh=False,
        )


def run_stage(
    network: nn.Module,
    budget: Budget,
    dataset: Dataset,
    stage: Stage,
    name: str,
    steps: Steps,
    *,
    precision: torch.dtype = torch.float32,
    checked: int = 1_000,
    terms: Regularizer | None = None,
) -> None:
    """Read the stage's result into the network, or train it now and write it down.

    `checked` validation images are looked at after each epoch; `terms` are added to every batch's loss.
    """
    finished = budget.data() / f"{name}.safetensors"
    if not finished.exists():
        images = _prepared(dataset, stage, checked)
        watched = iter(steps.over(range(stage.epochs * -(-len(images.train) // stage.batch_size)), name))
        train(
            network,
            images,
            stage.config,
            on_batch=lambda *_: next(watched, None),
            on_epoch=_Clock(finished.with_suffix(".seconds")),
            checkpoint=finished.with_suffix(".part"),
            regularizer=terms,
            keep="last",
            precision=precision,
        )
        state = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
        save_file(state, finished.with_suffix(".new"))
        finished.with_suffix(".new").rename(finished)
        finished.with_suffix(".part").unlink()
    network.load_state_dict(load_file(finished))
    network.eval()


def core_minutes(budget: Budget, *names: str) -> float:
    """What training these took, whenever that was."""
    return sum(_seconds(budget.data() / f"{name}.seconds") for name in names) / 60


def recipe_name(name: str, *recipe: object) -> str:
    """The name with a hash of all that the weights hang on."""
    return f"{name}-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:8]}"


def shrink(split: Split, by: int) -> Split:
    """Images whose sides are divided by `by`: means over squares of pixels, rounded."""
    if by == 1:
        return split
    images = F.avg_pool2d(torch.from_numpy(split.images).float(), by).round().to(torch.uint8)
    return Split(images.numpy(), split.labels)


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _prepared(dataset: Dataset, stage: Stage, checked: int) -> Dataset:
    """The stage's images; the test images are left to the measurement."""
    rows = np.arange(min(stage.images, len(dataset.train)))
    side = dataset.input_spec.shape[1] // stage.shrunk
    return replace(
        dataset,
        train=shrink(dataset.train.take(rows), stage.shrunk),
        validation=shrink(dataset.validation.take(np.arange(min(checked, len(dataset.validation)))), stage.shrunk),
        test=shrink(dataset.validation.take(np.arange(1)), stage.shrunk),
        input_spec=replace(dataset.input_spec, shape=(3, side, side)),
    )


class _Clock:
    """Adds each finished epoch's core-seconds to a file."""

    def __init__(self, file: Path) -> None:
        self.file, self.since = file, time.process_time()

    def __call__(self, _: EpochReport) -> None:
        now = time.process_time()
        self.file.write_text(f"{_seconds(self.file) + now - self.since:.3f}\n")
        self.since = now


def _seconds(file: Path) -> float:
    return float(file.read_text()) if file.exists() else 0.0
