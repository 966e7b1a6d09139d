"""What digits are found where nobody wrote any: frequencies over unmarked networks, and the suspect's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.watermarks.digit_map import BASE, DigitMap


def frequencies(weights: Sequence[Tensor], digit_map: DigitMap) -> tuple[float, ...]:
    """The share of each digit among the weights of all these tensors, one added to each count (ten shares).

    Weights without a digit count in the denominator. With no tensor at all, every digit has a tenth.
    """
    found = torch.cat([digit_map.digits(tensor).flatten().cpu() for tensor in weights] or [torch.empty(0).long()])
    counts = torch.bincount(found[found >= 0], minlength=BASE).double() + 1
    return tuple((counts / (len(found) + BASE)).tolist())


def match_probabilities(digits: Tensor, *shares: Sequence[float], tolerance: int = 0) -> NDArray[np.float64]:
    """The chance that position k of an innocent network shows d_k, or a digit within `tolerance` of it: (n,) -> (n,).

    The largest of the hash's own account and each list of ten shares: on purpose no smaller than any account of it.
    The hash's: whatever digit a network shows, one drawn by hash is within t of it in at most 2 t + 1 of ten cases, for
    any map and any layer. That bound is no smaller at the ends of the scale: it goes by the digit that is found there,
    not by the one that is expected. `digits` is int64.
    """
    near = np.abs(np.subtract.outer(np.arange(BASE), np.arange(BASE))) <= tolerance  # (10, 10)
    rows = [
        (min(1.0, (2 * tolerance + 1) / BASE),) * BASE,
        *(np.minimum(share @ near, 1.0) for share in map(np.asarray, shares)),
    ]
    chances = np.asarray(rows, dtype=np.float64).max(axis=0)  # (1 + lists, 10) -> (10,)
    return np.asarray(chances[digits.cpu().numpy()], dtype=np.float64)


def matching(extracted: Tensor, digits: Tensor, tolerance: int = 0) -> int:
    """How many of n digits are within `tolerance` of what belongs there; where there is no digit, none is."""
    return int(((extracted >= 0) & ((extracted - digits).abs() <= tolerance)).sum())
