from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.attacks.obfuscation import add_dummies, permute, rescale_units
from models.errors import SpecError
from models.networks import build
from models.networks.lenet5 import LeNet5
from models.topology import Axis, Units, chain, reorder, rescale, size_in, units_of
from models.training import initialise


class TestUnitsOf:
    def test_lenet_5_is_a_chain_with_25_columns_a_map(self) -> None:
        groups = {group.name: group for group in units_of(LeNet5())}
        assert {name: group.size for name, group in groups.items()} == {"conv1": 6, "conv2": 16, "fc1": 120, "fc2": 84}
        assert Axis("fc1.weight", 1, 25, (-1,)) in groups["conv2"].axes

    def test_a_sequential_network_describes_itself(self) -> None:
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 7), nn.ReLU(), nn.Linear(7, 2)
        )
        assert [(group.name, group.size) for group in units_of(network)] == [("0", 4), ("3", 7)]

    def test_what_cannot_be_described_is_refused(self) -> None:
        for network in (nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)), nn.Bilinear(2, 2, 2)):
            with pytest.raises(SpecError, match="network"):
                units_of(network)
        with pytest.raises(SpecError, match="does not read"):
            chain(nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 2)), ["0", "1"])


class TestMoves:
    def test_order_and_scale_may_change_and_the_function_stays(self) -> None:
        network = LeNet5().eval()
        initialise(network, 0)
        images = torch.randn(3, 1, 28, 28)
        expected = network(images)
        state = dict(network.state_dict())
        for group in units_of(network):
            state = reorder(state, group, torch.randperm(group.size))
            state = rescale(state, group, torch.rand(1, group.size) + 0.5)
        network.load_state_dict(state)
        assert torch.allclose(network(images), expected, atol=1e-5)
        assert not torch.equal(state["conv2.weight"], LeNet5().conv2.weight)

    def test_a_batch_normalised_convolution_has_a_second_scale(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, eps=0), nn.ReLU(), nn.Conv2d(4, 2, 1))
        network[1].running_mean.uniform_(-1, 1)  # type: ignore[operator, union-attr]
        network[1].running_var.uniform_(1, 2)  # type: ignore[operator, union-attr]
        group = Units(
            "inner",
            4,
            (
                Axis("0.weight", 0, powers=(1, 0)),
                Axis("1.running_mean", 0, powers=(1, 0)),
                Axis("1.running_var", 0, powers=(2, 0)),
                Axis("1.weight", 0, powers=(0, 1)),
                Axis("1.bias", 0, powers=(0, 1)),
                Axis("3.weight", 1, powers=(0, -1)),
            ),
        )
        images = torch.randn(2, 3, 8, 8)
        network.eval()
        expected = network(images)
        state = reorder(dict(network.state_dict()), group, torch.tensor([2, 0, 3, 1]))
        network.load_state_dict(rescale(state, group, torch.rand(2, 4) + 0.5))
        assert torch.allclose(network(images), expected, atol=1e-5)

    @pytest.mark.parametrize(
        ("name", "config"),
        [
            ("wide_resnet", {"width": 2}),
            ("wide_resnet", {"width": 1, "blocks": 2}),  # no shortcut convolves in the first group
            ("resnet", {"blocks": 1}),
        ],
    )
    @pytest.mark.parametrize("move", [permute, rescale_units, add_dummies])
    def test_residual_networks_keep_their_function(
        self, name: str, config: dict[str, object], move: Callable[..., nn.Module]
    ) -> None:
        network = build(name, config).eval()
        initialise(network, 0)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor, low in ((module.running_mean, -0.5), (module.running_var, 0.5), (module.weight, 0.5)):
                    assert tensor is not None
                    tensor.data.uniform_(low, low + 1)
        images = torch.randn(2, 3, 32, 32)
        changed = move(network, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            assert torch.allclose(changed(images), network(images), atol=1e-3)
        for group in units_of(network):
            for axis in group.axes:
                own = network.state_dict()[axis.tensor]
                moved = not torch.equal(changed.state_dict()[axis.tensor], own)
                assert moved or own.ndim == 1, f"{axis.tensor} takes part"

    def test_tensors_that_do_not_agree_are_named(self) -> None:
        group = units_of(LeNet5())[0]
        state = dict(LeNet5().state_dict())
        with pytest.raises(SpecError, match=r"weights\.conv1\.bias"):
            size_in({name: tensor for name, tensor in state.items() if name != "conv1.bias"}, group)
        with pytest.raises(SpecError, match="do not agree"):
            size_in(state | {"conv1.bias": torch.zeros(7)}, group)
