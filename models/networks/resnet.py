"""ResNet for 32x32 images: He et al., "Deep Residual Learning", CVPR 2016, arXiv:1512.03385, section 4.2.

6n + 2 layers: one convolution, three stages of n basic blocks with 16, 32 and 64 maps, global average, one dense layer.
Shortcuts have no weights: where maps double and sides halve, every second pixel is taken and zeros are appended.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import SpecError
from models.topology import Units, inner_units

WIDTHS = (16, 32, 64)


@dataclass(frozen=True)
class ResNetConfig:
    """Blocks a stage (3 makes ResNet-20), channels of the input, number of classes; raises SpecError naming the key."""

    blocks: int = 3
    channels: int = 3
    classes: int = 10

    def __post_init__(self) -> None:
        for key, least, most in (("blocks", 1, 200), ("channels", 1, 64), ("classes", 2, 100_000)):
            if not least <= getattr(self, key) <= most:
                raise SpecError(f"network_config.{key}", f"must be from {least} to {most}")


class ResNet(nn.Module):
    """ResNet-20 by default: 269,722 weights for ten classes."""

    def __init__(self, config: ResNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or ResNetConfig()
        self.conv1 = nn.Conv2d(self.config.channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.stage1, self.stage2, self.stage3 = (
            _stage(into, out, self.config.blocks) for into, out in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False)
        )
        self.fc = nn.Linear(WIDTHS[-1], self.config.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, C, H, W) -> logits (N, K); shapes in the margin for 32x32."""
        maps = F.relu(self.bn1(self.conv1(images)))  # (N, 16, 32, 32)
        maps = self.stage3(self.stage2(self.stage1(maps)))  # (N, 64, 8, 8)
        logits: Tensor = self.fc(maps.mean(dim=(2, 3)))  # (N, 64) -> (N, K)
        return logits

    def units(self) -> tuple[Units, ...]:
        """The maps within each block. Those between blocks are left in their order: zeros are appended to them."""
        return tuple(
            inner_units(name, block.conv1.out_channels, f"{name}.conv1.weight", f"{name}.bn1", f"{name}.conv2.weight")
            for name, block in self.named_modules()
            if isinstance(block, BasicBlock)
        )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation, added to the input: (N, I, H, W) -> (N, O, H/s, W/s)."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride, self.padding = stride, out - into
        self.conv1 = nn.Conv2d(into, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)

    def forward(self, maps: Tensor) -> Tensor:
        """relu(F(x) + x)"""
        shortcut = F.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.padding))
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        return F.relu(residual + shortcut)


def _stage(into: int, out: int, blocks: int) -> nn.Sequential:
    first = BasicBlock(into, out, stride=1 if into == out else 2)
    return nn.Sequential(first, *(BasicBlock(out, out, stride=1) for _ in range(blocks - 1)))
