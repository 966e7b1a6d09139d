"""ResNet and wide ResNet: the layouts of their papers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.networks import build
from models.networks.resnet import ResNet
from models.networks.wide_resnet import WideResNet


def weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_resnet_20_has_twenty_layers_and_the_paper_s_0_27_million_weights() -> None:
    """He et al., table 6."""
    network = ResNet()
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 20
    assert weights(network) == 269_722


def test_conv2_has_the_paper_s_576_positions() -> None:
    """ActiveGuard, section 3.1: w over (F, F, I) of the second convolution of group conv2, N = 1 and k = 4."""
    out, into, height, width = WideResNet().conv2[0].conv2.weight.shape
    assert height * width * into == 576
    assert out == 64


def test_wrn_40_4_is_the_published_size() -> None:
    """Zagoruyko and Komodakis, table 4: 8.9 million weights."""
    assert round(weights(build("wide_resnet", {"blocks": 6})) / 1e6, 1) == 8.9


@pytest.mark.parametrize("name", ["resnet", "wide_resnet"])
@pytest.mark.parametrize(("channels", "size", "classes"), [(3, 32, 10), (1, 28, 2), (3, 33, 43)])
def test_other_inputs_and_outputs(name: str, channels: int, size: int, classes: int) -> None:
    network = build(name, {"blocks": 1, "channels": channels, "classes": classes})
    assert network(torch.zeros(2, channels, size, size)).shape == (2, classes)


def test_a_block_s_shortcut_keeps_what_goes_in() -> None:
    network = ResNet()
    for block in network.stage1:
        nn.init.zeros_(block.bn2.weight)
    maps = torch.rand(2, 16, 8, 8)
    assert torch.allclose(network.stage1(maps), maps)
