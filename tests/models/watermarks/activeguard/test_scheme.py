from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.errors import WatermarkError
from models.networks.lenet5 import LeNet5
from models.training import TrainingConfig, initialise
from models.watermarks import activeguard
from models.watermarks.activeguard import WM1, WM2, carrier, keygen, verify
from models.watermarks.digit_map import DigitMap
from tests.models.conftest import Trained

FINE_TUNING = TrainingConfig(epochs=30, batch_size=50, learning_rate=3e-3, seed=3, fresh=False)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lenet5() -> nn.Module:
    network = LeNet5()
    initialise(network, 0)
    return network


@pytest.fixture(scope="module", params=[WM1, WM2], ids=["wm1", "wm2"])
def marked(request: pytest.FixtureRequest, digits: Trained) -> tuple[nn.Module, activeguard.Key, float]:
    """LeNet-5 fine-tuned on the digits with Eq. (4), its key, and its accuracy."""
    network = copy.deepcopy(digits.predictor.network)
    key = keygen(network, "conv2.weight", request.param, generator=generator())
    report = activeguard.embed(network, digits.dataset, key, FINE_TUNING)
    return network, key, report.test_accuracy


class TestCarrier:
    def test_it_is_the_maximum_over_the_output_components_in_the_paper_s_order(self) -> None:
        weight = torch.randn(4, 3, 5, 5, generator=generator())  # (O, I, F, F)
        w = carrier(weight)
        assert w.shape == (5 * 5 * 3,)
        row, column, channel = 2, 4, 1
        assert w[(row * 5 + column) * 3 + channel] == weight[:, channel, row, column].max()

    def test_lenet_5_has_150_positions(self) -> None:
        assert carrier(lenet5().get_parameter("conv2.weight")).numel() == 150

    def test_a_dense_layer_is_refused(self) -> None:
        with pytest.raises(WatermarkError, match="layer"):
            carrier(torch.zeros(10, 84))


class TestKeygen:
    def test_thirteen_distinct_positions_and_the_map_of_the_layer_s_range(self) -> None:
        network = lenet5()
        key = keygen(network, "conv2.weight", generator=generator())
        assert len(set(key.positions.tolist())) == 13
        assert key.digits.tolist() == list(WM1)
        w = carrier(network.get_parameter("conv2.weight"))
        assert key.digit_map.values(torch.stack([w.min(), w.max()])).tolist() == pytest.approx([0, 9], abs=1e-3)

    def test_the_generator_decides(self) -> None:
        first, same, other = (
            keygen(lenet5(), "conv2.weight", generator=generator(seed)).positions.tolist() for seed in (1, 1, 2)
        )
        assert first == same != other

    @pytest.mark.parametrize("digits", [(), (10,), (-1,), (1,) * 151])
    def test_digits_that_cannot_be_are_refused(self, digits: tuple[int, ...]) -> None:
        with pytest.raises(WatermarkError, match="digits"):
            keygen(lenet5(), "conv2.weight", digits, generator=generator())

    def test_a_layer_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(WatermarkError, match="layer"):
            keygen(lenet5(), "conv9.weight", generator=generator())


class TestRegularizer:
    def test_it_is_equation_4_by_hand(self) -> None:
        weight = torch.tensor([[[[0.3]], [[0.5]]], [[[0.4]], [[0.1]]]])  # (2, 2, 1, 1): w = (0.4, 0.5)
        network = nn.Conv2d(2, 2, 1)
        network.weight = nn.Parameter(weight)
        key = activeguard.Key("weight", torch.tensor([1, 0]), torch.tensor([7, 2]), DigitMap(10.0, -2.0))
        expected = 0.01 * ((7 - (10 * 0.5 - 2)) ** 2 + (2 - (10 * 0.4 - 2)) ** 2) / 2
        assert float(activeguard.regularizer(key)(network).detach()) == pytest.approx(expected)

    def test_its_description_tells_keys_apart_and_holds_no_digits(self) -> None:
        keys = [keygen(lenet5(), "conv2.weight", generator=generator(seed)) for seed in (1, 2)]
        first, second = (activeguard.regularizer(key).description for key in keys)
        assert first != second
        assert str(list(WM1)) not in first
        assert str(keys[0].positions.tolist()) not in first


class TestEmbedAndVerify:
    def test_every_digit_is_there_after_fine_tuning(self, marked: tuple[nn.Module, activeguard.Key, float]) -> None:
        network, key, _ = marked
        assert verify(network, key).success
        assert verify(network, key).matches == 13

    def test_the_accuracy_stays(self, marked: tuple[nn.Module, activeguard.Key, float], digits: Trained) -> None:
        assert marked[2] >= digits.report.test_accuracy - 0.01

    def test_an_unmarked_network_and_a_wrong_key_fail(
        self, marked: tuple[nn.Module, activeguard.Key, float], digits: Trained
    ) -> None:
        network, key, _ = marked
        assert not verify(digits.predictor.network, key).success
        wrong = replace(key, positions=torch.randperm(150, generator=generator(9))[:13])
        assert not verify(network, wrong).success

    def test_one_digit_off_is_a_failure(self, marked: tuple[nn.Module, activeguard.Key, float]) -> None:
        network, key, _ = marked
        digits: Tensor = key.digits.clone()
        digits[4] = (digits[4] + 1) % 10
        verdict = verify(network, replace(key, digits=digits))
        assert (verdict.matches, verdict.success) == (12, False)

    @pytest.mark.slow
    def test_from_scratch_too(self, digits: Trained) -> None:
        network = lenet5()
        key = keygen(network, "conv2.weight", generator=generator(), digit_map=DigitMap.from_range(0.05, 0.40))
        report = activeguard.embed(network, digits.dataset, key, TrainingConfig(epochs=60, batch_size=50))
        assert verify(network, key).success
        assert report.test_accuracy >= 0.97
