"""What every generator has in common: move a batch of images towards a wanted answer, in floats.

Start, rounding to 8 bits, measurement and fresh starts are `generate.py`'s, the same for all of them.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from models.fingerprints.activeguard.targets import Targets
from models.predictor import Predictor


class Method(Protocol):
    """A search: Gauss-Newton (`gauss_newton.py`), the paper's (`carlini_wagner.py`), Adam (`adam.py`)."""

    def search(self, predictor: Predictor, unit: Tensor, targets: Targets, tolerance: float) -> Tensor:
        """Pixels in [0, 1], (N, D) -> pixels whose answers are as near to the targets as was found.

        An image counts as done when its error is at most `tolerance`; a search may go on, and is never asked to claim.
        """
        ...


def from_unit(predictor: Predictor, unit: Tensor) -> Tensor:
    """Pixels in [0, 1], (N, D) -> raw-range images (N, C, H, W)."""
    low, high = predictor.input_spec.value_range
    return (low + (high - low) * unit).reshape(len(unit), *predictor.input_spec.shape)


class Best:
    """The best iterate of each image: t the arg max first, then the smallest error."""

    def __init__(self, unit: Tensor) -> None:
        self.unit = unit.clone()
        self._score = torch.full((len(unit),), torch.inf)

    def offer(self, rows: Tensor, unit: Tensor, p: Tensor, targets: Targets) -> None:
        """Iterates (M, D) of the images `rows` (M,), with the network's answers (M, K)."""
        score = targets.error(p) + (p.argmax(dim=1) != targets.labels)
        better = score < self._score[rows]
        self.unit[rows[better]] = unit[better]
        self._score[rows[better]] = score[better]
