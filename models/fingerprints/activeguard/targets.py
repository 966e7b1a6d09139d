"""The full answer that a fingerprint aims at: class t with confidence c, and every other class safely below it.

ActiveGuard (section 2.3) fixes only the pair (t, c). Not described in the paper: the other K - 1 probabilities are
chosen as near to what the network already says as they can be while t stays the arg max, so that little has to change.
"""

from __future__ import annotations

import torch
from torch import Tensor

HEADROOM = 0.7  # how far from the flat remainder towards c another class may rise
FLOOR = 1e-3  # share of the flat answer in the start of the remainder: log p must stay within reach
MOST_ACTIVE = 32


def active_classes(log_p: Tensor, labels: Tensor, confidence: Tensor) -> Tensor:
    """The classes that are steered (N, A): t first, then the likeliest others.

    All of them up to 32. With more classes only as many as can carry 1 - c with none above c, twice over: each costs
    a backward pass, and those left out hold next to nothing.
    """
    classes = log_p.shape[1]
    needed = int(torch.ceil(2 / confidence.min()).item()) + 1
    others = log_p.scatter(1, labels[:, None], float("-inf"))
    likeliest = others.topk(min(classes, max(MOST_ACTIVE, needed)) - 1, dim=1).indices
    return torch.cat([labels[:, None], likeliest], dim=1)


def target_log_probabilities(log_p: Tensor, confidence: Tensor) -> Tensor:
    """log q (N, A) for the active classes' log p (N, A), t first: q_t = c and q_j = min(cap, l p_j), summing to 1.

    cap lies between the flat remainder (1 - c) / (A - 1) and c; l is found by bisection.
    """
    others = log_p[:, 1:].exp()  # (N, A - 1)
    left = (1 - confidence)[:, None]  # (N, 1)
    flat = left / others.shape[1]
    cap = flat + HEADROOM * (confidence[:, None] - flat)
    shape = (1 - FLOOR) * others / others.sum(dim=1, keepdim=True).clamp_min(1e-30) + FLOOR / others.shape[1]
    low, high = torch.zeros_like(left), torch.full_like(left, 2.0 / FLOOR)
    for _ in range(50):  # halves the bracket down to float32's last digit
        middle = (low + high) / 2
        short = torch.minimum(cap, middle * shape).sum(dim=1, keepdim=True) < left
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    q = torch.minimum(cap, high * shape)
    return torch.cat([confidence[:, None], q], dim=1).log()
