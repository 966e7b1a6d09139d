from __future__ import annotations

import numpy as np
import torch
from torch import nn

from benchmarks.activeguard.engines.overhead import PLAIN, added, ways
from benchmarks.activeguard.engines.passports import with_passports
from benchmarks.activeguard.engines.transform import SIGMA, Generator, Universal
from models.networks.resnet import ResNet, ResNetConfig
from models.predictor import Predictor
from models.specs import InputSpec, OutputSpec

SHAPE = (3, 8, 8)
STAGE3 = {"stage3.0.conv1": "stage3.0.bn1", "stage3.0.conv2": "stage3.0.bn2"}


def resnet8() -> ResNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ResNet(ResNetConfig(blocks=1)).eval()


class TestAdded:
    def test_what_the_whole_machine_does_in_a_round_cancels(self) -> None:
        plain = np.random.default_rng(0).lognormal(size=200)
        value, low, high = added(plain * np.random.default_rng(1).normal(1.1, 0.01, size=200), plain)
        assert low < 0.1 < high
        assert abs(value - 0.1) < 0.005
        assert high - low < 0.01


class TestPassports:
    def test_scale_and_bias_come_from_the_layer_s_own_kernels(self) -> None:
        network = with_passports(resnet8(), dict(STAGE3), torch.rand(1, *SHAPE)).eval()
        layer = network.get_submodule("stage3.0.conv1")
        maps = torch.rand(2, *layer.scale_key.shape[1:])
        with torch.inference_mode():
            convolved = nn.functional.conv2d(maps, layer.conv.weight, stride=2, padding=1)
            scale, bias = (
                nn.functional.conv2d(key, layer.conv.weight, stride=2, padding=1).mean(dim=(2, 3), keepdim=True)
                for key in (layer.scale_key, layer.bias_key)
            )
            assert torch.allclose(layer(maps), scale * layer.norm(convolved) + bias, atol=1e-6)
            assert not torch.allclose(scale, torch.ones_like(scale), atol=0.1)

    def test_another_passport_is_another_network(self) -> None:
        images = torch.rand(2, *SHAPE)
        first = with_passports(resnet8(), dict(STAGE3), torch.rand(1, *SHAPE)).eval()
        with torch.inference_mode():
            before = first(images)
            first.get_submodule("stage3.0.conv1").scale_key.neg_()
            assert not torch.allclose(first(images), before, atol=1e-4)


class TestTransform:
    def test_the_universal_perturbation_is_bipolar_and_the_generator_s_depends_on_the_input(self) -> None:
        images = torch.rand(2, *SHAPE)
        found = {round(value, 6) for value in Universal(SHAPE).perturbation.flatten().tolist()}
        assert found == {-SIGMA, 0.0, SIGMA}
        with torch.inference_mode():
            generator = Generator(3)
            first, second = generator(images) - images
        assert not torch.allclose(first, second, atol=1e-4)


class TestWays:
    def test_a_recognised_user_gets_the_network_s_own_scores(self) -> None:
        spec = InputSpec(shape=SHAPE, mode="RGB", mean=(0.5,) * 3, std=(0.5,) * 3)
        every = ways(Predictor(resnet8(), spec, OutputSpec.numbered(10)), dict(STAGE3))
        images = torch.rand(3, *SHAPE)
        with torch.inference_mode():
            told = {way: answer(images) for way, answer in every.items()}
        for way in list(told)[1:3]:
            assert torch.equal(told[way], told[PLAIN])
        assert all(scores.shape == (3, 10) for scores in told.values())
