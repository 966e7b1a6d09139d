"""Back onto the 8-bit grid without losing the confidence: nudge single pixels by one grey level.

Not described in the paper, whose fingerprints are floating-point tensors: plain rounding moves a confidence by 1e-3
to 2e-2, more than an epsilon of 0.001 allows, and a fingerprint has to survive being a PNG.

symbol    here         shape        meaning
g         grid         (N, D)       grey levels 0 to 255
          effect       (N, A, D)    change of log p by one level up at each pixel
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.fingerprints.activeguard.gauss_newton import linearise
from models.fingerprints.activeguard.targets import runner_up, target_log_probabilities
from models.predictor import Predictor
from models.specs import LEVELS

NUDGES = 4  # pixels moved between two looks at the network; first-order changes add up well that far
GAP = 0.25  # share of the target's own gap between t and the runner-up that has to be left after rounding


def finish(
    predictor: Predictor, grid: Tensor, labels: Tensor, confidence: Tensor, *, tolerance: float, rounds: int
) -> tuple[Tensor, Tensor]:
    """uint8 (N, D) near the target -> uint8 (N, D) on it, and which of them are: |p_t - c| <= tolerance, arg max t.

    Greedy: among all pixels up or down, the one whose first-order change leaves the smallest fault. The fault is
    |p_t - c|, plus whatever the runner-up lacks of a safe distance.
    """
    grid = grid.clone()
    done = torch.zeros(len(grid), dtype=torch.bool)
    going = torch.arange(len(grid))
    for _ in range(rounds):
        unit = grid[going].float() / LEVELS
        log_p, steered, jacobian, rest = linearise(predictor, unit, labels[going], confidence[going])
        gap = _wanted_gap(steered, confidence[going], rest)
        if rest:  # its column is no class that could become the arg max
            steered, jacobian = steered[:, :-1], jacobian[:, :-1]
        reached = (_fault(steered, confidence[going], gap) <= tolerance) & (log_p.argmax(dim=1) == labels[going])
        done[going[reached]] = True
        keep = ~reached
        going, steered, effect, gap = going[keep], steered[keep], jacobian[keep] / LEVELS, gap[keep]
        if not len(going):
            break
        grid[going] = _nudge(grid[going], steered, effect, confidence[going], gap)
    return grid, done


def _wanted_gap(steered: Tensor, confidence: Tensor, rest: int) -> Tensor:
    return GAP * (confidence - runner_up(target_log_probabilities(steered, confidence, rest), rest))  # (N,)


def _fault(log_p: Tensor, confidence: Tensor, gap: Tensor) -> Tensor:
    """|p_t - c| + max(0, gap - (p_t - max_j p_j)) over the classes, dimension 1, t first."""
    p = log_p.exp()
    return (p[:, 0] - confidence).abs() + (gap - (p[:, 0] - p[:, 1:].amax(dim=1))).clamp_min(0.0)


def _nudge(grid: Tensor, steered: Tensor, effect: Tensor, confidence: Tensor, gap: Tensor) -> Tensor:
    """Move up to NUDGES pixels of each row, (N, D) -> (N, D), following the linear model of log p."""
    grid, predicted = grid.clone(), steered
    both = torch.cat([effect, -effect], dim=2)  # (N, A, 2 D): one level up, one level down
    rows = torch.arange(len(grid))
    for _ in range(NUDGES):
        blocked = torch.cat([grid == LEVELS, grid == 0], dim=1)  # (N, 2 D)
        fault = _fault(predicted[:, :, None] + both, confidence[:, None], gap[:, None]).masked_fill(blocked, torch.inf)
        least, choice = fault.min(dim=1)  # (N,)
        helps = least < _fault(predicted, confidence, gap)
        pixel, up = choice % grid.shape[1], choice < grid.shape[1]
        moved = torch.where(up, 1, -1) * helps
        grid[rows, pixel] = (grid[rows, pixel].int() + moved).to(torch.uint8)
        predicted = torch.where(helps[:, None], predicted + both[rows, :, choice], predicted)
    return grid
