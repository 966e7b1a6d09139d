"""Engines answer as the network does, or are not built."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models import engines, networks
from models.engines import ENGINES, Forward
from models.errors import EngineError
from models.predictor import Predictor, scores
from models.specs import InputSpec, OutputSpec

SPEC = InputSpec(mean=(0.3,), std=(0.35,))
CLASSES = OutputSpec(10, tuple("0123456789"))


def predictor_of(network: nn.Module) -> Predictor:
    return Predictor(network, SPEC, CLASSES)


@pytest.fixture
def predictor() -> Predictor:
    torch.manual_seed(1)
    return predictor_of(networks.build("lenet5", {"channels": 1, "size": 28, "classes": 10}))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", ["eager", "torchscript", "onnxruntime"])
def test_any_number_of_images_is_answered_alike(name: str, predictor: Predictor, images: Tensor) -> None:
    forward = engines.build(name, predictor, images)
    with torch.inference_mode():
        for count in (1, 2, 7, 16):
            assert forward(images[:count]).shape == (count, 10)
            assert torch.allclose(scores(forward(images[:count])), scores(predictor(images[:count])), atol=1e-5)


@pytest.mark.slow
def test_so_they_are_by_torch_compile(images: Tensor) -> None:
    predictor = predictor_of(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    forward = engines.build("inductor", predictor, images)
    with torch.inference_mode():
        assert torch.allclose(scores(forward(images[:5])), scores(predictor(images[:5])), atol=1e-5)


class OneIsDifferent(nn.Module):
    """What tracing with two images does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(784, 10)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.dense(images.flatten(1))
        return found * 2 if len(images) == 1 else found


def test_one_that_answers_otherwise_is_refused(images: Tensor) -> None:
    with pytest.raises(EngineError, match="from the network's") as raised:
        engines.build("torchscript", predictor_of(OneIsDifferent()), images)
    assert raised.value.field == "torchscript"


def test_so_is_one_that_answers_with_no_numbers(
    predictor: Predictor, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Predictor, __: Tensor) -> Forward:
        return lambda images: torch.full((len(images), 10), float("nan"))

    monkeypatch.setitem(ENGINES, "torchscript", broken)
    with pytest.raises(EngineError, match="nan"):
        engines.build("torchscript", predictor, images)


def test_one_that_is_not_there_is_said(predictor: Predictor, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(EngineError, match="onnxruntime: cannot be built: ModuleNotFoundError"):
        engines.build("onnxruntime", predictor, images)


def test_time_is_told_in_seconds(predictor: Predictor, images: Tensor) -> None:
    assert 0 < engines.timed(predictor, images) < 10
