"""The full answer that a fingerprint aims at: class t with confidence c, and every other class safely below it.

ActiveGuard (section 2.3) fixes only the pair (t, c). Not described in the paper: the other K - 1 probabilities are
chosen as near to what the network already says as they can be while t stays the arg max, so that little has to change;
or a codeword fixes them all (`codewords.py`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

HEADROOM = 0.7  # how far from the flat remainder towards c another class may rise
FLOOR = 1e-3  # share of the flat answer in the start of the remainder: log p must stay within reach
MOST_CARRYING = 64  # a codeword fixes them all, so more are steered one by one
SPARE = 16
GAP = 0.25  # share of the target's own gap between t and the runner-up that has to be left after rounding

Fault = Callable[[Tensor], Tensor]


class Targets(ABC):
    """What N images are to be answered with; the generators and the finish ask for nothing else."""

    labels: Tensor  # (N,)

    @abstractmethod
    def take(self, rows: Tensor) -> Targets:
        """The targets of some of the images."""

    @property
    @abstractmethod
    def highest(self) -> Tensor:
        """The probability of t (N,): the lower the lowest of a batch, the more classes are steered in all of it."""

    @abstractmethod
    def active(self, log_p: Tensor) -> Tensor:
        """The classes that are steered one by one (N, A), t first."""

    @abstractmethod
    def wanted(self, steered: Tensor, active: Tensor, rest: int) -> Tensor:
        """log q for steered log p, both (N, A), or (N, A + 1) where `rest` classes share the last column."""

    @abstractmethod
    def fault(self, steered: Tensor, active: Tensor, rest: int) -> Fault:
        """How bad log p of the active classes is, (N, A) -> (N,) or (N, A, M) -> (N, M); 0 is on the target.

        `steered` is what the network says now, with the column of the rest where there is one.
        """

    @abstractmethod
    def distance(self, p: Tensor) -> Tensor:
        """The sum of |p_k - q_k| over the classes that the target fixes: (N, K) -> (N,)."""

    @abstractmethod
    def error(self, p: Tensor) -> Tensor:
        """The largest |p_k - q_k| over the classes that the target fixes: (N, K) -> (N,)."""

    def reached(self, p: Tensor, tolerance: float) -> Tensor:
        """Within `tolerance`, and t the arg max: (N, K) -> (N,) bool."""
        return (self.error(p) <= tolerance) & (p.argmax(dim=1) == self.labels)


@dataclass(frozen=True)
class OutputTargets(Targets):
    """The paper's: t is the arg max, p_t = c; labels and confidence (N,)."""

    labels: Tensor
    confidence: Tensor

    def take(self, rows: Tensor) -> OutputTargets:
        """The targets of some of the images."""
        return OutputTargets(self.labels[rows], self.confidence[rows])

    @property
    def highest(self) -> Tensor:
        """c"""
        return self.confidence

    def active(self, log_p: Tensor) -> Tensor:
        """t and the likeliest others."""
        return active_classes(log_p, self.labels, self.confidence)

    def wanted(self, steered: Tensor, active: Tensor, rest: int) -> Tensor:
        """The nearest answer of the kind that is asked for."""
        return target_log_probabilities(steered, self.confidence, rest)

    def fault(self, steered: Tensor, active: Tensor, rest: int) -> Fault:
        """|p_t - c| + max(0, gap - (p_t - max_j p_j))"""
        target = target_log_probabilities(steered, self.confidence, rest)
        gap = GAP * (self.confidence - runner_up(target, rest))  # (N,)

        def fault(log_p: Tensor) -> Tensor:
            p = log_p.exp()
            c, least = (value.reshape(-1, *[1] * (p.ndim - 2)) for value in (self.confidence, gap))
            return (p[:, 0] - c).abs() + (least - (p[:, 0] - p[:, 1:].amax(dim=1))).clamp_min(0.0)

        return fault

    def distance(self, p: Tensor) -> Tensor:
        """|p_t - c|"""
        return (p.gather(1, self.labels[:, None])[:, 0] - self.confidence).abs()

    def error(self, p: Tensor) -> Tensor:
        """|p_t - c|"""
        return self.distance(p)


