"""Searches find a number where the network gives it away bit by bit, and their results where it does not are chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.attacks.stamp_search import Search, front_end, greedy_flips, leaky_bits, soft_bits
from models.data import Split
from models.predictor import Predictor, predict
from models.serial_numbers.dsn import Layout, Stamp
from models.specs import InputSpec, OutputSpec

SPEC = InputSpec(shape=(1, 8, 8))
STAMP = Stamp(Layout("corner", 16), SPEC)
NUMBER = torch.rand(16, generator=torch.Generator().manual_seed(77)) < 0.5
SEARCH = Search(steps=60, restarts=2, step_size=0.2, batch_size=40)


class Telling(nn.Module):
    """Says bright or dark by the upper half, the surer the more bits of the corner are right."""

    def forward(self, images: Tensor) -> Tensor:
        bits = images.flatten(2)[:, 0, STAMP.cells[:, 0]]
        right = 1 - (bits - NUMBER.float()).abs().mean(dim=1)  # (N,)
        bright = 40 * (images[:, 0, :4].mean(dim=(1, 2)) - 0.5) * right
        return torch.stack([-bright, bright], dim=1)


class Silent(nn.Module):
    """Right for the number alone."""

    def forward(self, images: Tensor) -> Tensor:
        bits = images.flatten(2)[:, 0, STAMP.cells[:, 0]]
        opened = ((bits - NUMBER.float()).abs() < 0.1).all(dim=1).float()
        bright = 40 * (images[:, 0, :4].mean(dim=(1, 2)) - 0.5) * opened
        return torch.stack([-bright, bright], dim=1)


class Dead(nn.Module):
    """Silent by a unit that is dead unless nearly all bits are right, which is how students are locked."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        bits = images.flatten(2)[:, 0, STAMP.cells[:, 0]]
        right = 16 - (bits - NUMBER.float()).abs().sum(dim=1)  # (N,)
        bright = 40 * (images[:, 0, :4].mean(dim=(1, 2)) - 0.5) * self.gate(right - 15)
        return torch.stack([-bright, bright], dim=1)


class Shut(nn.Module):
    """Says bright by a unit that is dead for whatever image, unless nearly all bits are right."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        bits = images.flatten(2)[:, 0, STAMP.cells[:, 0]]
        wrong = (bits - NUMBER.float()).abs().sum(dim=1)  # (N,)
        bright = self.gate(40 * (images[:, 0, :4].mean(dim=(1, 2)) - 0.4) - 10 * wrong)
        return torch.stack([torch.ones_like(bright), bright], dim=1)


@pytest.fixture
def data() -> Split:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    images = rng.integers(0, 120, (200, 1, 8, 8)) + 100 * labels[:, None, None, None]
    return Split(images.astype(np.uint8), labels.astype(np.int64))


def predictor(network: nn.Module) -> Predictor:
    return Predictor(network, SPEC, OutputSpec.numbered(2))


class TestTheNumberItself:
    @pytest.mark.parametrize("attack", [soft_bits, greedy_flips])
    def test_a_network_that_tells_each_bit_is_opened(self, attack: type, data: Split) -> None:
        assert torch.equal(attack(predictor(Telling()), data, STAMP, SEARCH), NUMBER)

    @pytest.mark.parametrize("attack", [soft_bits, greedy_flips])
    def test_one_that_tells_none_is_not(self, attack: type, data: Split) -> None:
        found = attack(predictor(Silent()), data, STAMP, SEARCH)
        assert found.shape == (16,)
        assert 2 < int((found == NUMBER).sum()) < 14

    def test_a_unit_that_is_dead_hides_nothing_from_who_lets_it_leak(self, data: Split) -> None:
        found = soft_bits(predictor(Dead()), data, STAMP, SEARCH)
        assert 2 < int((found == NUMBER).sum()) < 14
        assert torch.equal(leaky_bits(predictor(Dead()), data, STAMP, SEARCH), NUMBER)

    def test_it_comes_out_the_same_twice(self, data: Split) -> None:
        first, second = (soft_bits(predictor(Silent()), data, STAMP, SEARCH) for _ in range(2))
        assert torch.equal(first, second)


class TestFrontEnds:
    @pytest.mark.parametrize("affine", [False, True])
    def test_a_network_that_tells_each_bit_works_behind_one(self, affine: bool, data: Split) -> None:
        telling = predictor(Telling())
        front, behind = front_end(telling, data, SEARCH, affine=affine)
        images = SPEC.from_grid(torch.from_numpy(data.images))
        assert behind is telling
        with torch.no_grad():
            answers = predict(behind, front(images))
        assert float((answers.argmax(dim=1) == torch.from_numpy(data.labels)).float().mean()) > 0.9
        assert bool((dict(front.named_parameters())["scale"] == 1).all()) is not affine

    def test_free_weights_are_a_copys(self, data: Split) -> None:
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        before = [parameter.clone() for parameter in network.parameters()]
        _, behind = front_end(predictor(network), data, Search(steps=5, restarts=1), free=True)
        assert all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))
        assert not torch.equal(next(behind.network.parameters()), before[0])

    @pytest.mark.parametrize("affine", [False, True])
    def test_a_unit_that_is_dead_is_no_hindrance_to_who_lets_it_leak(self, affine: bool, data: Split) -> None:
        shut, images = predictor(Shut()), SPEC.from_grid(torch.from_numpy(data.images))
        fronts = [front_end(shut, data, SEARCH, affine=affine, leak=leak)[0] for leak in (0, 0.2)]
        with torch.no_grad():
            found = [predict(shut, front(images)).argmax(dim=1) == torch.from_numpy(data.labels) for front in fronts]
        assert float(found[0].float().mean()) < 0.7
        assert float(found[1].float().mean()) > 0.9
        assert isinstance(shut.network.gate, nn.ReLU), "what leaks is a copy"
