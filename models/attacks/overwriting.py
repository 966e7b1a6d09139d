"""Overwriting: a thief who knows the scheme, not the secret, writes a mark of his own over the owner's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import nn

from models.data import Dataset
from models.training import OnBatch, Regularizer, TrainingConfig, TrainingReport, train

Report = TypeVar("Report")


def overwrite(network: nn.Module, write: Callable[[nn.Module], Report]) -> tuple[nn.Module, Report]:
    """A copy with what `write` did to it, in place, and what `write` returned.

    Knows: weights, data with labels, and the scheme: `write` is that scheme's own way to embed, with the thief's key.
    """
    stolen = copy.deepcopy(network)
    return stolen, write(stolen)


def overwrite_with(
    network: nn.Module,
    dataset: Dataset,
    regularizer: Regularizer,
    training: TrainingConfig,
    *,
    on_batch: OnBatch | None = None,
) -> tuple[nn.Module, TrainingReport]:
    """A copy fine-tuned with the regularizer of a second mark, as the published schemes embed."""
    return overwrite(
        network,
        lambda stolen: train(stolen, dataset, training, regularizer=regularizer, keep="last", on_batch=on_batch),
    )
