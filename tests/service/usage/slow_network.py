"""LeNet-5 that takes its time: what an operator allows with SIGNET_NETWORKS, so that a test can kill it at work."""

import os
import time
from pathlib import Path

from torch import Tensor, nn

from models import networks


class Slow(nn.Module):
    """Answers as LeNet-5, later: not before the file named by SLOW_WHILE is gone."""

    def __init__(self, **config: object) -> None:
        super().__init__()
        self.inner = networks.build("lenet5", config)

    def forward(self, images: Tensor) -> Tensor:
        file = Path(os.environ["SLOW_WHILE"])
        while file.exists():
            time.sleep(0.01)
        logits: Tensor = self.inner(images)
        return logits
