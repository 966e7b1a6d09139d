"""Training with seeds, progress and checkpoints: the same seed gives the same weights, killed and resumed or not.

Everything random in epoch e is drawn from (seed, e) and the learning rate is a function of the step, so a checkpoint
at the end of an epoch needs no generator state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.augmentation import Affine, CropAndFlip, augment
from models.data import Dataset, Split
from models.errors import SpecError
from models.predictor import Predictor, predict
from models.resuming import Progress, resume, save

OnBatch = Callable[[int, int], None]
Keep = Literal["best", "last"]


class Regularizer(Protocol):
    """A term of the loss that looks at the weights alone, such as the one that embeds a watermark."""

    @property
    def description(self) -> str:
        """Tells one term from another without giving a secret away: it goes into the checkpoint's file."""

    def __call__(self, network: nn.Module) -> Tensor:
        """What to add to the loss of a batch: a scalar."""


@dataclass(frozen=True)
class TrainingConfig:
    """How to train: AdamW, one cycle of the learning rate, cross-entropy.

    `fresh` draws new initial weights from the seed; without it training goes on from the network's own.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warm_up: float = 0.25
    augment: Affine | CropAndFlip | None = field(default_factory=Affine)
    seed: int = 0
    fresh: bool = True


@dataclass(frozen=True)
class EpochReport:
    """One epoch, counted from 1: mean training loss and the share of validation images that is right."""

    epoch: int
    epochs: int
    loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class TrainingReport:
    """Validation accuracy after each epoch, the epoch whose weights were kept (`best_epoch`, whichever was asked for),
    and how those do on validation and on held-out images."""

    accuracies: tuple[float, ...]
    best_epoch: int
    validation_accuracy: float
    test_accuracy: float


PRESETS = {
    # for a CPU: ResNet-20 in a quarter of an hour of one core, in bfloat16; published schedules have 160 to 200 epochs
    "cifar10": TrainingConfig(epochs=14, learning_rate=1e-2, weight_decay=0.05, augment=CropAndFlip()),
    "digits": TrainingConfig(epochs=60, batch_size=50),
    # 240 images of a fold: more epochs, small batches, and heads that turn less than digits do
    "faces": TrainingConfig(
        epochs=120, batch_size=20, learning_rate=1e-3, weight_decay=0.05, augment=Affine(8.0, 5.0, 0.1, 0.06)
    ),
    "gtsrb": TrainingConfig(  # no flips: left and right are different signs
        epochs=24, batch_size=50, learning_rate=1.5e-3, weight_decay=0.05, augment=Affine(15.0, 12.0, 0.2, 0.12)
    ),
    "mnist": TrainingConfig(epochs=20, batch_size=64, weight_decay=0.05, augment=Affine(scale=0.12, shift=0.08)),
}


def presets(name: str) -> TrainingConfig:
    """The schedule that goes with a data set of `models.data`; raises SpecError for another name."""
    if name not in PRESETS:
        raise SpecError("training", f"there is no schedule for {name!r}, only for {', '.join(PRESETS)}")
    return PRESETS[name]


def train(
    network: nn.Module,
    dataset: Dataset,
    config: TrainingConfig,
    *,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_batch: OnBatch | None = None,
    checkpoint: Path | None = None,
    regularizer: Regularizer | None = None,
    keep: Keep = "best",
    precision: torch.dtype = torch.float32,
) -> TrainingReport:
    """Train in place and leave the weights of the epoch that was best on the validation images (the last of equals).

    `on_batch(done, total)` counts batches of the whole run. `regularizer` adds a term to every batch's loss. With
    `keep="last"` the weights are left as the last epoch made them. With `checkpoint`, a file written after each epoch,
    a run that was killed goes on where it was; raises WeightsError naming `checkpoint` when it belongs to another run.
    `precision` is that of forward and backward passes: bfloat16 halves a residual network's time on a processor that
    has instructions for it; weights and everything measured stay float32.
    """
    if config.fresh:
        initialise(network, config.seed)
    device = next(network.parameters()).device
    predictor = Predictor(network, dataset.input_spec, dataset.output_spec).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    progress = Progress.start(_run(dataset, config, regularizer, precision))
    if checkpoint is not None and checkpoint.exists():
        progress = resume(checkpoint, network, optimizer, progress.run)
    step = _Step(predictor, optimizer, regularizer, precision)
    for epoch in range(len(progress.accuracies), config.epochs):
        loss = _train_epoch(step, dataset.train, config, epoch, on_batch)
        reached = accuracy(predictor, dataset.validation)
        progress = progress.after_epoch(network, reached)
        if checkpoint is not None:
            save(checkpoint, network, optimizer, progress)
        if on_epoch is not None:
            on_epoch(EpochReport(epoch + 1, config.epochs, loss, reached))
    if keep == "best" and progress.best_state:
        network.load_state_dict(progress.best_state)
    kept = progress.best_epoch if keep == "best" else len(progress.accuracies)
    reached = progress.accuracies[kept - 1] if kept else accuracy(predictor, dataset.validation)
    return TrainingReport(progress.accuracies, kept, reached, accuracy(predictor, dataset.test))


def _run(dataset: Dataset, config: TrainingConfig, regularizer: Regularizer | None, precision: torch.dtype) -> str:
    more = [] if regularizer is None else [regularizer.description]
    more += [] if precision == torch.float32 else [str(precision)]
    return " ".join([dataset.name, str(asdict(config)), *more])


def initialise(network: nn.Module, seed: int) -> None:
    """Draw the weights of every layer that knows how to, from the seed; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


