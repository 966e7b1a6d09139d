"""ActiveGuard, section 2.5, Eq. (4): L = L_0 + lambda 1/n sum_k (d_k - map(v_k))^2."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.errors import WatermarkError
from models.watermarks.digit_map import DigitMap


def weight_of(network: nn.Module, layer: str) -> nn.Parameter:
    """The weight of a layer by its parameter's name, such as "conv2.weight"; WatermarkError naming `layer`."""
    try:
        return network.get_parameter(layer)
    except AttributeError:
        raise WatermarkError("layer", f"{layer!r} is not a parameter of this network") from None


def flat(weight: Tensor) -> Tensor:
    """Every weight of the layer by itself: (O, I, F, F) -> (O I F F,)."""
    return weight.flatten()


@dataclass(frozen=True)
class DigitRegularizer:
    """Draws v_k, the carrier's values at `positions` (n,), to the middle of the bins of `digits` (n,).

    `carrier` takes the layer's weight (O, I, F, F) to the flat vector that positions count in; `strength` is lambda.
    """

    layer: str
    positions: Tensor = field(repr=False)
    digits: Tensor = field(repr=False)
    digit_map: DigitMap
    strength: float
    carrier: Callable[[Tensor], Tensor] = flat

    @property
    def description(self) -> str:
        """Says which marks by a digest: a checkpoint must tell them apart and must not tell what they are."""
        content = [self.positions.tolist(), self.digits.tolist(), self.digit_map.a, self.digit_map.b]
        digest = hashlib.sha256(repr(content).encode()).hexdigest()
        return f"digits {self.layer} {self.carrier.__name__} {digest} lambda {self.strength}"

    def __call__(self, network: nn.Module) -> Tensor:
        """The second term of Eq. (4), a scalar."""
        weight = weight_of(network, self.layer)
        carried = self.carrier(weight)[self.positions.to(weight.device)]  # v (n,)
        wanted = self.digits.to(weight.device, weight.dtype)
        return self.strength * torch.mean((wanted - self.digit_map.values(carried)) ** 2)
