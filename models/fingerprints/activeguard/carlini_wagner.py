"""The paper's own generator: Carlini and Wagner's attack with a term for the confidence (ActiveGuard, section 2.3).

(1)  minimize ||x' - x||_2^2 + alpha g(x')  over delta,  x' = (tanh(delta) + 1) / 2
(2)  g_0(x') = max(max{Z(x')_k : k != t} - Z(x')_t, 0)
(3)  g(x') = g_0(x') + ||Z(x')_t - c||

Departure: eq. (3) subtracts a probability from a logit, and a logit of 0.3 says nothing about the confidence. The
softmax is meant and taken; `confidence="logit"` has the equation as printed, so that the difference can be shown.
Not described in the paper: the optimizer (Adam, as Carlini and Wagner have it), alpha, the steps, which iterate is kept
(the best), and what a codeword asks for (the sum of ||p_k - q_k||).

symbol    here         shape      meaning
x         unit         (N, D)     images, every pixel in [0, 1] over the value range
delta     delta        (N, D)     what is optimized
Z         logits       (N, K)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.errors import GenerationError
from models.fingerprints.activeguard.method import Best, from_unit
from models.fingerprints.activeguard.targets import OutputTargets, Targets
from models.predictor import Predictor

INSIDE = 1e-4  # how far a pixel keeps from the ends of its range, where delta would be infinite


@dataclass(frozen=True)
class CarliniWagner:
    """`steps` of Adam on eq. (1); images whose error is below `near` stop, the common finish brings them home.

    Raises GenerationError naming `method` when the logit form is asked for a codeword.
    """

    steps: int = 1000
    step_size: float = 0.01
    alpha: float = 100.0
    near: float = 5e-3
    confidence: Literal["probability", "logit"] = "probability"

    def search(self, predictor: Predictor, unit: Tensor, targets: Targets, tolerance: float) -> Tensor:
        """(N, D) -> the best iterate of each, (N, D)."""
        delta = torch.atanh(2 * unit.clamp(INSIDE, 1 - INSIDE) - 1).requires_grad_()
        optimizer = torch.optim.Adam([delta], lr=self.step_size)
        best = Best(unit)
        going = torch.arange(len(unit))
        for _ in range(self.steps):
            aims = targets.take(going)
            moved = (torch.tanh(delta[going]) + 1) / 2  # (M, D)
            logits = predictor(from_unit(predictor, moved))
            p = logits.detach().softmax(dim=1)
            best.offer(going, moved.detach(), p, aims)
            keep = ~aims.reached(p, max(tolerance, self.near))
            if not bool(keep.any()):
                break
            distance = (moved - unit[going]).square().sum(dim=1)
            loss = distance + self.alpha * self.objective(logits, aims)  # (1)
            optimizer.zero_grad()
            loss[keep].sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            going = going[keep]
        return best.unit

    def objective(self, logits: Tensor, targets: Targets) -> Tensor:
        """g, (N, K) -> (N,): eq. (2) and (3)."""
        labels = targets.labels[:, None]
        of_target = logits.gather(1, labels)[:, 0]
        others = logits.scatter(1, labels, float("-inf")).amax(dim=1)
        misses = (others - of_target).clamp_min(0.0)  # (2)
        if self.confidence == "probability":
            return misses + targets.distance(logits.softmax(dim=1))
        if not isinstance(targets, OutputTargets):
            raise GenerationError("method", "the logit form of eq. (3) knows a class and a confidence, no codeword")
        return misses + (of_target - targets.confidence).abs()  # (3), as printed
