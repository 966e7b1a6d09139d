from __future__ import annotations

import pytest
import torch

from models.networks.lenet5 import LeNet5, LeNet5Config


def test_conv2_has_the_paper_s_kernels() -> None:
    out, into, height, width = LeNet5().conv2.weight.shape
    assert (height, width, into, out) == (5, 5, 6, 16)
    assert sum(parameter.numel() for parameter in LeNet5().parameters()) == 61_706


@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 12, 2), (3, 32, 43), (1, 29, 1000)])
def test_other_inputs_and_outputs(channels: int, size: int, classes: int) -> None:
    network = LeNet5(LeNet5Config(channels, size, classes))
    assert network(torch.zeros(2, channels, size, size)).shape == (2, classes)
