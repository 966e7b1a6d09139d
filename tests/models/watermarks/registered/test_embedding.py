from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from models.errors import WatermarkError
from models.networks.lenet5 import LeNet5
from models.training import TrainingConfig
from models.watermarks.registered import EmbeddingSettings, derive_marks, embed, extract, map_of_spread
from tests.models.conftest import Marked, Trained, mark_parameters

SETTINGS = EmbeddingSettings(TrainingConfig(epochs=1, batch_size=100), pull_epochs=1, hold_epochs=1)


class TestEmbed:
    def test_every_digit_of_every_mark_is_exact(self, marked: Marked) -> None:
        for mark in marked.marks:
            assert torch.equal(extract(marked.network, marked.parameters, mark), mark.digits)

    def test_the_accuracy_stays(self, marked: Marked, digits: Trained) -> None:
        assert marked.report.test_accuracy >= digits.report.test_accuracy - 0.01
        assert marked.report.accuracy_before == digits.report.validation_accuracy

    def test_the_regularizer_does_most_of_it(self, marked: Marked) -> None:
        assert marked.report.pulled > 0.5

    def test_the_unmarked_network_shows_chance(self, marked: Marked, digits: Trained) -> None:
        for mark in marked.marks:
            found = extract(digits.predictor.network, marked.parameters, mark)
            assert int((found == mark.digits).sum()) < 64

    def test_progress_counts_over_both_phases(self, digits: Trained) -> None:
        network = copy.deepcopy(digits.predictor.network)
        parameters = mark_parameters(network)
        seen: list[tuple[int, int]] = []
        marks = derive_marks(b"s" * 32, parameters)
        embed(network, digits.dataset, parameters, marks, SETTINGS, on_batch=lambda *at: seen.append(at))
        assert seen == [(done, 20) for done in range(1, 21)]

    def test_another_shape_is_refused(self, digits: Trained) -> None:
        parameters = replace(mark_parameters(LeNet5()), shape=(16, 150))
        with pytest.raises(WatermarkError, match="shape"):
            embed(LeNet5(), digits.dataset, parameters, derive_marks(b"s" * 32, parameters), SETTINGS)


def test_the_map_spans_the_layer_s_spread() -> None:
    network = LeNet5()
    spread = 2 * float(network.conv2.weight.detach().std())
    digit_map = map_of_spread(network, "conv2.weight", spread=2.0)
    assert digit_map.values(torch.tensor([-spread, 0, spread])).tolist() == pytest.approx([0, 4.5, 9], abs=1e-3)
