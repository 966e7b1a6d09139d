from __future__ import annotations

import pytest
import torch

from models.errors import CalibrationError
from models.own_answers import label
from models.predictor import predict
from models.training import accuracy
from tests.models.conftest import tiny_predictor


class TestLabel:
    def test_the_network_agrees_with_itself(self) -> None:
        predictor = tiny_predictor()
        images = torch.rand(300, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        dataset = label(predictor, images)
        assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [180, 60, 60]
        for part in (dataset.train, dataset.validation, dataset.test):
            assert accuracy(predictor, part) == 1
        assert len(set(dataset.train.labels.tolist())) > 1

    def test_the_labels_are_of_the_images_beside_them(self) -> None:
        predictor = tiny_predictor(seed=1)
        dataset = label(predictor, torch.rand(250, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
        images = dataset.input_spec.from_grid(torch.from_numpy(dataset.train.images))
        assert predict(predictor, images).argmax(dim=1).tolist() == dataset.train.labels.tolist()

    def test_too_few_are_refused(self) -> None:
        with pytest.raises(CalibrationError, match="at least 200"):
            label(tiny_predictor(), torch.rand(199, 1, 8, 8))
