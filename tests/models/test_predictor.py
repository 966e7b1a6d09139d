from __future__ import annotations

import pytest
import torch
from torch import nn

from models.errors import SpecError
from models.predictor import Predictor, predict, scores
from models.specs import InputSpec, OutputSpec
from tests.models.conftest import Tiny, tiny_predictor


class TestPredictor:
    def test_normalisation_is_inside(self) -> None:
        network = Tiny(3 * 4 * 4, 5)
        spec = InputSpec(shape=(3, 4, 4), mode="RGB", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
        images = torch.rand(2, 3, 4, 4)
        by_hand = network((images - torch.tensor(spec.mean)[:, None, None]) / torch.tensor(spec.std)[:, None, None])
        assert torch.allclose(Predictor(network, spec, OutputSpec.numbered(5))(images), by_hand)

    def test_probabilities_come_back_as_they_were(self) -> None:
        network = nn.Sequential(Tiny(16, 4), nn.Softmax(dim=1))
        spec = InputSpec(shape=(1, 4, 4))
        predictor = Predictor(network, spec, OutputSpec.numbered(4, "probabilities"))
        images = torch.rand(3, 1, 4, 4)
        assert torch.allclose(scores(predictor(images)), network(images), atol=1e-6)

    def test_a_probability_of_zero_stays_finite(self) -> None:
        class Certain(nn.Module):
            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return torch.eye(3)[: len(images)]

        predictor = Predictor(Certain(), InputSpec(shape=(1, 2, 2)), OutputSpec.numbered(3, "probabilities"))
        assert torch.isfinite(predictor(torch.zeros(2, 1, 2, 2))).all()

    def test_dropout_is_off(self) -> None:
        network = nn.Sequential(nn.Dropout(0.5), Tiny(64, 10))
        predictor = Predictor(network, InputSpec(shape=(1, 8, 8)), OutputSpec.numbered(10))
        images = torch.rand(2, 1, 8, 8)
        assert torch.equal(predictor(images), predictor(images))

    def test_another_number_of_classes_is_named(self) -> None:
        predictor = Predictor(Tiny(4, 5), InputSpec(shape=(1, 2, 2)), OutputSpec.numbered(4))
        with pytest.raises(SpecError) as caught:
            predictor(torch.zeros(1, 1, 2, 2))
        assert caught.value.field == "output_spec.classes"

    def test_other_shapes_and_types_are_a_callers_mistake(self) -> None:
        predictor = tiny_predictor()
        with pytest.raises(AssertionError):
            predictor(torch.zeros(1, 1, 8, 9))
        with pytest.raises(AssertionError):
            predictor(torch.zeros(1, 1, 8, 8, dtype=torch.float64))


def test_batches_give_what_one_pass_gives() -> None:
    predictor = tiny_predictor()
    images = torch.rand(9, 1, 8, 8)
    assert torch.allclose(predict(predictor, images, batch_size=4), predictor(images), atol=1e-6)
    assert predict(predictor, images[:0]).shape == (0, 10)


def test_scores_are_a_distribution() -> None:
    answer = scores(torch.tensor([[1000.0, 0.0, -1000.0]]))
    assert answer.dtype == torch.float32
    assert answer.tolist() == [[1.0, 0.0, 0.0]]
