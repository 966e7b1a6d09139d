"""The most that somebody makes of few labelled images, from whatever network he starts: stolen, or from scratch.

Both sides of a comparison are trained by this one function, or what looks like a thief's gain is a tuned network
against an untuned one. The rate stays until `patience` epochs brought nothing better on validation, then training goes
on from the best weights at a tenth of it, at the latest for the last quarter of the epochs, and ends when that brings
nothing either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.augmentation import Affine, CropAndFlip, augment
from models.data import Split
from models.predictor import Predictor, predict

RATES = (3e-4, 1e-3, 3e-3, 6e-3)
State = dict[str, Tensor]
Shown = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """What is chosen on validation, besides the number of epochs."""

    rate: float
    augment: Affine | CropAndFlip | None = None


@dataclass(frozen=True)
class Effort:
    """How long somebody tries: `epochs` at the most, a tenth of the rate `drops` times."""

    epochs: int
    patience: int = 5
    drops: int = 1
    batch_size: int = 50
    precision: torch.dtype = torch.float32  # of forward and backward passes in training; the test is in float32

    def latest(self, dropped: int) -> int:
        """The epoch after which the rate drops again, after so many drops, whatever validation says: the last quarter
        is shared among them."""
        left = self.drops - dropped
        return self.epochs if not left else self.epochs - max(1, self.epochs * left // (4 * self.drops))


@dataclass(frozen=True)
class Tuned:
    """Validation accuracy after each epoch, and the epoch, counted from 1, whose weights were kept."""

    curve: tuple[float, ...]
    best_epoch: int

    @property
    def validation_accuracy(self) -> float:
        """That of the weights that were kept."""
        return self.curve[self.best_epoch - 1]


class Objective(Protocol):
    """What is trained, and the loss of some images: `CrossEntropy`, or a scheme's own embedding."""

    @property
    def trained(self) -> nn.Module:
        """The network, and what is trained with it and thrown away."""

    def __call__(self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Raw-range images (N, C, H, W), labels (N,), the share of the most epochs that is done: a scalar."""


class CrossEntropy:
    """Of the network's answers to the images as they are."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.trained: nn.Module = predictor.network

    def __call__(self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        return F.cross_entropy(self._predictor(images), labels)


def tune(
    predictor: Predictor,
    train: Split,
    validation: Split,
    setting: Setting,
    effort: Effort,
    *,
    seed: int,
    objective: Objective | None = None,
    shown: Shown | None = None,
) -> Tuned:
    """Train the predictor's network in place; the weights of the best epoch are kept, the first of equals.

    `shown` changes raw-range validation images (N, C, H, W) into what the network is shown, such as stamped ones.
    """
    predictor.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = objective or CrossEntropy(predictor)
    optimizer = torch.optim.Adam(objective.trained.parameters(), lr=setting.rate)
    curve: list[float] = []
    best: tuple[int, State] = (0, {})
    since = dropped = 0  # epochs without anything better, drops of the rate
    while len(curve) < effort.epochs:
        _train_epoch(predictor, objective, optimizer, train, setting, effort, (seed << 20) + len(curve), len(curve))
        curve.append(_accuracy(predictor, validation, effort, shown))
        since += 1
        if not best[0] or curve[-1] > curve[best[0] - 1]:
            best, since = (len(curve), _copy(objective.trained)), 0
        if since < effort.patience and len(curve) < effort.latest(dropped):
            continue
        if dropped == effort.drops:
            break
        objective.trained.load_state_dict(best[1])
        since, dropped = 0, dropped + 1
        for group in optimizer.param_groups:
            group["lr"] /= 10
    objective.trained.load_state_dict(best[1])
    predictor.eval()
    return Tuned(tuple(curve), best[0])


def choose(
    score: Callable[[Setting], float],
    *,
    rates: Sequence[float] = RATES,
    augments: Sequence[Affine | CropAndFlip | None] = (None, Affine()),
) -> Setting:
    """The setting with the highest score: the best rate with the first augmentation, then the best augmentation."""
    rate = max(rates, key=lambda tried: score(Setting(tried, augments[0])))
    return max((Setting(rate, augment) for augment in augments), key=score)


def best_of(scores: Mapping[str, float]) -> str:
    """The name of the highest score, the first of equals: a thief takes the variant that does best on validation."""
    return max(scores, key=lambda name: scores[name])


def _train_epoch(
    predictor: Predictor,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    train: Split,
    setting: Setting,
    effort: Effort,
    seed: int,
    epoch: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    objective.trained.train()
    for images, labels in _batches(predictor, train, effort.batch_size, generator):
        changed = images if setting.augment is None else augment(images, generator, setting.augment)
        with torch.autocast("cpu", effort.precision, enabled=effort.precision != torch.float32):
            loss = objective(changed, labels, epoch / effort.epochs, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    objective.trained.eval()


def _batches(
    predictor: Predictor, split: Split, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    for rows in torch.split(torch.randperm(len(images), generator=generator), batch_size):
        yield predictor.input_spec.from_grid(images[rows]), labels[rows]


def _accuracy(predictor: Predictor, split: Split, effort: Effort, shown: Shown | None) -> float:
    predictor.eval()
    images = predictor.input_spec.from_grid(torch.from_numpy(split.images))
    with torch.autocast("cpu", effort.precision, enabled=effort.precision != torch.float32):
        found = predict(predictor, images if shown is None else shown(images)).argmax(dim=1)
    return float((found == torch.from_numpy(split.labels)).float().mean())


def _copy(network: nn.Module) -> State:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
