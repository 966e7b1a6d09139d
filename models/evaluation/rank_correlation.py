"""Whether marked weights still follow their digits in order, where training has moved them by many digits.

S = sum_k g_k (2 D_k - 9), g_k = how many of the layer's weights are smaller than the k-th marked one less how many are
larger. Digits drawn by hash are uniform and independent of a network that was not made from the marked one, whatever
its weights are; and log E exp(t (2 D - 9)) = log(sinh 10 t / (10 sinh t)) is concave in t^2 with the slope 33/2 at 0,
so that it is at most 33 t^2 / 2. By Chernoff, P(S >= s) <= exp(-s^2 / (66 sum_k g_k^2)) for every s >= 0.

Ranks have no scale: a layer that grew, or whose large weights were cut off, keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from models.watermarks.digit_map import BASE

VARIANCE = (BASE**2 - 1) / 3  # of 2 D - 9: 33


def rank_excess(weights: Tensor) -> Tensor:
    """g of every weight of a layer: any shape -> int64 (size,), between -size and size; 0 for what is no number."""
    values = weights.detach().double().flatten().cpu()
    order = values[~values.isnan()].sort().values
    smaller = torch.searchsorted(order, values, side="left")
    larger = len(order) - torch.searchsorted(order, values, side="right")
    return torch.where(values.isnan(), 0, smaller - larger)


def log10_rank_tail(ranks: Sequence[int], digits: Sequence[int]) -> float:
    """log10 of the bound of P(S >= s) for a mark: `ranks` g_k and `digits` d_k, n each; 0 where s <= 0."""
    score, squares = _sums(ranks, digits)
    return -(max(score, 0) ** 2) / (2 * VARIANCE * squares) / math.log(10) if squares else 0.0


def rank_correlation(ranks: Sequence[int], digits: Sequence[int]) -> float:
    """The correlation of ranks and digits about the middle of either scale, -1 to 1; 0 where there is none."""
    score, squares = _sums(ranks, digits)
    spread = sum((2 * digit - (BASE - 1)) ** 2 for digit in digits)
    return score / math.sqrt(squares * spread) if squares else 0.0


def _sums(ranks: Sequence[int], digits: Sequence[int]) -> tuple[int, int]:
    """s and sum g_k^2, exactly: a layer of millions of weights has sums beyond int64."""
    score = sum(rank * (2 * digit - (BASE - 1)) for rank, digit in zip(ranks, digits, strict=True))
    return score, sum(rank * rank for rank in ranks)
