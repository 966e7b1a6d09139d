"""LeNet-5: LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 86(11), 1998.

With ReLU and max pooling, and every map of conv2 joined to every map of conv1, as the papers that use it today do:
ActiveGuard (arXiv:2103.01527, section 3.1) marks conv2, whose kernels are D = (5, 5, 6, 16).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import SpecError
from models.topology import Units, chain


@dataclass(frozen=True)
class LeNet5Config:
    """Channels and side length of the square input, and the number of classes; raises SpecError naming the key."""

    channels: int = 1
    size: int = 28
    classes: int = 10

    def __post_init__(self) -> None:
        for key, least, most in (("channels", 1, 64), ("size", 12, 512), ("classes", 2, 100_000)):
            if not least <= getattr(self, key) <= most:
                raise SpecError(f"network_config.{key}", f"must be from {least} to {most}")


class LeNet5(nn.Module):
    """Two convolutions, three dense layers; 61,706 weights for 28x28 grey images and ten classes."""

    def __init__(self, config: LeNet5Config | None = None) -> None:
        super().__init__()
        self.config = config or LeNet5Config()
        side = (self.config.size // 2 - 4) // 2
        self.conv1 = nn.Conv2d(self.config.channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * side * side, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, self.config.classes)

    def units(self) -> tuple[Units, ...]:
        """Which layer feeds which, for `models.topology`."""
        return chain(self, ("conv1", "conv2", "fc1", "fc2", "fc3"))

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, C, H, H) -> logits (N, K); shapes in the margin for 28x28."""
        maps = F.max_pool2d(F.relu(self.conv1(images)), 2)  # (N, 6, 14, 14)
        maps = F.max_pool2d(F.relu(self.conv2(maps)), 2)  # (N, 16, 5, 5)
        hidden = F.relu(self.fc1(maps.flatten(1)))  # (N, 120)
        hidden = F.relu(self.fc2(hidden))  # (N, 84)
        logits: Tensor = self.fc3(hidden)  # (N, K)
        return logits
