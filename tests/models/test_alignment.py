from __future__ import annotations

import math

import pytest
import torch

from models.alignment import ALL_SCALES, SCALES, align, log10_alignments
from models.attacks.obfuscation import add_dummies, permute, rescale_units
from models.errors import SpecError
from models.networks import build
from models.networks.lenet5 import LeNet5
from models.topology import State, units_of
from models.training import initialise
from tests.models.conftest import Trained


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def state_of(network: torch.nn.Module) -> State:
    return dict(network.state_dict())


class TestAlign:
    def test_permuted_units_are_put_back(self, digits: Trained) -> None:
        network = digits.predictor.network
        found = align(state_of(permute(network, generator=generator())), state_of(network), units_of(network))
        for name, tensor in network.state_dict().items():
            assert torch.equal(found.state[name].float(), tensor), name
        assert all(move.displaced > 0 for move in found.moves)

    def test_scales_are_undone_to_the_nearest_step(self, digits: Trained) -> None:
        network = digits.predictor.network
        found = align(state_of(rescale_units(network, generator=generator())), state_of(network), units_of(network))
        ratio = found.state["conv2.weight"].float() / network.get_parameter("conv2.weight").detach()
        assert float(ratio.log2().abs().max()) <= 2 / 16 + 1e-6  # half a step for the row and half for the column
        ratio = found.reordered["conv2.weight"].float() / network.get_parameter("conv2.weight").detach()
        assert float(ratio.log2().abs().max()) > 1

    @pytest.mark.parametrize(
        ("name", "shape"),
        [
            ("conv1.weight", (6, 0, 5, 5)),
            ("conv2.bias", (16, 0)),
            ("conv2.weight", (0, 6, 5, 5)),
            ("conv2.weight", (16, 6, 9, 9)),
            ("conv2.weight", (16 * 17, 6, 5, 5)),
            ("fc1.weight", (120, 400, 0)),
            ("fc3.weight", (0, 84)),
            ("fc2.weight", (84 * 5, 120 * 4)),
        ],
    )
    def test_shapes_that_no_number_of_units_makes_are_refused_before_anything_is_made_of_them(
        self, name: str, shape: tuple[int, ...]
    ) -> None:
        network = LeNet5()
        suspect = state_of(network) | {name: torch.zeros(shape)}
        with pytest.raises(SpecError) as refused:
            align(suspect, state_of(network), units_of(network))
        assert refused.value.field == f"weights.{name}"

    @pytest.mark.parametrize("octaves", [8.5, 30, 60])
    def test_scales_that_no_training_brings_about_are_undone_and_cost_more(
        self, octaves: float, digits: Trained
    ) -> None:
        network = digits.predictor.network
        changed = rescale_units(permute(network, generator=generator(7)), generator=generator(8), octaves=octaves)
        found = align(state_of(changed), state_of(network), units_of(network))
        ratio = found.state["conv2.weight"].float() / network.get_parameter("conv2.weight").detach()
        assert float(ratio.log2().abs().max()) <= 2 / 16 + 1e-6
        plain = align(state_of(network), state_of(network), units_of(network))
        assert found.log10_scales("conv2.weight") > plain.log10_scales("conv2.weight") + 6

    def test_numbers_as_large_as_a_float_holds_come_out_finite(self) -> None:
        network = LeNet5()
        for value in (3e38, 1e-45):
            suspect = {name: torch.full_like(tensor, value) for name, tensor in state_of(network).items()}
            found = align(suspect, state_of(network), units_of(network))
            assert all(bool(torch.isfinite(tensor).all()) for tensor in found.state.values())

    def test_what_the_description_does_not_name_is_left_alone(self, digits: Trained) -> None:
        network = digits.predictor.network
        odd = torch.ones(3, dtype=torch.complex64)
        found = align(state_of(network) | {"x": odd}, state_of(network), units_of(network))
        assert found.state["x"] is odd

    def test_dummies_are_dropped_and_everything_at_once_is_undone(self, digits: Trained) -> None:
        network = digits.predictor.network
        changed = permute(network, generator=generator(1))
        changed = add_dummies(rescale_units(changed, generator=generator(2)), generator=generator(3))
        assert state_of(changed)["conv2.weight"].shape == (20, 8, 5, 5)
        found = align(state_of(changed), state_of(network), units_of(network))
        own = network.get_parameter("conv2.weight").detach()
        assert found.state["conv2.weight"].shape == own.shape
        assert float((found.state["conv2.weight"] - own).abs().max()) < 0.1 * float(own.abs().max())

    def test_a_wide_residual_network_is_put_back(self) -> None:
        network = build("wide_resnet", {"width": 1})
        initialise(network, 0)
        changed = rescale_units(permute(network, generator=generator(1)), generator=generator(2))
        found = align(state_of(changed), state_of(network), units_of(network))
        for name in ("conv1.weight", "conv2.0.conv2.weight", "conv3.0.shortcut.weight", "fc.weight"):
            own = network.get_parameter(name).detach()
            assert float((found.state[name] - own).abs().max()) < 0.2 * float(own.abs().max()), name

    def test_units_that_were_cut_out_come_back_as_zeros(self, digits: Trained) -> None:
        network = digits.predictor.network
        state = state_of(network)
        kept = [unit for unit in range(84) if unit not in (3, 40)]
        state |= {"fc2.weight": state["fc2.weight"][kept], "fc2.bias": state["fc2.bias"][kept]}
        state |= {"fc3.weight": state["fc3.weight"][:, kept]}
        found = align(state, state_of(network), units_of(network)).state["fc2.weight"].float()
        assert found[[3, 40]].abs().sum() == 0
        assert torch.equal(found[kept], network.get_parameter("fc2.weight").detach()[kept])

    def test_weights_to_be_ignored_decide_nothing(self, digits: Trained) -> None:
        network = digits.predictor.network
        suspect = state_of(rescale_units(permute(network, generator=generator(4)), generator=generator(5)))
        hidden = torch.rand(16, 6, 5, 5, generator=generator(6)) < 0.3
        reference = state_of(network)
        plain = align(suspect, reference, units_of(network), ignore={"conv2.weight": hidden})
        changed = reference | {"conv2.weight": torch.where(hidden, 9.0, reference["conv2.weight"])}
        other = align(suspect, changed, units_of(network), ignore={"conv2.weight": hidden})
        assert torch.equal(plain.state["conv2.weight"], other.state["conv2.weight"])

    def test_what_is_not_finite_harms_nothing(self, digits: Trained) -> None:
        network = digits.predictor.network
        broken = {name: torch.full_like(tensor, math.nan) for name, tensor in state_of(network).items()}
        found = align(broken, state_of(network), units_of(network))
        named = {axis.tensor for group in units_of(network) for axis in group.axes}
        assert all(bool(torch.isfinite(found.state[name]).all()) for name in named)

    @pytest.mark.parametrize(("dummies", "units"), [(False, (6, 16)), (True, (8, 20))])
    def test_the_alignments_are_counted(self, dummies: bool, units: tuple[int, int]) -> None:
        network = LeNet5()
        changed = add_dummies(network, generator=generator()) if dummies else network
        found = align(state_of(changed), state_of(network), units_of(network))
        ways = math.perm(units[0], 6) * math.perm(units[1], 16)
        assert found.log10_orders("conv2.weight") == pytest.approx(math.log10(ways))
        assert found.log10_scales("conv2.weight") == pytest.approx((6 + 16) * math.log10(SCALES) + 2 * math.log10(2))
        most = log10_alignments(units_of(network), "conv2.weight")
        assert most == pytest.approx(
            math.log10(math.perm(6, 6) * math.perm(16, 16)) + 22 * math.log10(ALL_SCALES) + 2 * math.log10(2)
        )
