from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_tensors
from scipy.optimize import linear_sum_assignment
from torch import nn

from models.attacks import obfuscation
from models.attacks.fine_tuning import fine_tune
from models.attacks.noise import add_noise
from models.attacks.overwriting import overwrite
from models.attacks.pruning import prune_globally, prune_layer
from models.checkpoints import decode_tensors, encode_weights
from models.errors import WatermarkError, WeightsError
from models.evaluation.ownership import LOG10_TRIES, Verification, verify
from models.networks.lenet5 import LeNet5
from models.topology import reorder, rescale, units_of
from models.training import TrainingConfig, initialise
from models.watermarks import registered
from tests.models.conftest import Marked, Trained, mark_parameters

Attack = Callable[[nn.Module, torch.Generator], nn.Module]

ATTACKS: dict[str, Attack] = {
    "none": lambda network, _: network,
    "permuted": lambda network, g: obfuscation.permute(network, generator=g),
    "rescaled": lambda network, g: obfuscation.rescale_units(network, generator=g),
    "rescaled beyond all measure": lambda network, g: obfuscation.rescale_units(network, generator=g, octaves=40),
    "dummies": lambda network, g: obfuscation.add_dummies(network, generator=g),
    "all three": lambda network, g: obfuscation.add_dummies(
        obfuscation.rescale_units(obfuscation.permute(network, generator=g), generator=g), generator=g
    ),
    "noise": lambda network, g: add_noise(network, 0.2, generator=g),
    "noise and permuted": lambda network, g: obfuscation.permute(add_noise(network, 0.2, generator=g), generator=g),
    "layer pruned": lambda network, _: prune_layer(network, "conv2.weight", 0.6),
    "layer pruned and permuted": lambda network, g: obfuscation.permute(
        prune_layer(network, "conv2.weight", 0.6), generator=g
    ),
    "layer pruned a little, permuted and rescaled": lambda network, g: obfuscation.rescale_units(
        obfuscation.permute(prune_layer(network, "conv2.weight", 0.3), generator=g), generator=g
    ),
    "pruned": lambda network, _: prune_globally(network, 0.6),
    "in half precision": lambda network, _: copy.deepcopy(network).half(),
}


def held_against(marked: Marked, suspect: nn.Module | bytes, index: int = 1, registered_: int = 1) -> Verification:
    data = suspect if isinstance(suspect, bytes) else encode_weights(suspect)
    key = marked.marks[index].key
    return verify(data, marked.commitment, index, key, marked.reference, registered=registered_)


class TestStolenCopies:
    @pytest.mark.parametrize("name", ATTACKS)
    def test_it_is_verified_after(self, name: str, marked: Marked) -> None:
        suspect = ATTACKS[name](marked.network, torch.Generator().manual_seed(5))
        for index in range(3):
            verification = held_against(marked, suspect, index)
            assert verification.verified, (name, index, verification.reading.log10_adjusted_p)

    def test_it_is_verified_after_fine_tuning(self, marked: Marked, digits: Trained) -> None:
        training = TrainingConfig(epochs=1, batch_size=50, learning_rate=1e-3)
        suspect, report = fine_tune(marked.network, digits.dataset, training, epochs=10)
        assert encode_weights(suspect) != marked.reference
        assert report.test_accuracy > 0.95
        assert held_against(marked, suspect).verified

    def test_drift_of_several_digits_is_verified_by_rank(self, marked: Marked) -> None:
        step = 1 / marked.parameters.digit_map.a  # of one digit, in weights
        suspect = copy.deepcopy(marked.network)
        with torch.no_grad():
            weight = suspect.get_parameter("conv2.weight")
            weight.add_(3 * step * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
            weight.mul_(2)  # to a rank that is nothing
        verification = held_against(marked, suspect)
        assert verification.verified
        assert verification.reading.way == "as it stands"
        assert verification.reading.log10_p_digits > -9

    def test_it_is_verified_after_a_thief_wrote_his_own_marks(self, marked: Marked, digits: Trained) -> None:
        parameters = mark_parameters(marked.network, "his")
        marks = registered.derive_marks(b"t" * 32, parameters)
        settings = registered.EmbeddingSettings(TrainingConfig(epochs=1, batch_size=50), 3, 3)
        suspect, _ = overwrite(
            marked.network, lambda stolen: registered.embed(stolen, digits.dataset, parameters, marks, settings)
        )
        assert held_against(marked, suspect).verified
        data = encode_weights(suspect)
        his = registered.commit(parameters, marks, data)
        assert verify(data, his, 0, marks[0].key, data).verified  # both: the registry's order decides
        assert not verify(marked.reference, his, 0, marks[0].key, data).verified

    def test_ranks_pay_for_an_order_where_enough_is_left_of_them_and_not_where_little_is(self, marked: Marked) -> None:
        """A perfect order of 256 digits is worth 10^-55; to put units into theirs costs 10^16 here, scales more."""
        step = 1 / marked.parameters.digit_map.a
        for drift, verified in ((1.5, True), (6.0, False)):
            suspect = copy.deepcopy(marked.network)
            with torch.no_grad():
                weight = suspect.get_parameter("conv2.weight")
                weight.add_(drift * step * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)))
                weight.mul_(0.9)
            permuted = obfuscation.permute(suspect, generator=torch.Generator().manual_seed(4))
            found = held_against(marked, permuted).readings[1]
            assert (found.way, found.log10_adjusted_p <= -9) == ("reordered", verified)
            assert found.log10_p_ranks < -1.5


