"""Damped Gauss-Newton in logit space: steer a whole batch of images to a wanted answer.

ActiveGuard (section 2.3, eq. 1 to 3) minimizes a C&W objective by gradient descent. Departures, with their reasons:
eq. (3) compares a logit with a probability, so the softmax is used; and "arg max t at p_t = 0.2" asks something of
four or more classes at once, which first-order methods meet in only 44 to 85 % of cases. A network has few outputs
and many pixels, so J dx = log q - log p is solved outright, with the smallest dx there is (C&W's own concern).

symbol    here         shape        meaning
x         unit         (N, D)       images, every pixel in [0, 1] over the value range
p         log_p        (N, K)       what the network says
J         jacobian     (N, A, D)    d log p / dx for the A steered classes
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from models.fingerprints.activeguard.targets import (
    active_classes,
    steered_log_probabilities,
    target_log_probabilities,
)
from models.predictor import Predictor

PASSES = 3  # solves a step: pixels that would leave the range are taken out, and the rest carries on


def from_unit(predictor: Predictor, unit: Tensor) -> Tensor:
    """Pixels in [0, 1], (N, D) -> raw-range images (N, C, H, W)."""
    low, high = predictor.input_spec.value_range
    return (low + (high - low) * unit).reshape(len(unit), *predictor.input_spec.shape)


class Linear(NamedTuple):
    """The network about a point: log p (N, K), what of it is steered (N, A), its Jacobian by pixel (N, A, D).

    `rest` counts the classes whose sum is the last of the A columns, 0 when every class has a column of its own.
    """

    log_p: Tensor
    steered: Tensor
    jacobian: Tensor
    rest: int


def linearise(predictor: Predictor, unit: Tensor, labels: Tensor, confidence: Tensor) -> Linear:
    """A backward passes for the whole batch: images do not influence one another in eval mode."""
    unit = unit.detach().requires_grad_()
    log_p = predictor(from_unit(predictor, unit)).log_softmax(dim=1)  # (N, K)
    active = active_classes(log_p.detach(), labels, confidence)  # (N, A)
    steered = steered_log_probabilities(log_p, active)  # (N, A), or (N, A + 1) with the rest
    last = steered.shape[1] - 1
    rows = [
        torch.autograd.grad(steered[:, index].sum(), unit, retain_graph=index < last)[0] for index in range(last + 1)
    ]
    return Linear(log_p.detach(), steered.detach(), torch.stack(rows, dim=1), log_p.shape[1] - active.shape[1])


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


def steer(
    predictor: Predictor,
    unit: Tensor,
    labels: Tensor,
    confidence: Tensor,
    *,
    steps: int,
    radius: float,
    damping: float,
    tolerance: float,
) -> Tensor:
    """Move (N, D) pixels until p_t is within `tolerance` of c with t the arg max, or `steps` are used up.

    Each step is cut to `radius` (Euclidean, in units of the value range). Images that are done are left alone.
    """
    unit = unit.clone()
    going = torch.arange(len(unit))
    for _ in range(steps):
        log_p, steered, jacobian, rest = linearise(predictor, unit[going], labels[going], confidence[going])
        target = target_log_probabilities(steered, confidence[going], rest)
        reached = (steered[:, 0].exp() - confidence[going]).abs() <= tolerance
        reached &= log_p.argmax(dim=1) == labels[going]
        residual = target - steered
        keep = ~reached
        if not bool(keep.any()):
            break
        going, jacobian, residual = going[keep], jacobian[keep], residual[keep]
        step = minimum_norm_step(jacobian, residual, unit[going], damping)
        length = step.norm(dim=1, keepdim=True).clamp_min(1e-12)
        unit[going] = (unit[going] + step * (radius / length).clamp_max(1.0)).clamp(0.0, 1.0)
    return unit
