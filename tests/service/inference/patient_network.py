"""LeNet-5 that takes its time and notes how many images it was given at once."""

import time
from typing import Any

from torch import nn

from models import networks

SECONDS = 0.05
given: list[int] = []


def patient(**config: object) -> nn.Module:
    """For `SIGNET_NETWORKS`."""
    network = networks.build("lenet5", config)
    network.register_forward_pre_hook(_take_time)
    return network


def _take_time(_: nn.Module, inputs: Any) -> None:
    given.append(len(inputs[0]))
    time.sleep(SECONDS)
