from __future__ import annotations

import pytest
import torch
from torch import nn

from models.errors import SpecError, WatermarkError
from models.evaluation.mark_parameters import mark_parameters
from models.evaluation.null_model import frequencies
from models.networks.lenet5 import LeNet5
from tests.models.conftest import Tiny


def terms(network: nn.Module, **changes: object) -> object:
    return mark_parameters(network, model="m/1", architecture="lenet5", config={}, **changes)  # type: ignore[arg-type]


class TestMarkParameters:
    def test_lenet_5_is_marked_where_the_paper_marks_it(self) -> None:
        network = LeNet5()
        found = mark_parameters(network, model="m/1", architecture="lenet5", config={})
        assert (found.layer, found.shape, found.digits, found.marks) == ("conv2.weight", (16, 6, 5, 5), 256, 3)
        assert found.null_frequencies == frequencies([network.conv2.weight], found.digit_map)

    def test_other_unmarked_networks_enter_the_null_model(self) -> None:
        network = LeNet5()
        found = mark_parameters(network, model="m/1", architecture="lenet5", config={}, unmarked=[torch.zeros(100_000)])
        assert found.null_frequencies[4] > 0.9  # zeros read as the digit 4

    def test_a_layer_with_many_units_gets_the_digits_that_pay_for_their_order(self) -> None:
        found = mark_parameters(LeNet5(), model="m/1", architecture="lenet5", config={}, layer="fc1.weight", marks=1)
        assert found.digits > 500

    def test_what_does_not_fit_is_named(self) -> None:
        with pytest.raises(WatermarkError, match="layer"):
            terms(LeNet5(), marks=1000)
        with pytest.raises(WatermarkError, match="digits"):
            terms(LeNet5(), digits=1000)
        with pytest.raises(WatermarkError, match="layer"):
            terms(LeNet5(), layer="conv7.weight")
        with pytest.raises(SpecError, match="units"):
            terms(Tiny(16, 4))
