"""Networks to test with: tiny ones with fixed weights, and LeNet-5 trained once on the bundled digits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models import data
from models.data import Dataset
from models.networks import build
from models.predictor import Predictor
from models.specs import InputSpec, OutputSpec
from models.training import TrainingReport, initialise, presets, train


class Tiny(nn.Module):
    """One hidden layer over the pixels: enough to have an answer for every image."""

    def __init__(self, values: int, classes: int, hidden: int = 32, gain: float = 3.0) -> None:
        super().__init__()
        self.gain = gain
        self.hidden = nn.Linear(values, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.gain * self.out(torch.tanh(self.hidden(images.flatten(1))))
        return answer


def tiny_predictor(
    shape: tuple[int, int, int] = (1, 8, 8), classes: int = 10, seed: int = 0, hidden: int = 32, gain: float = 3.0
) -> Predictor:
    """A predictor over untrained weights; RGB for three channels."""
    network = Tiny(shape[0] * shape[1] * shape[2], classes, hidden, gain)
    initialise(network, seed)
    mode = {1: "L", 3: "RGB"}.get(shape[0], "tensor")
    spec = InputSpec(shape=shape, mode=mode, mean=(0.5,) * shape[0], std=(0.25,) * shape[0])  # type: ignore[arg-type]
    return Predictor(network, spec, OutputSpec.numbered(classes))


@dataclass(frozen=True)
class Trained:
    dataset: Dataset
    predictor: Predictor
    report: TrainingReport


@pytest.fixture(scope="session")
def digits() -> Trained:
    """LeNet-5 as `make run` trains it; about ten seconds, once."""
    dataset = data.load("digits")
    network = build("lenet5", {})
    report = train(network, dataset, presets("digits"))
    return Trained(dataset, Predictor(network, dataset.input_spec, dataset.output_spec), report)


@pytest.fixture(scope="session")
def data_root() -> Path:
    root = os.environ.get("SIGNET_DATA_DIR")
    if not root:
        pytest.skip("set SIGNET_DATA_DIR to the folder with mnist/ in it")
    return Path(root)
