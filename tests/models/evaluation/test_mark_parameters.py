from __future__ import annotations

import pytest
import torch
from torch import nn

from models.errors import SpecError, WatermarkError
from models.evaluation.mark_parameters import mark_parameters
from models.evaluation.null_model import frequencies
from models.networks import build
from models.networks.lenet5 import LeNet5, LeNet5Config
from tests.models.conftest import Tiny


def terms(network: nn.Module, **changes: object) -> object:
    return mark_parameters(network, model="m/1", architecture="lenet5", config={}, **changes)  # type: ignore[arg-type]


class TestMarkParameters:
    def test_a_large_layer_is_marked_a_fifth_of_it_for_all_marks(self) -> None:
        network = LeNet5()
        found = mark_parameters(network, model="m/1", architecture="lenet5", config={})
        assert (found.layer, found.shape, found.digits, found.marks) == ("fc1.weight", (120, 400), 3200, 3)
        assert found.null_frequencies == frequencies([network.fc1.weight], found.digit_map)

    def test_a_small_network_is_marked_where_the_paper_marks_it(self) -> None:
        network = LeNet5(LeNet5Config(size=12))
        found = mark_parameters(network, model="m/1", architecture="lenet5", config={"size": 12})
        assert (found.layer, found.digits) == ("conv2.weight", 256)

    def test_a_layer_of_many_units_is_left_for_one_that_is_cheaper_to_re_align(self) -> None:
        network = build("wide_resnet", {})
        found = mark_parameters(network, model="m/1", architecture="wide_resnet", config={})
        assert (found.layer, found.digits) == ("conv3.0.conv1.weight", 4096)
        assert max(parameter.numel() for parameter in network.parameters()) > 4 * found.size

    def test_other_unmarked_networks_enter_the_null_model(self) -> None:
        network = LeNet5()
        found = mark_parameters(network, model="m/1", architecture="lenet5", config={}, unmarked=[torch.zeros(999_999)])
        assert found.null_frequencies[4] > 0.9  # zeros read as the digit 4

    def test_a_layer_with_many_units_gets_the_digits_that_pay_for_their_order(self) -> None:
        found = mark_parameters(LeNet5(), model="m/1", architecture="lenet5", config={}, layer="fc2.weight")
        assert found.digits > 10_080 // (5 * 3)

    def test_what_does_not_fit_is_named(self) -> None:
        with pytest.raises(WatermarkError, match="layer"):
            terms(LeNet5(), marks=1000)
        with pytest.raises(WatermarkError, match="digits"):
            terms(LeNet5(), digits=8001)
        with pytest.raises(WatermarkError, match="layer"):
            terms(LeNet5(), layer="conv7.weight")
        with pytest.raises(SpecError, match="units"):
            terms(Tiny(16, 4))
