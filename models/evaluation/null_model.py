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


def match_probabilities(digits: Tensor, *shares: Sequence[float]) -> NDArray[np.float64]:
    """The chance that position k of an innocent network shows d_k: int64 (n,) -> (n,).

    The largest of a tenth and its share in each list of ten: on purpose no smaller than any account of it. A tenth is
    the hash's own account: whatever digit a network shows, one drawn by hash is that one in a tenth of all cases.
    """
    chances = np.asarray([(1 / BASE,) * BASE, *shares], dtype=np.float64).max(axis=0)  # (1 + lists, 10) -> (10,)
    return np.asarray(chances[digits.cpu().numpy()], dtype=np.float64)
