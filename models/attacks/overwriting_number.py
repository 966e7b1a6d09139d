"""Overwriting a serial number: the thief embeds one of his own (arXiv:2011.08960, section 3.5, Table 6).

He has no teacher, so the cross-entropy of his labels stands for the distillation of Eq. (3); Eq. (5) is as published.
If he has the old number, he also unlearns it: L_SNE on inputs that bear it.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import SerialNumberError
from models.predictor import Predictor
from models.serial_numbers.dsn.gradient_reversal import reverse
from models.serial_numbers.dsn.stamp import Stamp
from models.training import initialise


class NewNumber:
    """An objective for `models.attacks.tuning.tune`: CE(G_y(G_e(x (+) k*)), y) + CE(G_d(GRL(G_e(x))), y), and with the
    old number k another CE(G_d'(GRL(G_e(x (+) k))), y), each G_d a fresh head of the student's kind.

    Numbers are bits (n,); `strength` is lambda. Knows: weights, data with labels, where a number stands; with `old`,
    the number as well. Raises SerialNumberError naming `student` for a network without `features` and `head`.
    """

    def __init__(
        self,
        predictor: Predictor,
        stamp: Stamp,
        new: Tensor,
        *,
        old: Tensor | None = None,
        strength: float = 1.0,
        seed: int = 0,
    ) -> None:
        network = predictor.network
        if not all(isinstance(getattr(network, part, None), nn.Module) for part in ("features", "head")):
            raise SerialNumberError("student", "must have the modules `features` and `head`")
        self._predictor, self._stamp, self._new, self._old = predictor, stamp, new, old
        self._strength = strength
        heads = {"student": network, "raw": copy.deepcopy(network.get_submodule("head"))}
        if old is not None:
            heads["old"] = copy.deepcopy(heads["raw"])
        for place, name in enumerate(list(heads)[1:]):
            initialise(heads[name], 2 * seed + place)
        self.trained: nn.Module = nn.ModuleDict(heads)

    def __call__(self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        loss = F.cross_entropy(self._predictor(self._stamp.put(images, self._new)), labels)
        loss = loss + self._unlearned("raw", images, labels)
        if self._old is not None:
            loss = loss + self._unlearned("old", self._stamp.put(images, self._old), labels)
        return loss

    def _unlearned(self, head: str, images: Tensor, labels: Tensor) -> Tensor:
        """L_SNE, Eq. (5)."""
        shown = (images - self._predictor.mean) / self._predictor.std
        features = self._predictor.network.get_submodule("features")(shown).flatten(1)
        return F.cross_entropy(self.trained.get_submodule(head)(reverse(features, self._strength)), labels)
