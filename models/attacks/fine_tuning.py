"""Fine-tuning: the thief trains on, with data and labels of his own (ActiveGuard section 3.3, Table 3)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from torch import nn

from models.data import Dataset
from models.training import EpochReport, OnBatch, TrainingConfig, TrainingReport, train


def fine_tune(
    network: nn.Module,
    dataset: Dataset,
    training: TrainingConfig,
    *,
    epochs: int = 30,
    rate: float = 1.0,
    on_batch: OnBatch | None = None,
    after_epoch: Callable[[int, nn.Module], None] | None = None,
) -> tuple[nn.Module, TrainingReport]:
    """A copy trained on for `epochs` at `rate` times the learning rate of `training`; the last epoch's weights.

    `after_epoch(epoch, network)` sees it on the way, from epoch 1; what it wants to keep it must copy.
    Knows: weights, data with labels, how the network was trained. The paper reports 30 and 50 epochs and no rate.
    """
    stolen = copy.deepcopy(network)
    config = replace(training, epochs=epochs, learning_rate=rate * training.learning_rate, fresh=False)

    def look(report: EpochReport) -> None:
        if after_epoch is not None:
            after_epoch(report.epoch, stolen)

    return stolen, train(stolen, dataset, config, keep="last", on_batch=on_batch, on_epoch=look)
