"""Damped Gauss-Newton in logit space: steer a whole batch of images to a wanted answer.

ActiveGuard (section 2.3, eq. 1 to 3) minimizes a C&W objective by gradient descent (`carlini_wagner.py`). Here instead:
"arg max t at p_t = 0.2" asks something of four or more classes at once, which first-order methods are slow to meet. A
network has few outputs and many pixels, so J dx = log q - log p is solved outright, with the smallest dx there is
(C&W's own concern).

symbol    here         shape        meaning
x         unit         (N, D)       images, every pixel in [0, 1] over the value range
p         log_p        (N, K)       what the network says
J         jacobian     (N, A, D)    d log p / dx for the A steered classes
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
    """The network about a point: log p (N, K), what of it is steered (N, A), its Jacobian by pixel (N, A, D).

    `active` (N, A) are the classes of the columns. `rest` counts the classes whose sum is one more column, the last;
    0 when every class has a column of its own.
    """

    log_p: Tensor
    steered: Tensor
    jacobian: Tensor
    active: Tensor
    rest: int


def linearise(predictor: Predictor, unit: Tensor, targets: Targets) -> Linear:
    """A - 1 backward passes for the whole batch: images do not influence one another in eval mode.

    Passes are what a step costs, and one can be had from the others: probabilities sum to 1, so d log p_j is
    d log(p_j / p_t) less its mean under p.
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
    against_first = torch.stack([torch.zeros_like(unit), *rows], dim=1).detach()  # (N, A, D)
    jacobian = against_first - steered.detach().exp()[:, None] @ against_first
    return Linear(log_p.detach(), steered.detach(), jacobian, active, log_p.shape[1] - active.shape[1])


def minimum_norm_step(jacobian: Tensor, residual: Tensor, unit: Tensor, damping: float) -> Tensor:
    """dx = J^T (J J^T + damping I)^-1 r, (N, D), over the pixels that can still move that way.

    `damping` is relative to the mean of J J^T's diagonal, so that it means the same for every network.
    """
    free = torch.ones_like(unit)
    step = torch.zeros_like(unit)
    identity = torch.eye(residual.shape[1])
    for _ in range(PASSES):
        masked = jacobian * free[:, None]  # (N, A, D)
        gram = masked @ jacobian.transpose(1, 2)  # (N, A, A)
        scale = gram.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(1e-12)[:, None, None]
        solved = torch.linalg.solve(gram + damping * scale * identity, residual[:, :, None])  # (N, A, 1)
        step = (masked.transpose(1, 2) @ solved)[:, :, 0]  # (N, D)
        stuck = ((unit <= 0) & (step < 0)) | ((unit >= 1) & (step > 0))
        if not bool(stuck.any()):
            break
        free = free * (~stuck)
    return torch.where(stuck, 0.0, step)


@dataclass(frozen=True)
class GaussNewton:
    """At most `steps` steps, each cut to `radius` (Euclidean, in units of the value range).

    Images whose error is below `near` stop: rounding moves them further than that, and the finish brings them home.
    """

    steps: int = 40
    radius: float = 3.0
    damping: float = 1e-4
    near: float = 4e-3

    def search(self, predictor: Predictor, unit: Tensor, targets: Targets, tolerance: float) -> Tensor:
        """Move (N, D) pixels until the answers are on the targets or the steps are used up; those done are left."""
        unit = unit.clone()
        going = torch.arange(len(unit))
        for _ in range(self.steps):
            p = predict(predictor, from_unit(predictor, unit[going])).softmax(dim=1)
            going = going[~targets.take(going).reached(p, max(tolerance, self.near))]
            if not len(going):
                break
            aims = targets.take(going)
            _, steered, jacobian, active, rest = linearise(predictor, unit[going], aims)
            residual = aims.wanted(steered, active, rest) - steered
            residual -= (steered.exp() * residual).sum(dim=1, keepdim=True)  # the logits' share: log p is not linear
            step = minimum_norm_step(jacobian, residual, unit[going], self.damping)
            length = step.norm(dim=1, keepdim=True).clamp_min(1e-12)
            unit[going] = (unit[going] + step * (self.radius / length).clamp_max(1.0)).clamp(0.0, 1.0)
        return unit
