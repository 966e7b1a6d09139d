"""The networks of Deep Serial Number: Tang, Du and Hu, appendix A, tables 7 (MNIST), 8 (GTSRB) and 9 (faces).

Each is G_e, the convolutions (`features`), and G_y, the dense layers (`head`): the scheme of the paper's section 2.2
attaches its second branch between them. The tables do not give the padding; it is 1 here, so that a convolution keeps
the size of its maps: without it those of table 8 run out before its last pooling. The paper's softmax is left to the
loss. Where table 1 has other numbers (three convolutions for MNIST, 83 persons), the appendix stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from models.errors import SpecError
from models.topology import Units, chain


@dataclass(frozen=True)
class DSNConfig:
    """Channels and side length of the square input, number of classes, and `width`, the share of the table's maps and
    hidden units; raises SpecError naming the key.

    `maps` are those of the convolutions, a tuple for each pooling; `hidden` are the units of the dense layers.
    """

    channels: int
    size: int
    classes: int
    width: float = 1.0

    maps: ClassVar[tuple[tuple[int, ...], ...]]
    hidden: ClassVar[tuple[int, ...]]

    def __post_init__(self) -> None:
        least_size = 2 ** len(self.maps)  # one value a map after the last pooling
        limits = (("channels", 1, 64), ("size", least_size, 512), ("classes", 2, 100_000), ("width", 1 / 16, 1))
        for key, least, most in limits:
            if not least <= getattr(self, key) <= most:
                raise SpecError(f"network_config.{key}", f"must be from {least} to {most}")

    def scaled(self, count: int) -> int:
        """A number of the table in a network of this width."""
        return round(count * self.width)


@dataclass(frozen=True)
class MNISTConfig(DSNConfig):
    """Table 7: 199,058 weights."""

    channels: int = 1
    size: int = 28
    classes: int = 10

    maps = ((32,), (32,))
    hidden = (120,)


@dataclass(frozen=True)
class GTSRBConfig(DSNConfig):
    """Table 8: 1,358,155 weights."""

    channels: int = 3
    size: int = 32
    classes: int = 43

    maps = ((32, 32), (64, 64), (128, 128))
    hidden = (512,)


@dataclass(frozen=True)
class FacesConfig(DSNConfig):
    """Table 9, which is VGG-16: 134,526,849 weights; 2,536,408 at width 0.25 for 64x64 grey images of 40 persons."""

    channels: int = 3
    size: int = 224
    classes: int = 65

    maps = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
    hidden = (4096, 4096)


class DSN(nn.Module):
    """Convolutions in stages that end in a pooling, then dense layers."""

    def __init__(self, config: DSNConfig) -> None:
        super().__init__()
        self.config = config
        side = config.size // 2 ** len(config.maps)
        self.features = _features(config)
        self.head = _head(config, config.scaled(config.maps[-1][-1]) * side * side)

    def units(self) -> tuple[Units, ...]:
        """Which layer feeds which, for `models.topology`."""
        return chain(self, [name for name, layer in self.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)])

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, C, H, H) -> logits (N, K); shapes in the margin for table 8."""
        maps = self.features(images)  # (N, 3, 32, 32) -> (N, 128, 4, 4)
        logits: Tensor = self.head(maps.flatten(1))  # (N, 2048) -> (N, 43)
        return logits


class Convolution(nn.Conv2d):
    """3x3 with padding 1, its weights drawn after He et al., arXiv:1502.01852: a ReLU's input keeps its variance.

    The paper does not say how weights are drawn. With torch's own way the 13 layers of table 9 shrink what tells two
    images apart to a ten-millionth, and its gradient as much.
    """

    def __init__(self, into: int, out: int) -> None:
        super().__init__(into, out, 3, padding=1)

    def reset_parameters(self) -> None:
        """Normal weights of variance 2 / (9 I), biases 0."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        assert self.bias is not None
        nn.init.zeros_(self.bias)


def _features(config: DSNConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    into = config.channels
    for stage in config.maps:
        for out in map(config.scaled, stage):
            layers += [Convolution(into, out), nn.ReLU()]
            into = out
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _head(config: DSNConfig, into: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for out in map(config.scaled, config.hidden):
        layers += [nn.Linear(into, out), nn.ReLU()]
        into = out
    return nn.Sequential(*layers, nn.Linear(into, config.classes))
