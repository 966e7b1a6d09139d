"""Damped Gauss-Newton in logit space: steer a whole batch of images to a wanted answer.

ActiveGuard (section 2.3, eq. 1 to 3) minimizes a C&W objective by gradient descent (`carlini_wagner.py`). Here instead:
"arg max t at p_t = 0.2" asks something of four or more classes at once, which first-order methods are slow to meet. A
network has few outputs and many pixels, so J dx = log(q_j / q_t) - log(p_j / p_t) is solved outright, with the smallest
dx there is (C&W's own concern). Each Jacobian serves for two steps, the second with the residual where the first led
(V. E. Shamanskii, "A modification of Newton's method", Ukr. Math. J. 19, 1967): the Jacobian is most of a step's cost.

symbol    here         shape        meaning
x         unit         (N, D)       images, every pixel in [0, 1] over the value range
p         log_p        (N, K)       what the network says
J         jacobian     (N, A-1, D)  d log(p_j / p_t) / dx for the A steered classes, t first
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from models.fingerprints.activeguard.method import from_unit
from models.fingerprints.activeguard.targets import Targets, steered_log_probabilities
from models.predictor import Predictor, predict

PASSES = 3  # solves a step: pixels that would leave the range are taken out, and the rest carries on


class Linear(NamedTuple):
    """The network about a point: what of log p is steered (N, A), the Jacobian of the ratios to p_t (N, A - 1, D).

    `active` (N, A) are the classes of the columns, t first. `rest` counts the classes whose sum is one more column, the
    last; 0 when every class has a column of its own.
    """

    steered: Tensor
    jacobian: Tensor
    active: Tensor
    rest: int

    def elsewhere(self, log_p: Tensor, rows: Tensor) -> Linear:
        """The same Jacobian for some of the images, where the network says `log_p` (M, K) now."""
        active = self.active[rows]
        return Linear(steered_log_probabilities(log_p, active), self.jacobian[rows], active, self.rest)

    def of_log_p(self) -> Tensor:
        """The Jacobian of log p itself (N, A, D): probabilities sum to 1, so its mean under p is 0."""
        against_first = torch.cat([torch.zeros_like(self.jacobian[:, :1]), self.jacobian], dim=1)
        return against_first - self.steered.exp()[:, None] @ against_first


def linearise(predictor: Predictor, unit: Tensor, targets: Targets) -> Linear:
    """A - 1 backward passes for the whole batch: images do not influence one another in eval mode.

    log(p_j / p_t) is a difference of logits: one pass less than log p takes, and linear wherever the network is.
    """
    unit = unit.detach().requires_grad_()
    log_p = predictor(from_unit(predictor, unit)).log_softmax(dim=1)  # (N, K)
    active = targets.active(log_p.detach())  # (N, A)
    steered = steered_log_probabilities(log_p, active)  # (N, A), or (N, A + 1) with the rest
    last = steered.shape[1] - 1
    rows = [
        torch.autograd.grad((steered[:, index] - steered[:, 0]).sum(), unit, retain_graph=index < last)[0]
        for index in range(1, last + 1)
    ]
    jacobian = torch.stack(rows, dim=1)  # (N, A - 1, D)
    return Linear(steered.detach(), jacobian, active, log_p.shape[1] - active.shape[1])


def minimum_norm_step(jacobian: Tensor, residual: Tensor, unit: Tensor, damping: float) -> Tensor:
    """dx = J^T (J J^T + damping I)^-1 r, (N, D), over the pixels that can still move that way.

    `damping` is relative to the mean of J J^T's diagonal, so that it means the same for every network.
    """
    masked, free = jacobian, torch.ones_like(unit)
    identity = torch.eye(residual.shape[1])
    for solve in range(PASSES):
        gram = masked @ jacobian.transpose(1, 2)  # (N, A - 1, A - 1)
        scale = gram.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(1e-12)[:, None, None]
        solved = torch.linalg.solve(gram + damping * scale * identity, residual[:, :, None])  # (N, A - 1, 1)
        step = (masked.transpose(1, 2) @ solved)[:, :, 0]  # (N, D)
        stuck = ((unit <= 0) & (step < 0)) | ((unit >= 1) & (step > 0))
        if solve == PASSES - 1 or not bool(stuck.any()):
            break
        free = free * (~stuck)
        masked = jacobian * free[:, None]  # (N, A - 1, D)
    return torch.where(stuck, 0.0, step)


@dataclass(frozen=True)
class GaussNewton:
    """At most `steps` steps, each cut to `radius` (Euclidean, in units of the value range).

    Images whose error is below `near` stop: rounding moves them further than that, and the finish brings them home.
    """

    steps: int = 80
    radius: float = 3.0
    damping: float = 1e-4
    near: float = 4e-3

    def search(self, predictor: Predictor, unit: Tensor, targets: Targets, tolerance: float) -> Tensor:
        """Move (N, D) pixels until the answers are on the targets or the steps are used up; those done are left."""
        unit, linear = unit.clone(), None
        going = torch.arange(len(unit))
        for _ in range(self.steps):
            log_p = predict(predictor, from_unit(predictor, unit[going])).log_softmax(dim=1)
            missed = ~targets.take(going).reached(log_p.exp(), max(tolerance, self.near))
            going = going[missed]
            if not len(going):
                break
            aims, known = targets.take(going), linear
            linear = known.elsewhere(log_p[missed], missed) if known else linearise(predictor, unit[going], aims)
            residual = aims.wanted(linear.steered, linear.active, linear.rest) - linear.steered
            ratios = residual[:, 1:] - residual[:, :1]  # (M, A - 1)
            step = minimum_norm_step(linear.jacobian, ratios, unit[going], self.damping)
            length = step.norm(dim=1, keepdim=True).clamp_min(1e-12)
            unit[going] = (unit[going] + step * (self.radius / length).clamp_max(1.0)).clamp(0.0, 1.0)
            linear = None if known else linear  # a Jacobian serves twice
        return unit
