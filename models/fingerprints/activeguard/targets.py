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
    """The classes that are steered one by one (N, A): t first, then the likeliest others.

    All of them up to 32. With more classes only as many as could carry 1 - c with none above c, twice over: each costs
    a backward pass, and the rest are steered together.
    """
    classes = log_p.shape[1]
    needed = int(torch.ceil(2 / confidence.min()).item()) + 1
    others = log_p.scatter(1, labels[:, None], float("-inf"))
    likeliest = others.topk(min(classes, max(MOST_ACTIVE, needed)) - 1, dim=1).indices
    return torch.cat([labels[:, None], likeliest], dim=1)


def steered_log_probabilities(log_p: Tensor, active: Tensor) -> Tensor:
    """log p of the active classes (N, A) and, if there are more, of all the others together in a last column."""
    steered = log_p.gather(1, active)
    if active.shape[1] == log_p.shape[1]:
        return steered
    rest = log_p.scatter(1, active, float("-inf")).logsumexp(dim=1, keepdim=True)
    return torch.cat([steered, rest], dim=1)


def target_log_probabilities(steered: Tensor, confidence: Tensor, rest: int = 0) -> Tensor:
    """log q for steered log p, t first and (with `rest` > 0) the sum of so many classes last; both (N, A or A + 1).

    q_t = c and q_j = min(cap, l p_j), summing to 1; cap lies between the flat remainder and c, l is found by bisection.
    """
    others = steered[:, 1:].exp()  # (N, B)
    size = torch.ones(others.shape[1])
    size[-1] = max(rest, 1)  # classes in each column
    left = (1 - confidence)[:, None]  # (N, 1)
    flat = left / size.sum()
    cap = (flat + HEADROOM * (confidence[:, None] - flat)) * size
    shape = (1 - FLOOR) * others / others.sum(dim=1, keepdim=True).clamp_min(1e-30) + FLOOR * size / size.sum()
    low, high = torch.zeros_like(left), torch.full_like(left, 2.0 / FLOOR)
    for _ in range(50):  # halves the bracket down to float32's last digit
        middle = (low + high) / 2
        short = torch.minimum(cap, middle * shape).sum(dim=1, keepdim=True) < left
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    q = torch.minimum(cap, high * shape)
    return torch.cat([confidence[:, None], q], dim=1).log()


def runner_up(steered: Tensor, rest: int) -> Tensor:
    """The largest probability beside t's: dimension 1 of steered log p, t first, less the column of the rest."""
    return steered[:, 1 : steered.shape[1] - (rest > 0)].amax(dim=1).exp()
