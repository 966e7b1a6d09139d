"""How closely marked weights follow their digits, where long training has moved them by more than a digit or two.

Counting matches asks whether a weight is still near its digit; this asks whether large digits still have large weights.
It is no part of the verdict of `ownership`, which counts.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from torch import Tensor

from models.watermarks.digit_map import BASE

MIDDLE = (BASE - 1) / 2
MOST = 3.0  # of Chernoff's parameter: beyond it nothing is gained


def log10_graded(values: Tensor, digits: Tensor) -> float:
    """log10 of a bound of P(S >= s), S = sum_k (v_k - 4.5)(D_k - 4.5), s the same with the mark's own digits.

    `values` (n,) are map(h) at the mark's positions, not rounded, taken to within 0 to 9; `digits` (n,). The D_k are
    independent and uniform, as digits drawn by hash are for a network that was there before: nothing is assumed of its
    weights. Chernoff: P(S >= s) <= exp(sum_k log E exp(t (v_k - 4.5)(D_k - 4.5)) - t s) for every t >= 0.
    """
    graded = np.nan_to_num(values.detach().double().cpu().numpy(), nan=MIDDLE).clip(0, BASE - 1) - MIDDLE
    steps = np.arange(BASE) - MIDDLE
    reached = float(graded @ (digits.cpu().numpy() - MIDDLE))

    def exponent(t: float) -> float:
        return float(np.log(np.exp(t * np.outer(graded, steps)).mean(axis=1)).sum() - t * reached)

    best = minimize_scalar(exponent, bounds=(0.0, MOST), method="bounded")
    return min(0.0, float(best.fun)) / float(np.log(10))
