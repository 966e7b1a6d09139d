"""The networks of Deep Serial Number: the numbers of the paper's tables 7, 8 and 9, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.attacks.obfuscation import permute, rescale_units
from models.errors import SpecError
from models.networks import build
from models.networks.dsn import DSN, FacesConfig, GTSRBConfig, MNISTConfig
from models.topology import units_of
from models.training import initialise

NAMES = ["dsn_mnist", "dsn_gtsrb", "dsn_faces"]
LEAST_SIZES = [("dsn_mnist", 4), ("dsn_gtsrb", 8), ("dsn_faces", 32)]  # a value a map after the last pooling
QUARTER = {"channels": 1, "size": 64, "classes": 40, "width": 0.25}


def weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def network_of(name: str, config: dict[str, object]) -> DSN:
    network = build(name, config)
    assert isinstance(network, DSN)
    return network


class TestTables:
    def test_mnist(self) -> None:
        network = DSN(MNISTConfig())
        assert weights(network.features) == (9 * 1 * 32 + 32) + (9 * 32 * 32 + 32)
        assert weights(network.head) == (7 * 7 * 32 * 120 + 120) + (120 * 10 + 10)
        assert weights(network) == 199_058

    def test_gtsrb(self) -> None:
        network = DSN(GTSRBConfig())
        pairs = [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)]
        assert weights(network.features) == sum(9 * into * out + out for into, out in pairs)
        assert weights(network.head) == (4 * 4 * 128 * 512 + 512) + (512 * 43 + 43)
        assert weights(network) == 1_358_155

    def test_faces(self) -> None:
        """Its 13 convolutions are VGG-16's, which have 14,714,688 weights; at full size without the memory for it."""
        with torch.device("meta"):
            network = DSN(FacesConfig())
            assert network(torch.zeros(2, 3, 224, 224)).shape == (2, 65)
        assert weights(network.features) == 14_714_688
        assert weights(network.head) == (7 * 7 * 512 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 65 + 65)
        assert weights(network) == 134_526_849

    def test_a_quarter_of_the_width(self) -> None:
        network = network_of("dsn_faces", QUARTER)
        maps = [1, 16, 16, 32, 32, 64, 64, 64, *[128] * 6]
        assert weights(network.features) == sum(9 * maps[i] * maps[i + 1] + maps[i + 1] for i in range(13))
        assert weights(network.head) == (2 * 2 * 128 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 40 + 40)
        assert weights(network) == 2_536_408

    @pytest.mark.parametrize(
        ("name", "convolutions", "dense"), [("dsn_mnist", 2, 2), ("dsn_gtsrb", 6, 2), ("dsn_faces", 13, 3)]
    )
    def test_layers_are_as_many_as_the_table_s(self, name: str, convolutions: int, dense: int) -> None:
        with torch.device("meta"):
            network = network_of(name, {})
        assert sum(isinstance(layer, nn.Conv2d) for layer in network.features) == convolutions
        assert sum(isinstance(layer, nn.Linear) for layer in network.head) == dense


class TestForward:
    @pytest.mark.parametrize("name", NAMES)
    def test_it_is_the_head_of_the_features(self, name: str) -> None:
        network = network_of(name, {"channels": 3, "size": 32, "classes": 7, "width": 0.125})
        images = torch.rand(2, 3, 32, 32)
        logits = network(images)
        assert logits.shape == (2, 7)
        assert torch.equal(logits, network.head(network.features(images).flatten(1)))
        assert (logits < 0).any() or (logits.sum(dim=1) - 1).abs().max() > 1e-3, "logits, no probabilities"

    @pytest.mark.parametrize(("name", "least"), LEAST_SIZES)
    def test_sides_that_pooling_does_not_halve_evenly(self, name: str, least: int) -> None:
        for size in (least, least + 1, 45):
            network = network_of(name, {"size": size, "channels": 1, "classes": 2, "width": 0.0625})
            assert network(torch.zeros(1, 1, size, size)).shape == (1, 2)


class TestConvolution:
    @pytest.mark.parametrize(("name", "config"), [("dsn_mnist", {}), ("dsn_gtsrb", {}), ("dsn_faces", QUARTER)])
    def test_fresh_weights_let_images_and_gradients_through(self, name: str, config: dict[str, object]) -> None:
        network = network_of(name, config)
        initialise(network, 0)
        images = torch.randn(8, network.config.channels, network.config.size, network.config.size)
        logits = network(images)
        assert logits.std(dim=0).mean() > 1e-3
        F.cross_entropy(logits, torch.arange(8)).backward()
        gradient = network.get_parameter("features.0.weight").grad
        assert gradient is not None
        assert gradient.norm() > 1e-3


class TestRefusals:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            *(("channels", 0), ("channels", 65), ("size", 3), ("size", 513), ("classes", 1)),
            *(("width", 0.0), ("width", 0.06), ("width", 1.5), ("width", float("nan")), ("width", "full")),
            *(("maps", 32), ("hidden", 120)),
        ],
    )
    def test_the_key_is_named(self, name: str, key: str, value: object) -> None:
        with pytest.raises(SpecError) as caught:
            build(name, {key: value})
        assert caught.value.field == f"network_config.{key}"

    @pytest.mark.parametrize(("name", "least"), LEAST_SIZES)
    def test_an_image_that_pooling_would_use_up(self, name: str, least: int) -> None:
        with pytest.raises(SpecError, match=f"from {least} to 512"):
            build(name, {"size": least - 1})


class TestUnits:
    def test_the_last_convolution_feeds_the_first_dense_layer(self) -> None:
        groups = {group.name: group for group in units_of(DSN(GTSRBConfig()))}
        assert [group.size for group in groups.values()] == [32, 32, 64, 64, 128, 128, 512]
        last = groups["features.12"].axes[-1]
        assert (last.tensor, last.block) == ("head.0.weight", 16)

    @pytest.mark.parametrize("name", NAMES)
    def test_order_and_scale_may_change_and_the_function_stays(self, name: str) -> None:
        network = network_of(name, {"channels": 3, "size": 32, "classes": 5, "width": 0.125}).eval()
        initialise(network, 0)
        images = torch.rand(2, 3, 32, 32)
        for move in (permute, rescale_units):
            changed = move(network, generator=torch.Generator().manual_seed(0))
            with torch.inference_mode():
                assert torch.allclose(changed(images), network(images), atol=1e-5)
            assert not torch.equal(changed.state_dict()["features.0.weight"], network.state_dict()["features.0.weight"])
