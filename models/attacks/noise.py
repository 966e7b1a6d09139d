"""Gaussian noise on every weight, in proportion to its layer's spread: the plainest way to blur what is written."""

from __future__ import annotations

import copy

import torch
from torch import nn


def add_noise(network: nn.Module, strength: float, *, generator: torch.Generator) -> nn.Module:
    """A copy with N(0, strength * standard deviation of the tensor) added to each kernel and matrix.

    Knows: weights.
    """
    noisy = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in noisy.parameters():
            if parameter.ndim > 1:
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.add_(strength * parameter.std() * noise)
    return noisy
