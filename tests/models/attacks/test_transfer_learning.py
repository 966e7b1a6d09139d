from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.attacks.transfer_learning import leaky, transfer
from models.data import Dataset, Split
from models.errors import SpecError
from models.specs import InputSpec, OutputSpec
from models.training import TrainingConfig

TRAINING = TrainingConfig(epochs=2, batch_size=20, augment=None)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
        self.head = nn.Linear(16, 2)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.head(self.features(images))
        return answer


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 100)
    images = (rng.integers(0, 120, (100, 1, 8, 8)) + 100 * labels[:, None, None, None]).astype(np.uint8)
    part = Split(images, labels.astype(np.int64))
    return Dataset("halves", part, part, part, part, InputSpec(shape=(1, 8, 8)), OutputSpec.numbered(2))


@pytest.mark.parametrize("frozen", [False, True])
def test_the_head_is_new_and_the_features_follow_unless_they_are_frozen(frozen: bool, dataset: Dataset) -> None:
    network = Small()
    stolen, report = transfer(network, dataset, TRAINING, frozen=frozen)
    before, after = network.state_dict(), stolen.state_dict()
    assert torch.equal(before["features.1.weight"], after["features.1.weight"]) is frozen
    assert not torch.equal(before["head.weight"], after["head.weight"])
    assert all(parameter.requires_grad for parameter in stolen.parameters())
    assert len(report.accuracies) == 2


def test_a_head_that_is_not_there_is_named(dataset: Dataset) -> None:
    with pytest.raises(SpecError, match=r"head: 'top' is not a module"):
        transfer(Small(), dataset, TRAINING, head="top")


def test_leaky_units_let_a_part_of_what_is_negative_through() -> None:
    network = Small()
    with torch.no_grad():
        network.features[1].weight.zero_()
        network.features[1].bias.fill_(-1.0)  # dead units
    revived = leaky(network, slope=0.5)
    images = torch.zeros(1, 1, 8, 8)
    assert bool((network.features(images) == 0).all())
    assert revived.get_submodule("features")(images).tolist() == [[-0.5] * 16]
    assert isinstance(network.features[2], nn.ReLU)
