"""Magnitude pruning: the smallest weights become zero (Han et al. 2015; ActiveGuard section 3.3, Table 4)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from models.errors import SpecError


def prune_layer(network: nn.Module, layer: str, rate: float) -> nn.Module:
    """A copy with the `rate` smallest weights of one parameter ("conv2.weight") set to zero, as in the paper.

    Knows: weights, and which layer bears the mark.
    """
    pruned = copy.deepcopy(network)
    _prune([pruned.get_parameter(layer)], rate)
    return pruned


def prune_globally(network: nn.Module, rate: float) -> nn.Module:
    """A copy with the `rate` smallest of all weights set to zero: one threshold for all kernels and matrices.

    Knows: weights. Biases and normalisation, which have one dimension, are left alone.
    """
    pruned = copy.deepcopy(network)
    _prune([parameter for parameter in pruned.parameters() if parameter.ndim > 1], rate)
    return pruned


def _prune(parameters: list[nn.Parameter], rate: float) -> None:
    if not 0 <= rate <= 1:
        raise SpecError("rate", "must lie between 0 and 1")
    magnitudes: Tensor = torch.cat([parameter.detach().abs().flatten() for parameter in parameters])
    count = round(rate * len(magnitudes))
    keep = torch.ones(len(magnitudes), dtype=torch.bool, device=magnitudes.device)
    keep[magnitudes.argsort(stable=True)[:count]] = False  # exactly that many, ties included
    with torch.no_grad():
        parts = torch.split(keep, [parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.mul_(part.view_as(parameter))
