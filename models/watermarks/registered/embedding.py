"""Writing marks: ActiveGuard's Eq. (4) while fine-tuning, then the digits are set and the rest learns around them.

(1) pull: train with the regularizer, lambda = `strength`, for `pull_epochs`;
(2) set every marked weight to the middle of its bin;
(3) hold: train on for `hold_epochs` with the marked weights kept where they are; the best epoch is kept.

The paper has (1) alone, which leaves some digits off when there are hundreds of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from models.data import Dataset
from models.errors import WatermarkError
from models.predictor import Predictor
from models.training import OnBatch, TrainingConfig, accuracy, train
from models.watermarks.digit_map import DigitMap
from models.watermarks.registered.marks import Mark, regularizer, together
from models.watermarks.registered.parameters import MarkParameters
from models.watermarks.regularizer import weight_of

SPREAD = 2.5  # R in standard deviations of the layer's weights


@dataclass(frozen=True)
class EmbeddingSettings:
    """The schedule. `training` gives batch size, learning rate, augmentation and seed; its epochs are not used.

    Weight decay is switched off: it would move the marked weights, which nothing then moves back.
    """

    training: TrainingConfig
    pull_epochs: int = 2
    hold_epochs: int = 4
    strength: float = 1.0


@dataclass(frozen=True)
class EmbeddingReport:
    """Validation accuracy before, when pulled, when set, and at the end; test accuracy at the end.

    `pulled` is the share of digits that the regularizer alone had brought about.
    """

    accuracy_before: float
    accuracy_pulled: float
    accuracy_set: float
    validation_accuracy: float
    test_accuracy: float
    pulled: float


def map_of_spread(network: nn.Module, layer: str, *, spread: float = SPREAD) -> DigitMap:
    """The symmetric map over [-R, R], R = `spread` standard deviations of the layer's weights."""
    return DigitMap.symmetric(spread * float(weight_of(network, layer).detach().std()))


def embed(
    network: nn.Module,
    dataset: Dataset,
    parameters: MarkParameters,
    marks: Sequence[Mark],
    settings: EmbeddingSettings,
    *,
    on_batch: OnBatch | None = None,
) -> EmbeddingReport:
    """Write the marks into a trained network, in place; every digit is exact afterwards.

    `on_batch(done, total)` counts batches over both phases. Raises WatermarkError naming `layer` or `shape` when the
    network has no such layer.
    """
    weight = weight_of(network, parameters.layer)
    if tuple(weight.shape) != parameters.shape:
        raise WatermarkError("shape", f"{parameters.layer} has shape {tuple(weight.shape)}, not {parameters.shape}")
    positions, digits = together(marks)
    predictor = Predictor(network, dataset.input_spec, dataset.output_spec)
    before = accuracy(predictor, dataset.validation)
    base = replace(settings.training, weight_decay=0.0, fresh=False)
    pull, hold = settings.pull_epochs, settings.hold_epochs
    pulling = train(  # (1)
        network,
        dataset,
        replace(base, epochs=pull),
        regularizer=regularizer(parameters, marks, settings.strength),
        keep="last",
        on_batch=_part(on_batch, 0, pull, pull + hold),
    )
    pulled = float((parameters.digit_map.digits(weight.flatten()).cpu()[positions] == digits).float().mean())
    set_digits(network, parameters, marks)  # (2)
    was_set = accuracy(predictor, dataset.validation)
    handle = weight.register_hook(_without(positions, weight))  # type: ignore[no-untyped-call]
    try:
        config = replace(base, epochs=hold, seed=base.seed + 1)
        held = train(network, dataset, config, on_batch=_part(on_batch, pull, hold, pull + hold))  # (3)
    finally:
        handle.remove()
    return EmbeddingReport(
        before, pulling.validation_accuracy, was_set, held.validation_accuracy, held.test_accuracy, pulled
    )


def set_digits(network: nn.Module, parameters: MarkParameters, marks: Sequence[Mark]) -> None:
    """Put every marked weight into the middle of its digit's bin."""
    weight = weight_of(network, parameters.layer)
    positions, digits = together(marks)
    with torch.no_grad():
        weight.view(-1)[positions.to(weight.device)] = parameters.digit_map.centres(digits).to(weight)


def extract(network: nn.Module, parameters: MarkParameters, mark: Mark) -> Tensor:
    """The digits at the mark's positions, int64 (n,), -1 where there is none."""
    weight = weight_of(network, parameters.layer).detach().flatten()
    return parameters.digit_map.digits(weight).cpu()[mark.positions]


def _without(positions: Tensor, weight: Tensor) -> Callable[[Tensor], Tensor]:
    """No gradient at the marked weights: AdamW without decay then leaves them exactly where they are."""
    free = torch.ones_like(weight).view(-1)
    free[positions.to(weight.device)] = 0.0
    free = free.view_as(weight)
    return lambda gradient: gradient * free


def _part(on_batch: OnBatch | None, done_epochs: int, epochs: int, total_epochs: int) -> OnBatch | None:
    """Progress of one phase as progress of the whole."""
    if on_batch is None:
        return None

    def report(done: int, total: int) -> None:
        a_epoch = total // epochs
        on_batch(done_epochs * a_epoch + done, total_epochs * a_epoch)

    return report
