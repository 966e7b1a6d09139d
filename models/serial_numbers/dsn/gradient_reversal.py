"""The gradient reversal layer: Ganin and Lempitsky, ICML 2015, arXiv:1409.7495, section 3.1; DSN's Eq. (5) and (6)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradient, None


def reverse(features: Tensor, strength: float) -> Tensor:
    """The features as they are; what comes back through them is multiplied by -`strength` (lambda)."""
    reversed_: Tensor = _Reversal.apply(features, strength)  # type: ignore[no-untyped-call]
    return reversed_


def ganin(progress: float, strength: float) -> float:
    """lambda at `progress` in [0, 1] of the training: 2 / (1 + exp(-10 p)) - 1, times `strength` (section 4.1)."""
    return strength * (2 / (1 + math.exp(-10 * progress)) - 1)
