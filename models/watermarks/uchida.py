"""Uchida et al., "Embedding Watermarks into Deep Neural Networks", ICMR 2017, arXiv:1701.04082: the baseline.

paper    here             shape     meaning
w        flat_weights     (M,)      kernels of one layer, averaged over the output channels
X        key.projection   (T, M)    secret projection, standard normal ("random" in section 3.2, the best of three)
b        key.message      (T,)      secret bits
lambda   STRENGTH                   0.01
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import WatermarkError
from models.watermarks.regularizer import weight_of

STRENGTH = 0.01


@dataclass(frozen=True)
class Key:
    """Layer, X (T, M) and b (T,), both float32."""

    layer: str
    projection: Tensor = field(repr=False)
    message: Tensor = field(repr=False)


@dataclass(frozen=True)
class Verdict:
    """The bits found (T,) and the share of them that is wrong; the paper counts a mark as there at 0."""

    extracted: Tensor
    bit_error_rate: float


def flat_weights(network: nn.Module, layer: str) -> Tensor:
    """Kernels (O, I, F, F) -> w (M,) with M = I F F: the mean over O."""
    return weight_of(network, layer).mean(dim=0).flatten()


def keygen(network: nn.Module, layer: str, bits: int, *, generator: torch.Generator) -> Key:
    """A random X and T random bits; WatermarkError naming `layer`, or `bits` when fewer than one."""
    if bits < 1:
        raise WatermarkError("bits", "must be at least 1")
    size = flat_weights(network, layer).numel()
    projection = torch.randn(bits, size, generator=generator)
    return Key(layer, projection, torch.randint(0, 2, (bits,), generator=generator).float())


@dataclass(frozen=True)
class UchidaRegularizer:
    """lambda E_R(w), E_R(w) = -sum_j b_j log y_j + (1 - b_j) log(1 - y_j), y = sigmoid(X w): Eq. (3) and (4)."""

    key: Key
    strength: float = STRENGTH

    @property
    def description(self) -> str:
        """Says which key by a digest."""
        content = self.key.projection.numpy().tobytes() + self.key.message.numpy().tobytes()
        return f"uchida {self.key.layer} {hashlib.sha256(content).hexdigest()} lambda {self.strength}"

    def __call__(self, network: nn.Module) -> Tensor:
        """A scalar to add to the loss."""
        weights = flat_weights(network, self.key.layer)  # (M,)
        logits = self.key.projection.to(weights) @ weights  # (T, M) (M,) -> (T,)
        loss = F.binary_cross_entropy_with_logits(logits, self.key.message.to(weights), reduction="sum")
        return self.strength * loss


def extract(network: nn.Module, key: Key) -> Tensor:
    """b_j = step(sum_i X_ji w_i), Eq. (1) and (2): float32 (T,)."""
    weights = flat_weights(network, key.layer).detach().cpu()
    return (key.projection @ weights >= 0).float()


def verify(network: nn.Module, key: Key) -> Verdict:
    """The bit error rate of what is found against the key's message."""
    extracted = extract(network, key)
    return Verdict(extracted, float((extracted != key.message).float().mean()))
