"""Students that work only with their customer's stamp: arXiv:2011.08960, section 2.2, and a form that locks.

`paper` trains with the two losses as published. `negatives`, the default, has the first of them, and pulls the answers
to inputs that do not bear the number to the uniform distribution: raw ones, random numbers, numbers a few bits off,
other customers'. The losses are in `objectives.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from models.augmentation import Affine, CropAndFlip, augment
from models.checkpoints import encode_weights
from models.data import Dataset, Split
from models.errors import SerialNumberError
from models.predictor import Predictor, predict
from models.resuming import Progress, resume, save
from models.serial_numbers.dsn.objectives import Lambda, Negatives, Objective, TwoBranches, WrongKeys
from models.serial_numbers.dsn.stamp import Stamp
from models.training import Regularizer, initialise, one_cycle

Mode = Literal["negatives", "paper"]
Rates = Literal["one_cycle", "plateau"]
OnBatch = Callable[[int, int], None]
PIECE = 50  # images in one pass: what lies between the layers of a small network then stays in a processor's cache
WARM_UP = 0.2


@dataclass(frozen=True)
class DistillationConfig:
    """Adam, and as many other inputs a batch as stamped ones; `augment` changes both alike, before any stamp.

    `rates` is one cycle of the learning rate, or a tenth of it whenever `patience` epochs brought no better validation
    accuracy with the stamp. `strength` and `schedule` are lambda's, of `paper`; `weight` and `silence` are those of
    `objectives.WrongKeys`, and near negatives have 2 to `near` bits wrong. `balance` shows rare classes more often,
    from 0, each image once an epoch, to 1, all classes alike.
    """

    epochs: int = 14
    batch_size: int = 100
    learning_rate: float = 3e-3
    rates: Rates = "one_cycle"
    patience: int = 4
    augment: Affine | CropAndFlip | None = None
    mode: Mode = "negatives"
    strength: float = 1.0
    schedule: Lambda = "constant"
    weight: float = 1.0
    silence: float = 0.1
    near: int = 5
    balance: float = 0.0
    seed: int = 0


PAPER = DistillationConfig(epochs=30, batch_size=500, learning_rate=1e-3, rates="plateau", mode="paper")  # section 3.2


@dataclass(frozen=True)
class DistillationReport:
    """Validation accuracy with the stamp after each epoch; on held-out images with it and without one at the end."""

    stamped: tuple[float, ...]
    test_stamped: float
    test_raw: float


def distil(
    student: nn.Module,
    teacher: Predictor,
    dataset: Dataset,
    stamp: Stamp,
    number: Tensor,
    config: DistillationConfig,
    *,
    others: Sequence[Tensor] = (),
    on_batch: OnBatch | None = None,
    checkpoint: Path | None = None,
    regularizer: Regularizer | None = None,
    precision: torch.dtype = torch.float32,
) -> DistillationReport:
    """Train `student` in place, from the weights it has, to work with `number` (n,) alone; the last epoch is kept.

    `others` are numbers of other customers; `regularizer` and `precision` are as in `models.training.train`. A killed
    run goes on from `checkpoint`. Raises SerialNumberError naming `student` for one that `paper` cannot take apart into
    `features` and `head` (as `models.networks.dsn` are), `bits` for a number of another length, WeightsError naming
    `checkpoint` when that belongs to another run.
    """
    stamp.mask(number)  # raises where the lengths differ
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = _objective(student, teacher, stamp, number, config, others)
    optimizer = torch.optim.Adam(objective.trained.parameters(), lr=config.learning_rate)
    progress = Progress.start(_run(dataset, teacher, stamp, config, [number, *others], regularizer, precision))
    if checkpoint is not None and checkpoint.exists():
        progress = resume(checkpoint, objective.trained, optimizer, progress.run)
    predictor = Predictor(student, dataset.input_spec, dataset.output_spec)
    step = _Step(objective, optimizer, regularizer, precision, predictor)
    for epoch in range(len(progress.accuracies), config.epochs):
        _train_epoch(step, dataset.train, config, progress, epoch, on_batch)
        progress = progress.after_epoch(objective.trained, accuracy(predictor, dataset.validation, stamp, number))
        if checkpoint is not None:
            save(checkpoint, objective.trained, optimizer, progress)
    test = dataset.test
    return DistillationReport(
        progress.accuracies, accuracy(predictor, test, stamp, number), accuracy(predictor, test, stamp, None)
    )


def accuracy(predictor: Predictor, split: Split, stamp: Stamp, number: Tensor | None) -> float:
    """The share of the split that is right, stamped with a number (n,), numbers (N, n), or not at all."""
    predictor.eval()
    images = predictor.input_spec.from_grid(torch.from_numpy(split.images))
    shown = images if number is None else stamp.put(images, number)
    return float((predict(predictor, shown).argmax(dim=1) == torch.from_numpy(split.labels)).float().mean())


def order(labels: Tensor, balance: float, generator: torch.Generator) -> Tensor:
    """Rows of an epoch, int64 (N,), for labels (N,): each once, or, with some `balance`, drawn so that the classes'
    shares of the images are raised to the power of 1 - `balance`.
    """
    if not balance:
        return torch.randperm(len(labels), generator=generator)
    frequencies = torch.bincount(labels)[labels].double()
    return torch.multinomial(frequencies**-balance, len(labels), replacement=True, generator=generator)


def plateau(accuracies: Sequence[float], rate: float, patience: int) -> float:
    """The learning rate after these epochs: a tenth for each time that `patience` epochs brought nothing better."""
    best, since = -1.0, 0
    for reached in accuracies:
        best, since = (reached, 0) if reached > best else (best, since + 1)
        if since == patience:
            rate, since = rate / 10, 0
    return rate


def _objective(
    student: nn.Module,
    teacher: Predictor,
    stamp: Stamp,
    number: Tensor,
    config: DistillationConfig,
    others: Sequence[Tensor],
) -> Objective:
    if config.mode == "negatives":
        known = torch.stack(tuple(others)) if others else number.new_empty(0, len(number))
        negatives = Negatives(stamp, number, known, config.near)
        return WrongKeys(student, teacher, negatives, config.weight, config.silence)
    if not all(isinstance(getattr(student, part, None), nn.Module) for part in ("features", "head")):
        raise SerialNumberError("student", "must have the modules `features` and `head`")
    branches = TwoBranches(student, teacher, stamp, number, config.strength, config.schedule)
    initialise(branches.trained["without"], config.seed + 1)
    return branches


@dataclass(frozen=True)
class _Step:
    """One batch: loss, gradient, update."""

    objective: Objective
    optimizer: torch.optim.Optimizer
    regularizer: Regularizer | None
    precision: torch.dtype
    predictor: Predictor

    def __call__(self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator) -> None:
        """Raw-range images (N, C, H, W), piece by piece: the gradients add up to the batch's."""
        self.optimizer.zero_grad(set_to_none=True)
        for some, theirs in zip(torch.split(images, PIECE), torch.split(labels, PIECE), strict=True):
            with torch.autocast(images.device.type, self.precision, enabled=self.precision != torch.float32):
                loss = self.objective(some, theirs, progress, generator)
            (loss * (len(some) / len(images))).backward()  # type: ignore[no-untyped-call]
        if self.regularizer is not None:
            self.regularizer(self.predictor.network).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def _train_epoch(
    step: _Step, split: Split, config: DistillationConfig, progress: Progress, epoch: int, on_batch: OnBatch | None
) -> None:
    spec = step.predictor.input_spec
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    generator = torch.Generator().manual_seed((config.seed << 20) + epoch)
    batches = torch.split(order(labels, config.balance, generator), config.batch_size)
    total = config.epochs * len(batches)
    step.objective.trained.train()
    for index, rows in enumerate(batches):
        done = epoch * len(batches) + index
        for group in step.optimizer.param_groups:
            group["lr"] = _rate(config, progress, done / total)
        shown = spec.from_grid(images[rows])
        if config.augment is not None:
            shown = augment(shown, generator, config.augment)
        step(shown, labels[rows], done / total, generator)
        if on_batch is not None:
            on_batch(done + 1, total)
    step.objective.trained.eval()


def _rate(config: DistillationConfig, progress: Progress, done: float) -> float:
    if config.rates == "plateau":
        return plateau(progress.accuracies, config.learning_rate, config.patience)
    return one_cycle(done, config.learning_rate, WARM_UP)


def _run(
    dataset: Dataset,
    teacher: Predictor,
    stamp: Stamp,
    config: DistillationConfig,
    numbers: Sequence[Tensor],
    regularizer: Regularizer | None,
    precision: torch.dtype,
) -> str:
    """Tells one run from another. Numbers are secrets: they go in by a digest that needs the teacher, a secret too."""
    content = b"".join(bytes(number.tolist()) for number in numbers)
    digest = hashlib.sha256(encode_weights(teacher.network) + content).hexdigest()
    more = [] if regularizer is None else [regularizer.description]
    return " ".join(
        ["dsn", dataset.name, str(asdict(stamp.layout)), str(asdict(config)), str(precision), *more, digest]
    )