class TestInnocents:
    def test_unmarked_networks_are_not_verified(self, marked: Marked, digits: Trained) -> None:
        fresh = LeNet5()
        initialise(fresh, 1)
        zero = copy.deepcopy(fresh)
        nn.init.zeros_(zero.conv2.weight)
        for suspect in (digits.predictor.network, fresh, zero):
            for index in range(3):
                assert held_against(marked, suspect, index).reading.log10_adjusted_p > -2

    def test_the_network_of_another_owner_is_not_verified(self, marked: Marked, digits: Trained) -> None:
        suspect = copy.deepcopy(digits.predictor.network)
        parameters = mark_parameters(suspect, "other")
        registered.set_digits(suspect, parameters, registered.derive_marks(b"o" * 32, parameters))
        assert not held_against(marked, suspect).verified

    def test_grinding_keys_against_a_given_network_stays_within_the_p_value(self, digits: Trained) -> None:
        suspect = encode_weights(digits.predictor.network)
        parameters = replace(mark_parameters(digits.predictor.network), marks=1)
        found: list[list[float]] = []
        for key in range(300):
            marks = (registered.open_mark(parameters, 0, key.to_bytes(32, "big")),)
            commitment = registered.commit(parameters, marks, suspect)  # the suspect itself as reference
            reading = verify(suspect, commitment, 0, marks[0].key, suspect).readings[0]
            found.append([reading.log10_p_digits, reading.log10_p_ranks])
        for alpha in (0.1, 0.03, 0.01):
            assert np.all(np.mean(np.array(found) <= math.log10(alpha), axis=0) <= 1.5 * alpha)

    def test_a_reference_made_to_fit_does_not_help_the_accuser(self, digits: Trained) -> None:
        """He sees the suspect, draws a key, and makes the reference to which most digits match once re-aligned."""
        network = digits.predictor.network
        parameters = replace(mark_parameters(network), marks=1)
        mark = registered.open_mark(parameters, 0, b"k" * 32)
        reference = made_to_fit(network, parameters, mark)
        commitment = registered.commit(parameters, (mark,), reference)
        verification = verify(encode_weights(network), commitment, 0, mark.key, reference)
        rescaled = verification.readings[-1]
        assert rescaled.matches > 60  # of 256, where chance has about 30
        assert rescaled.log10_p_digits < -6  # though an unadjusted one in a million
        assert verification.reading.log10_adjusted_p > -2


def made_to_fit(network: nn.Module, parameters: registered.MarkParameters, mark: registered.Mark) -> bytes:
    """The network with conv2's units in the order and scale, among 2^(k/8), that show most of the mark's digits."""
    weight = network.get_parameter("conv2.weight").detach().flatten(1)  # (16, 150)
    wanted = torch.full(parameters.shape, -2).flatten()
    wanted[mark.positions] = mark.digits
    scales = torch.exp2(torch.arange(-8, 9) / 8)
    shown = parameters.digit_map.digits(scales[:, None, None] * weight)  # (17, 16, 150)
    matches = (shown[:, None] == wanted.reshape(1, 16, 1, 150)).sum(dim=-1)  # scale, place, unit
    best, scale = matches.max(dim=0)
    units = torch.from_numpy(linear_sum_assignment(best.numpy(), maximize=True)[1])
    group = units_of(network)[1]
    state = reorder(dict(network.state_dict()), group, units)
    return save_tensors(rescale(state, group, scales[scale[torch.arange(16), units]][None]))