def accuracy(predictor: Predictor, split: Split) -> float:
    """The share of the split's images whose arg max is their label."""
    predictor.eval()
    images = predictor.input_spec.from_grid(torch.from_numpy(split.images))
    found = predict(predictor, images.to(predictor.mean.device)).argmax(dim=1).cpu()
    return float((found == torch.from_numpy(split.labels)).float().mean())


@dataclass(frozen=True)
class _Step:
    """One batch: loss, gradient, update; gives the loss."""

    predictor: Predictor
    optimizer: torch.optim.Optimizer
    regularizer: Regularizer | None
    precision: torch.dtype

    def __call__(self, inputs: Tensor, labels: Tensor) -> float:
        device = self.predictor.mean.device
        with torch.autocast(device.type, dtype=self.precision, enabled=self.precision != torch.float32):
            logits = self.predictor(inputs.to(device))
        loss = F.cross_entropy(logits, labels.to(device))
        if self.regularizer is not None:
            loss = loss + self.regularizer(self.predictor.network)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())


def _train_epoch(step: _Step, split: Split, config: TrainingConfig, epoch: int, on_batch: OnBatch | None) -> float:
    predictor = step.predictor
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    generator = torch.Generator().manual_seed((config.seed << 20) + epoch)
    batches = torch.split(torch.randperm(len(images), generator=generator), config.batch_size)
    total, losses = config.epochs * len(batches), 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((config.seed << 20) + epoch)  # for layers that draw, such as dropout
        predictor.train()
        for index, rows in enumerate(batches):
            done = epoch * len(batches) + index
            for group in step.optimizer.param_groups:
                group["lr"] = one_cycle(done / total, config.learning_rate, config.warm_up)
            inputs = _augmented(predictor.input_spec.from_grid(images[rows]), generator, config)
            losses += step(inputs, labels[rows])
            if on_batch is not None:
                on_batch(done + 1, total)
    predictor.eval()
    return losses / len(batches)


def _augmented(inputs: Tensor, generator: torch.Generator, config: TrainingConfig) -> Tensor:
    return inputs if config.augment is None else augment(inputs, generator, config.augment)


def one_cycle(progress: float, peak: float, warm_up: float) -> float:
    """The learning rate at `progress` in [0, 1): a cosine from peak/25 up to the peak, and one from there to 0.

    Smith and Topin, "Super-convergence", 2018, arXiv:1708.07120; with cosines for its straight lines, as is usual.
    """
    if progress < warm_up:
        return peak * (0.04 + 0.96 * (1 - math.cos(math.pi * progress / warm_up)) / 2)
    return peak * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2
