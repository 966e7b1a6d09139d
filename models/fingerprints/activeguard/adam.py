"""A first-order baseline: Adam on the squared error of the log-probabilities, pixels kept in their range.

The same residual as Gauss-Newton's (`gauss_newton.py`), log q - log p over the steered classes, without the Jacobian:
one backward pass a step where Gauss-Newton takes one for each class.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.fingerprints.activeguard.method import Best, from_unit
from models.fingerprints.activeguard.targets import Targets, steered_log_probabilities
from models.predictor import Predictor


@dataclass(frozen=True)
class Adam:
    """`steps` of Adam on the pixels; images whose error is below `near` stop, the common finish brings them home."""

    steps: int = 200
    step_size: float = 0.02
    near: float = 5e-3

    def search(self, predictor: Predictor, unit: Tensor, targets: Targets, tolerance: float) -> Tensor:
        """(N, D) -> the best iterate of each, (N, D)."""
        moving = unit.clone().requires_grad_()
        optimizer = torch.optim.Adam([moving], lr=self.step_size)
        best = Best(unit)
        going = torch.arange(len(unit))
        for _ in range(self.steps):
            aims, moved = targets.take(going), moving[going]
            log_p = predictor(from_unit(predictor, moved)).log_softmax(dim=1)
            p = log_p.detach().exp()
            best.offer(going, moved.detach(), p, aims)
            keep = ~aims.reached(p, max(tolerance, self.near))
            if not bool(keep.any()):
                break
            active = aims.active(log_p.detach())
            steered = steered_log_probabilities(log_p, active)
            wanted = aims.wanted(steered.detach(), active, log_p.shape[1] - active.shape[1])
            optimizer.zero_grad()
            (steered - wanted).square().sum(dim=1)[keep].sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                moving.clamp_(0.0, 1.0)
            going = going[keep]
        return best.unit
