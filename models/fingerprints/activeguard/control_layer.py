"""ActiveGuard, section 2.2: the control layer at the end of the network.

This is the paper's unbound check: it accepts whatever input happens to get an allotted confidence, and faint noise
often does. The gateway never trusts it alone; it binds a fingerprint to its issued bytes first. Experiments use it.

paper                 here             shape     meaning
P_max                 confidence       (N,)      highest confidence of an answer
C_fp                  confidences      (T,)      allotted confidences
E_c                   error            (N,)      distance to the nearest of them
tolerable error       epsilon
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Authentication(NamedTuple):
    """What the control layer found, each (N,): whether E_c is below epsilon, E_c, and the user (-1 for a stranger)."""

    authorized: Tensor
    error: Tensor
    user: Tensor


class ControlLayer(nn.Module):
    """Steps (i) to (iii) of section 2.2 over a batch; `confidences` as in the allotment, ascending."""

    confidences: Tensor

    def __init__(self, confidences: Sequence[float], epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        values = torch.tensor(sorted(confidences), dtype=torch.float64)
        self.register_buffer("confidences", values, persistent=False)

    def authenticate(self, probabilities: Tensor) -> Authentication:
        """Steps (i) and (ii): probabilities (N, K) -> who is asking, by the answer alone.

        User i T + j for class i and the j-th confidence, both from 0, as `Allotment.output` has it.
        """
        assert probabilities.ndim == 2, "probabilities are (N, K)"
        # (i) the predicted class and the highest confidence
        confidence, label = probabilities.double().max(dim=1)  # (N,)
        # (ii) E_c = min_j |P_max - c_j|; less than epsilon means an authorized user
        error, index = (confidence[:, None] - self.confidences).abs().min(dim=1)  # (N, T) -> (N,)
        authorized = error < self.epsilon
        user = torch.where(authorized, label * len(self.confidences) + index, -1)
        return Authentication(authorized, error, user)

    def forward(self, logits: Tensor, decoys: Tensor, authorized: Tensor) -> Tensor:
        """Step (iii): the network's own logits (N, K) where authorized (N,), else the random answer (N, K).

        Both are always computed, so that the choice costs the same either way.
        """
        assert logits.shape == decoys.shape, "one decoy an answer"
        assert authorized.shape == logits.shape[:1], "one verdict an answer"
        return torch.where(authorized[:, None], logits, decoys)
