"""What digits are found where nobody wrote any: frequencies over unmarked networks, and the suspect's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.watermarks.digit_map import BASE, DigitMap

FLOOR = 1 / BASE  # a digit drawn by hash meets any fixed one this often, however rare it is in the layer


def frequencies(weights: Sequence[Tensor], digit_map: DigitMap) -> tuple[float, ...]:
    """The share of each digit among the weights of all these tensors, one added to each count (ten shares).

    Weights without a digit count in the denominator. With no tensor at all, every digit has a tenth.
    """
    found = torch.cat([digit_map.digits(tensor).flatten().cpu() for tensor in weights] or [torch.empty(0).long()])
    counts = torch.bincount(found[found >= 0], minlength=BASE).double() + 1
    return tuple((counts / (len(found) + BASE)).tolist())


def match_probabilities(digits: Tensor, *shares: Sequence[float], tolerance: int = 0) -> NDArray[np.float64]:
    """The chance that position k of an innocent network shows d_k, or a digit within `tolerance` of it: (n,) -> (n,).

    The largest of the hash's own account, a tenth a digit, and each list of ten shares: on purpose no smaller than any
    account of it. `digits` is int64.
    """
    rows = np.asarray([(FLOOR,) * BASE, *shares], dtype=np.float64)  # (1 + lists, 10)
    near = np.abs(np.subtract.outer(np.arange(BASE), np.arange(BASE))) <= tolerance  # (10, 10)
    chances = np.minimum(rows @ near, 1.0).max(axis=0)
    return np.asarray(chances[digits.cpu().numpy()], dtype=np.float64)


def matching(extracted: Tensor, digits: Tensor, tolerance: int = 0) -> int:
    """How many of n digits are within `tolerance` of what belongs there; where there is no digit, none is."""
    return int(((extracted >= 0) & ((extracted - digits).abs() <= tolerance)).sum())
