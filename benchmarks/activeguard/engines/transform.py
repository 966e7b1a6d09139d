"""Chen and Wu, "Protect Your Deep Neural Networks from Piracy", WIFS 2018: the anti-piracy transform module.

Only as far as the cost of an answer goes: perturbations and weights are random, and nothing is trained. An authorized
user's inputs go through the module before they go into the network:

fixed       x_p = x_r + d        d one of {-sigma, 0, sigma} by pixel, the same for every input
learned     x_p = x_r + d        d learned: the cost is the same
generator   x_p = x_r + G(x_r)   G a 5x5 convolution and a 1x1 bottleneck
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIGMA, P = 0.1, 0.25
MAPS = 16  # of the 5x5 convolution: not said in the paper; as many as ResNet-20's first convolution has


class Universal(nn.Module):
    """The fixed approach, and as for its cost the learned one."""

    perturbation: Tensor

    def __init__(self, shape: tuple[int, int, int], seed: int = 0) -> None:
        super().__init__()
        drawn = torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("perturbation", SIGMA * ((drawn < P).float() - (drawn > 1 - P).float()))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return images + self.perturbation


class Generator(nn.Module):
    """The generator approach: a perturbation of its own for every input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, MAPS, 5, padding=2)
        self.bottleneck = nn.Conv2d(MAPS, channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        perturbation: Tensor = self.bottleneck(torch.relu(self.conv(images)))
        return images + perturbation
