"""Wide residual network: Zagoruyko and Komodakis, BMVC 2016, arXiv:1605.07146; WRN-(6N + 4)-k.

The names are those of the paper's table 1 and of the watermarking papers: conv1, then the groups conv2, conv3, conv4 of
N blocks with 16k, 32k and 64k maps. ActiveGuard and Uchida et al. take N = 1, k = 4 and mark group conv2: the kernels
of its second convolution, `conv2.0.conv2.weight`, are D = (3, 3, 64, 64), so w has 3 x 3 x 64 = 576 positions.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import SpecError
from models.topology import Stream, Units, inner_units


@dataclass(frozen=True)
class WideResNetConfig:
    """N blocks a group, width k, channels of the input, number of classes; raises SpecError naming the key."""

    blocks: int = 1
    width: int = 4
    channels: int = 3
    classes: int = 10

    def __post_init__(self) -> None:
        limits = (("blocks", 1, 50), ("width", 1, 32), ("channels", 1, 64), ("classes", 2, 100_000))
        for key, least, most in limits:
            if not least <= getattr(self, key) <= most:
                raise SpecError(f"network_config.{key}", f"must be from {least} to {most}")


class WideResNet(nn.Module):
    """WRN-10-4 by default: 1,198,810 weights for ten classes."""

    def __init__(self, config: WideResNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or WideResNetConfig()
        widths = [16, *(base * self.config.width for base in (16, 32, 64))]
        self.conv1 = nn.Conv2d(self.config.channels, widths[0], 3, padding=1, bias=False)
        self.conv2 = _group(widths[0], widths[1], self.config.blocks, stride=1)
        self.conv3 = _group(widths[1], widths[2], self.config.blocks, stride=2)
        self.conv4 = _group(widths[2], widths[3], self.config.blocks, stride=2)
        self.bn = nn.BatchNorm2d(widths[3])
        self.fc = nn.Linear(widths[3], self.config.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, C, H, W) -> logits (N, K); shapes in the margin for 32x32 and k = 4."""
        maps = self.conv2(self.conv1(images))  # (N, 16, 32, 32) -> (N, 64, 32, 32)
        maps = self.conv4(self.conv3(maps))  # (N, 256, 8, 8)
        logits: Tensor = self.fc(F.relu(self.bn(maps)).mean(dim=(2, 3)))  # (N, 256) -> (N, K)
        return logits

    def units(self) -> tuple[Units, ...]:
        """The maps within each block, and those that shortcuts tie together: one stream until a shortcut convolves."""
        stream = Stream("stream 0", self.conv1.out_channels, ["conv1.weight"], [])
        streams, inner = [stream], []
        for group in ("conv2", "conv3", "conv4"):
            for index, block in enumerate(self.get_submodule(group).children()):
                assert isinstance(block, WideBlock)
                name, size = f"{group}.{index}", block.conv1.out_channels
                last, read_by = f"{name}.conv2.weight", [f"{name}.conv1.weight"]
                inner.append(inner_units(name, size, read_by[0], f"{name}.bn2", last))
                if block.shortcut is None:
                    stream.readers.append((f"{name}.bn1", read_by))
                    stream.writers.append(last)
                    continue
                shortcut = f"{name}.shortcut.weight"
                stream.readers.append((f"{name}.bn1", [*read_by, shortcut]))
                stream = Stream(f"stream {len(streams)}", size, [last, shortcut], [])
                streams.append(stream)
        stream.readers.append(("bn", ["fc.weight"]))
        return (*(each.units() for each in streams), *inner)


class WideBlock(nn.Module):
    """Normalise, ReLU, convolve, twice, and add: (N, I, H, W) -> (N, O, H/s, W/s); a 1x1 shortcut where I is not O."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(into)
        self.conv1 = nn.Conv2d(into, out, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(into, out, 1, stride, bias=False) if into != out else None

    def forward(self, maps: Tensor) -> Tensor:
        """x + F(x), the shortcut's convolution over the normalised input as in the authors' code."""
        active = F.relu(self.bn1(maps))
        residual: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return residual + (maps if self.shortcut is None else self.shortcut(active))


def _group(into: int, out: int, blocks: int, stride: int) -> nn.Sequential:
    return nn.Sequential(WideBlock(into, out, stride), *(WideBlock(out, out, 1) for _ in range(blocks - 1)))
