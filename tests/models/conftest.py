"""Networks to test with: tiny ones with fixed weights, and LeNet-5 trained once on the bundled digits."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models import data
from models.checkpoints import encode_weights
from models.data import Dataset
from models.evaluation.null_model import frequencies
from models.networks import build
from models.predictor import Predictor
from models.specs import InputSpec, OutputSpec
from models.training import TrainingReport, initialise, presets, train
from models.watermarks import registered


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


@dataclass(frozen=True)
class Marked:
    """A network that bears three registered marks, and what its owner keeps and states."""

    network: nn.Module
    report: registered.EmbeddingReport
    marks: tuple[registered.Mark, ...]
    commitment: registered.Commitment
    reference: bytes

    @property
    def parameters(self) -> registered.MarkParameters:
        return self.commitment.parameters


def mark_parameters(network: nn.Module, model: str = "digits/1") -> registered.MarkParameters:
    """256 digits in each of three marks in LeNet-5's second convolution."""
    digit_map = registered.map_of_spread(network, "conv2.weight")
    null = frequencies([network.get_parameter("conv2.weight")], digit_map)
    shape, nonce = (16, 6, 5, 5), "0" * 32
    return registered.MarkParameters(model, "lenet5", {}, "conv2.weight", shape, digit_map, 256, 3, null, nonce)


@pytest.fixture(scope="session")
def marked(digits: Trained) -> Marked:
    """The trained LeNet-5 with marks from the secret of 32 letters s; about five seconds, once."""
    network = copy.deepcopy(digits.predictor.network)
    parameters = mark_parameters(network)
    marks = registered.derive_marks(b"s" * 32, parameters)
    training = replace(presets("digits"), learning_rate=2e-3)
    settings = registered.EmbeddingSettings(training, pull_epochs=10, hold_epochs=20)
    report = registered.embed(network, digits.dataset, parameters, marks, settings)
    reference = encode_weights(network)
    return Marked(network, report, marks, registered.commit(parameters, marks, reference), reference)


@pytest.fixture(scope="session")
def data_root() -> Path:
    root = os.environ.get("SIGNET_DATA_DIR")
    if not root:
        pytest.skip("set SIGNET_DATA_DIR to the folder with mnist/ and the other data sets in it")
    return Path(root)