class TestVerification:
    def test_it_states_everything_and_is_json(self, marked: Marked) -> None:
        verification = held_against(marked, marked.network, registered_=4)
        content = json.loads(json.dumps(verification.to_dict()))
        assert content["verified"] is True
        assert content["tests"] == 3 * 4
        assert content["expected"] == content["reading"]["extracted"] == marked.marks[1].digits.tolist()
        assert content["positions"] == marked.marks[1].positions.tolist()
        ways = ("as it stands", "reordered", "reordered and rescaled")
        assert [reading["way"] for reading in content["readings"]] == list(ways)
        assert [group["name"] for group in content["alignment"]] == ["conv1", "conv2", "fc1", "fc2"]

    def test_every_choice_is_paid_for(self, marked: Marked) -> None:
        one, many = held_against(marked, marked.network), held_against(marked, marked.network, registered_=1000)
        for reading, dearer in zip(one.readings, many.readings, strict=True):
            paid = reading.log10_adjusted_p - reading.log10_p
            assert paid == pytest.approx(math.log10(3 * 2 * 3) + reading.log10_alignments)
            assert dearer.log10_adjusted_p == pytest.approx(reading.log10_adjusted_p + 3)
        assert [round(reading.log10_alignments, 1) for reading in one.readings] == [0.0, 16.2, 63.1]

    def test_a_suspect_that_may_have_been_there_before_pays_for_what_could_be_tried(self, marked: Marked) -> None:
        key, data = marked.marks[1].key, marked.reference
        later = verify(data, marked.commitment, 1, key, data)
        before = verify(data, marked.commitment, 1, key, data, log10_tries=LOG10_TRIES)
        assert before.verified
        assert before.log10_tries == pytest.approx(math.log10(2**112))
        for dear, cheap in zip(before.readings, later.readings, strict=True):
            assert dear.log10_adjusted_p == pytest.approx(cheap.log10_adjusted_p + LOG10_TRIES)

    def test_a_widened_suspect_has_no_reading_as_it_stands(self, marked: Marked) -> None:
        suspect = obfuscation.add_dummies(marked.network, generator=torch.Generator().manual_seed(0))
        verification = held_against(marked, suspect)
        assert {reading.way for reading in verification.readings} == {"reordered", "reordered and rescaled"}
        assert {group.name: group.found for group in verification.alignment}["conv2"] == 20

    def test_a_suspect_with_another_head_is_read_as_it_stands(self, marked: Marked) -> None:
        tensors = decode_tensors(marked.reference)
        headless = save_tensors({name: tensor for name, tensor in tensors.items() if not name.startswith("fc3")})
        verification = held_against(marked, headless)
        assert verification.verified
        assert verification.alignment == ()
        assert "fc3.weight" in str(verification.alignment_error)
        fewer = save_tensors(tensors | {"fc3.weight": torch.zeros(4, 84), "fc3.bias": torch.zeros(4)})
        assert len(held_against(marked, fewer).readings) == 3

    def test_weights_that_are_not_finite_are_no_digits(self, marked: Marked) -> None:
        tensors = decode_tensors(marked.reference)
        broken = {name: torch.full_like(tensor, math.nan) for name, tensor in tensors.items()}
        broken["conv2.weight"][0, 0, 0, 0] = 0.0
        verification = held_against(marked, save_tensors(broken))
        assert not verification.verified
        assert verification.readings[0].extracted.count(-1) >= 255


class TestRefusals:
    def test_what_is_wrong_is_named(self, marked: Marked) -> None:
        commitment, key, reference = marked.commitment, marked.marks[0].key, marked.reference
        cases = {
            "mark": lambda: verify(reference, commitment, 3, key, reference),
            "mark_key": lambda: verify(reference, commitment, 1, key, reference),
            "reference": lambda: verify(reference, commitment, 0, key, reference + b" "),
            "registered": lambda: verify(reference, commitment, 0, key, reference, registered=0),
            "weights.conv2.weight": lambda: verify(save_tensors({"x": torch.zeros(1)}), commitment, 0, key, reference),
        }
        for field, call in cases.items():
            with pytest.raises(WatermarkError) as caught:
                call()
            assert caught.value.field == field
            assert key.hex() not in str(caught.value)
        with pytest.raises(WeightsError, match="pickle"):
            verify(b"PK", commitment, 0, key, reference)

    @pytest.mark.parametrize(
        ("change", "network"),
        [
            ({"conv2.weight": torch.zeros(8, 6, 5, 5)}, "lenet5"),
            ({"fc1.bias": torch.zeros(0)}, "lenet5"),
            (None, "lenet5"),
            ({}, "one that was taken out of the registry"),
        ],
    )
    def test_a_reference_of_no_use_is_not_the_suspects_fault(
        self, change: dict[str, torch.Tensor] | None, network: str, marked: Marked
    ) -> None:
        parameters = replace(marked.parameters, marks=1, network=network)
        mark = registered.open_mark(parameters, 0, b"k" * 32)
        reference = b"{}" if change is None else save_tensors(decode_tensors(marked.reference) | change)
        commitment = registered.commit(parameters, (mark,), reference)
        with pytest.raises(WatermarkError) as caught:
            verify(marked.reference, commitment, 0, mark.key, reference)
        assert caught.value.field == "reference"

    @pytest.mark.parametrize("shape", [(), (3,), (16, 6, 5), (16, 6, 3, 3), (4, 2, 5, 5)])
    def test_a_layer_of_an_odd_shape_is_refused_or_read(self, marked: Marked, shape: tuple[int, ...]) -> None:
        tensors = decode_tensors(marked.reference) | {"conv2.weight": torch.zeros(shape)}
        with pytest.raises(WatermarkError, match=r"weights\.conv2\.weight"):
            held_against(marked, save_tensors(tensors))
