"""Fine-tuning: the thief trains on, with data and labels of his own (ActiveGuard section 3.3, Table 3)."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import nn

from models.data import Dataset
from models.training import OnBatch, TrainingConfig, TrainingReport, train


def fine_tune(
    network: nn.Module,
    dataset: Dataset,
    training: TrainingConfig,
    *,
    epochs: int = 30,
    rate: float = 1.0,
    on_batch: OnBatch | None = None,
) -> tuple[nn.Module, TrainingReport]:
    """A copy trained on for `epochs` at `rate` times the learning rate of `training`; the last epoch's weights.

    Knows: weights, data with labels, how the network was trained. The paper reports 30 and 50 epochs and no rate.
    """
    stolen = copy.deepcopy(network)
    config = replace(training, epochs=epochs, learning_rate=rate * training.learning_rate, fresh=False)
    return stolen, train(stolen, dataset, config, keep="last", on_batch=on_batch)
