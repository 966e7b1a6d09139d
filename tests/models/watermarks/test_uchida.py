from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from models.errors import WatermarkError
from models.networks.lenet5 import LeNet5
from models.training import TrainingConfig, train
from models.watermarks import uchida
from tests.models.conftest import Trained


def key_for(network: nn.Module, bits: int = 64, seed: int = 0) -> uchida.Key:
    return uchida.keygen(network, "conv2.weight", bits, generator=torch.Generator().manual_seed(seed))


class TestRegularizer:
    def test_it_is_the_cross_entropy_of_the_projection_by_hand(self) -> None:
        network = nn.Conv2d(1, 2, 1)
        network.weight = nn.Parameter(torch.tensor([[[[0.2]]], [[[0.6]]]]))  # mean over O: 0.4
        key = uchida.Key("weight", torch.tensor([[2.0], [-1.0]]), torch.tensor([1.0, 1.0]))
        y = torch.sigmoid(torch.tensor([0.8, -0.4]))
        expected = 0.01 * float(-torch.log(y).sum())
        assert float(uchida.UchidaRegularizer(key)(network).detach()) == pytest.approx(expected)

    def test_its_description_tells_keys_apart(self) -> None:
        first, second = (uchida.UchidaRegularizer(key_for(LeNet5(), seed=seed)).description for seed in (1, 2))
        assert first != second


class TestEmbed:
    def test_every_bit_is_there_after_fine_tuning_and_for_no_other_key(self, digits: Trained) -> None:
        network = copy.deepcopy(digits.predictor.network)
        key = key_for(network, bits=32)
        config = TrainingConfig(epochs=30, batch_size=50, learning_rate=3e-3, seed=3, fresh=False)
        report = train(network, digits.dataset, config, regularizer=uchida.UchidaRegularizer(key), keep="last")
        assert uchida.verify(network, key).bit_error_rate == 0
        assert uchida.verify(digits.predictor.network, key).bit_error_rate > 0.2
        assert uchida.verify(network, key_for(network, bits=32, seed=1)).bit_error_rate > 0.2
        assert report.test_accuracy >= digits.report.test_accuracy - 0.01


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(WatermarkError, match="bits"):
        key_for(LeNet5(), bits=0)
    with pytest.raises(WatermarkError, match="layer"):
        uchida.keygen(LeNet5(), "nothing", 8, generator=torch.Generator())
