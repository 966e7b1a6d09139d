"""Transfer learning: the thief keeps the features and trains a head of his own (arXiv:2011.08960, Table 5)."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import nn

from models.data import Dataset
from models.errors import SpecError
from models.training import OnBatch, TrainingConfig, TrainingReport, initialise, train


def transfer(
    network: nn.Module,
    dataset: Dataset,
    training: TrainingConfig,
    *,
    head: str = "head",
    frozen: bool = False,
    on_batch: OnBatch | None = None,
) -> tuple[nn.Module, TrainingReport]:
    """A copy whose `head` (a module's name) starts from fresh weights, trained on; `frozen` leaves the rest as it is.

    Knows: weights, data with labels. Raises SpecError naming `head` for a module that is not there.
    """
    stolen = copy.deepcopy(network)
    try:
        fresh = stolen.get_submodule(head)
    except AttributeError:
        raise SpecError("head", f"{head!r} is not a module of this network") from None
    initialise(fresh, training.seed)
    kept = {parameter for parameter in stolen.parameters() if frozen} - set(fresh.parameters())
    for parameter in kept:
        parameter.requires_grad_(False)
    report = train(stolen, dataset, replace(training, fresh=False), keep="last", on_batch=on_batch)
    for parameter in kept:
        parameter.requires_grad_(True)
    return stolen, report


def leaky(network: nn.Module, slope: float = 0.1) -> nn.Module:
    """A copy in which every `nn.ReLU` lets a part of what is negative through: units that were dead learn again."""
    revived = copy.deepcopy(network)
    for name, module in list(revived.named_modules()):
        if isinstance(module, nn.ReLU):
            parent, _, child = name.rpartition(".")
            setattr(revived.get_submodule(parent), child, nn.LeakyReLU(slope))
    return revived
