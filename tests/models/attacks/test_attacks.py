"""One contract for all attacks that need no data, and what each is meant to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.attacks.fine_tuning import fine_tune
from models.attacks.noise import add_noise
from models.attacks.obfuscation import add_dummies, permute, rescale_units
from models.attacks.overwriting import overwrite_with
from models.attacks.pruning import prune_globally, prune_layer
from models.checkpoints import encode_weights
from models.errors import SpecError
from models.training import TrainingConfig
from models.watermarks import activeguard
from tests.models.conftest import Trained

TRAINING = TrainingConfig(epochs=9, batch_size=50, learning_rate=1e-3)
ATTACKS: dict[str, Callable[[nn.Module, torch.Generator], nn.Module]] = {
    "permute": lambda network, g: permute(network, generator=g),
    "rescale": lambda network, g: rescale_units(network, generator=g),
    "add dummies": lambda network, g: add_dummies(network, generator=g),
    "noise": lambda network, g: add_noise(network, 0.1, generator=g),
    "prune a layer": lambda network, _: prune_layer(network, "conv2.weight", 0.3),
    "prune all": lambda network, _: prune_globally(network, 0.3),
}


@pytest.mark.parametrize("name", ATTACKS)
class TestContract:
    def test_it_changes_a_copy_and_not_the_network(self, name: str, digits: Trained) -> None:
        network = digits.predictor.network
        before = encode_weights(network)
        changed = ATTACKS[name](network, torch.Generator().manual_seed(1))
        assert encode_weights(network) == before
        assert encode_weights(changed) != before
        again = ATTACKS[name](network, torch.Generator().manual_seed(1))
        assert encode_weights(again) == encode_weights(changed)


@pytest.mark.parametrize("name", ["permute", "rescale", "add dummies"])
def test_obfuscation_leaves_the_function_as_it_is(name: str, digits: Trained) -> None:
    network = digits.predictor.network
    images = torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    changed = ATTACKS[name](network, torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert torch.allclose(changed(images), network(images), rtol=1e-3, atol=1e-3)


class TestPruning:
    @pytest.mark.parametrize("rate", [0.0, 0.1, 0.6, 1.0])
    def test_the_smallest_of_the_layer_are_zero_and_no_other(self, rate: float, digits: Trained) -> None:
        own = digits.predictor.network.get_parameter("conv2.weight").detach().flatten()
        found = (
            prune_layer(digits.predictor.network, "conv2.weight", rate).get_parameter("conv2.weight").detach().flatten()
        )
        assert int((found == 0).sum()) == round(rate * 2400)
        assert torch.equal(found[found != 0], own[found != 0])
        if 0 < rate < 1:
            assert float(own[found == 0].abs().max()) <= float(own[found != 0].abs().min())

    def test_globally_there_is_one_threshold(self, digits: Trained) -> None:
        network = digits.predictor.network
        pruned = prune_globally(network, 0.5)
        gone, left = [], []
        for own, found in zip(network.parameters(), pruned.parameters(), strict=True):
            if own.ndim == 1:
                assert torch.equal(own, found)
            else:
                gone.append(own.detach()[found == 0].abs())
                left.append(own.detach()[found != 0].abs())
        assert float(torch.cat(gone).max()) <= float(torch.cat(left).min())
        assert len(torch.cat(gone)) == pytest.approx(len(torch.cat(left)), abs=1)

    def test_an_impossible_rate_is_refused(self, digits: Trained) -> None:
        with pytest.raises(SpecError, match="rate"):
            prune_globally(digits.predictor.network, 1.5)


class TestNoise:
    def test_it_is_in_proportion_to_the_layer(self, digits: Trained) -> None:
        network = digits.predictor.network
        noisy = add_noise(network, 0.5, generator=torch.Generator().manual_seed(0))
        for layer in ("conv2.weight", "fc1.weight"):
            own = network.get_parameter(layer).detach()
            difference = noisy.get_parameter(layer).detach() - own
            assert float(difference.std()) == pytest.approx(0.5 * float(own.std()), rel=0.1)
        assert torch.equal(noisy.get_parameter("fc1.bias"), network.get_parameter("fc1.bias"))


class TestTraining:
    def test_fine_tuning_goes_on_from_the_stolen_weights(self, digits: Trained) -> None:
        network = digits.predictor.network
        before = encode_weights(network)
        stolen, report = fine_tune(network, digits.dataset, TRAINING, epochs=1, rate=1e-6)
        assert encode_weights(network) == before
        own, found = network.get_parameter("conv2.weight"), stolen.get_parameter("conv2.weight")
        assert 0 < float((own - found).detach().abs().max()) < 1e-5
        assert len(report.accuracies) == 1

    def test_the_rate_moves_the_weights(self, digits: Trained) -> None:
        network = digits.predictor.network
        moved = []
        for rate in (0.1, 1.0):
            stolen, _ = fine_tune(network, digits.dataset, TRAINING, epochs=1, rate=rate)
            own, found = network.get_parameter("conv2.weight"), stolen.get_parameter("conv2.weight")
            moved.append(float((own - found).detach().norm()))
        assert moved[1] > 3 * moved[0]

    def test_the_network_is_shown_after_every_epoch(self, digits: Trained) -> None:
        seen: dict[int, bytes] = {}
        stolen, _ = fine_tune(
            digits.predictor.network,
            digits.dataset,
            TRAINING,
            epochs=2,
            after_epoch=lambda epoch, network: seen.update({epoch: encode_weights(network)}),
        )
        assert list(seen) == [1, 2]
        assert seen[1] != seen[2] == encode_weights(stolen)

    def test_overwriting_writes_the_thief_s_mark(self, digits: Trained) -> None:
        network = digits.predictor.network
        key = activeguard.keygen(network, "conv2.weight", generator=torch.Generator().manual_seed(8))
        training = TrainingConfig(epochs=30, batch_size=50, learning_rate=3e-3, fresh=False)
        stolen, _ = overwrite_with(network, digits.dataset, activeguard.regularizer(key), training)
        assert activeguard.verify(stolen, key).success
        assert not activeguard.verify(network, key).success
