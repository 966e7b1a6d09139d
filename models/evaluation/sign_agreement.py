"""How rare it is that so many weights agree with a keyed coin: P(X >= m), X ~ Binomial(n, 1/2), bounded.

The key's signs are drawn by hash, uniform and independent of a network that was not made with them, whatever its
weights are; so X is binomial exactly, and Chernoff's bound is P(X >= m) <= exp(-n KL(m/n || 1/2)) for m >= n/2
(Hoeffding, "Probability inequalities for sums of bounded random variables", 1963, theorem 1).
"""

from __future__ import annotations

import math


def log10_agreement_tail(agreeing: int, compared: int) -> float:
    """log10 of the bound for `agreeing` of `compared`; 0 where that is no more than half."""
    if 2 * agreeing <= compared:
        return 0.0
    share, other = agreeing / compared, 1 - agreeing / compared
    divergence = math.log(2) + share * math.log(share) + (other * math.log(other) if other else 0.0)
    return -compared * divergence / math.log(10)