@dataclass(frozen=True)
class CodewordTargets(Targets):
    """p = q for all K classes; codewords float32 (N, K), their largest entries the labels."""

    codewords: Tensor

    @property
    def labels(self) -> Tensor:  # type: ignore[override]
        """The top classes (N,)."""
        return self.codewords.argmax(dim=1)

    def take(self, rows: Tensor) -> CodewordTargets:
        """The targets of some of the images."""
        return CodewordTargets(self.codewords[rows])

    @property
    def highest(self) -> Tensor:
        """The largest of each codeword (N,)."""
        return self.codewords.amax(dim=1)

    def active(self, log_p: Tensor) -> Tensor:
        """All classes up to 64; of more, those that carry anything and the likeliest of the others, which must not."""
        classes = self.codewords.shape[1]
        carries = self.codewords > 1.5 * self.codewords.amin(dim=1, keepdim=True)
        most = max(MOST_CARRYING, int(carries.sum(dim=1).max()) + SPARE)
        order = torch.where(carries, 1 + self.codewords, log_p.exp())  # t, whose share is the largest, comes first
        return order.topk(min(classes, most), dim=1).indices

    def wanted(self, steered: Tensor, active: Tensor, rest: int) -> Tensor:
        """log q, whatever the network says now."""
        return steered_log_probabilities(self.codewords.log(), active)

    def fault(self, steered: Tensor, active: Tensor, rest: int) -> Fault:
        """The Euclidean distance of p and q over the active classes."""
        q = self.codewords.gather(1, active)

        def fault(log_p: Tensor) -> Tensor:
            wanted = q.reshape(*q.shape, *[1] * (log_p.ndim - 2))
            return (log_p.exp() - wanted).square().sum(dim=1).sqrt()

        return fault

    def distance(self, p: Tensor) -> Tensor:
        """The sum of |p_k - q_k|."""
        return (p - self.codewords).abs().sum(dim=1)

    def error(self, p: Tensor) -> Tensor:
        """The largest |p_k - q_k|."""
        return (p - self.codewords).abs().amax(dim=1)


def active_classes(log_p: Tensor, labels: Tensor, confidence: Tensor) -> Tensor:
    """The classes that are steered one by one (N, A): t first, then the likeliest others.

    Each costs a backward pass, so there are as many as it takes to carry what the lowest confidence of the batch
    leaves; all others are steered together.
    """
    classes = log_p.shape[1]
    lowest = confidence.min()
    carrying = min(classes - 1, math.ceil(float((1 - lowest) / _most(lowest, classes - 1))))
    carrying += carrying == classes - 2  # a single class left over has a column of its own as well
    others = log_p.scatter(1, labels[:, None], float("-inf"))
    return torch.cat([labels[:, None], others.topk(carrying, dim=1).indices], dim=1)


def steered_log_probabilities(log_p: Tensor, active: Tensor) -> Tensor:
    """log p of the active classes (N, A) and, if there are more, of all the others together in a last column."""
    steered = log_p.gather(1, active)
    if active.shape[1] == log_p.shape[1]:
        return steered
    rest = log_p.scatter(1, active, float("-inf")).logsumexp(dim=1, keepdim=True)
    return torch.cat([steered, rest], dim=1)


def target_log_probabilities(steered: Tensor, confidence: Tensor, rest: int = 0) -> Tensor:
    """log q for steered log p, t first and (with `rest` > 0) the sum of so many classes last; both (N, A or A + 1).

    q_t = c and q_j = min(cap, l p_j), summing to 1; cap lies between the flat remainder and c.
    """
    others = steered[:, 1:].exp()  # (N, B)
    size = torch.ones(others.shape[1])
    size[-1] = max(rest, 1)  # classes in each column
    left = (1 - confidence)[:, None]  # (N, 1)
    cap = _most(confidence, float(size.sum()))[:, None] * size
    shape = (1 - FLOOR) * others / others.sum(dim=1, keepdim=True).clamp_min(1e-30) + FLOOR * size / size.sum()
    order = (cap / shape).argsort(dim=1)  # as l grows they reach their cap one after the other
    caps, shapes = cap.gather(1, order), shape.gather(1, order)
    growing = shapes.flip(1).cumsum(dim=1).flip(1)
    factors = (left - (caps.cumsum(dim=1) - caps)) / growing  # l, if the first ... are at their cap and no other is
    first = (factors * shapes <= caps).byte().argmax(dim=1, keepdim=True)
    q = torch.minimum(cap, factors.gather(1, first) * shape)
    return torch.cat([confidence[:, None], q], dim=1).log()


def runner_up(steered: Tensor, rest: int) -> Tensor:
    """The largest probability beside t's: dimension 1 of steered log p, t first, less the column of the rest."""
    return steered[:, 1 : steered.shape[1] - (rest > 0)].amax(dim=1).exp()


def _most(confidence: Tensor, others: float) -> Tensor:
    """What one of so many other classes may have at most."""
    flat = (1 - confidence) / others
    return flat + HEADROOM * (confidence - flat)
