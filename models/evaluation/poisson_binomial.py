"""The number of successes in independent trials of unequal probability, and how rarely it gets as large as seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LN10 = float(np.log(10.0))


def log10_tail(probabilities: ArrayLike, matches: ArrayLike) -> NDArray[np.float64]:
    """log10 P(X >= m), X the sum of Bernoulli(p_k): probabilities (..., n) in (0, 1], matches (...) -> (...).

    In logarithms throughout, so that 1e-900 is a number; 0 where m <= 0, minus infinity where m > n.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    m = np.asarray(matches, dtype=np.int64)
    assert bool(np.all((p > 0) & (p <= 1))), "probabilities lie in (0, 1]"
    assert p.shape[:-1] == m.shape, "one count for each row of probabilities"
    n = p.shape[-1]
    with np.errstate(divide="ignore"):
        success, failure = np.log(p), np.log1p(-p)
    mass = np.full((*m.shape, n + 1), -np.inf)
    mass[..., 0] = 0.0  # no trial yet, no success
    for k in range(n):
        hit = mass[..., : k + 1] + success[..., k, None]
        mass[..., : k + 1] += failure[..., k, None]
        mass[..., 1 : k + 2] = np.logaddexp(mass[..., 1 : k + 2], hit)
    counted = np.where(np.arange(n + 1) >= m[..., None], mass, -np.inf)
    tail = np.minimum(np.logaddexp.reduce(counted, axis=-1), 0.0) / LN10
    return np.asarray(np.where(m <= 0, 0.0, tail), dtype=np.float64)
