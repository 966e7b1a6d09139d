from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from models.errors import GenerationError
from models.fingerprints.activeguard import (
    Allotment,
    ControlLayer,
    FingerprintOutput,
    Fingerprints,
    GaussNewton,
    GenerationSettings,
    generate,
)
from models.fingerprints.activeguard.targets import Targets
from models.networks import build
from models.predictor import Predictor, predict
from models.training import TrainingConfig, train
from tests.models.conftest import Trained, tiny_predictor

OUTPUTS = [FingerprintOutput(0, 0.3), FingerprintOutput(1, 0.4)]


def calibration(trained: Trained, count: int) -> torch.Tensor:
    images = torch.from_numpy(trained.dataset.calibration.images)
    return trained.dataset.input_spec.from_grid(images[torch.arange(count) % len(images)])


def recognised(predictor: Predictor, made: Fingerprints, allotment: Allotment) -> list[int]:
    """Whom the paper's control layer takes the grey levels for."""
    logits = predict(predictor, predictor.input_spec.from_grid(made.grid))
    found = ControlLayer(allotment.confidences, allotment.epsilon).authenticate(logits.softmax(dim=1))
    return [int(user) for user in found.user]


class TestOnATrainedNetwork:
    def test_the_paper_s_thirty_users_are_all_recognised_by_their_8_bit_images(self, digits: Trained) -> None:
        allotment = Allotment(10, (0.2, 0.3, 0.4))
        users = list(range(30))
        made = generate(digits.predictor, calibration(digits, 30), [allotment.output(user) for user in users])
        assert made.solved.all()
        assert recognised(digits.predictor, made, allotment) == users

    def test_so_are_users_all_over_the_band(self, digits: Trained) -> None:
        allotment = Allotment.from_band(10)
        users = [*range(0, allotment.capacity, 67), *range(0, allotment.capacity, 199)]  # and each class' lowest
        outputs = [allotment.output(user) for user in users]
        made = generate(digits.predictor, calibration(digits, len(users)), outputs)
        assert made.solved.all()
        wanted = torch.tensor([output.confidence for output in outputs])
        assert float((made.confidence - wanted).abs().max()) <= 1e-4
        assert recognised(digits.predictor, made, allotment) == users

    def test_a_fingerprint_still_looks_like_its_source(self, digits: Trained) -> None:
        sources = calibration(digits, 10)
        made = generate(digits.predictor, sources, [FingerprintOutput(label, 0.3) for label in range(10)])
        images = digits.predictor.input_spec.from_grid(made.grid)
        assert float((images - sources).flatten(1).norm(dim=1).median()) < 8  # of 28 for black against white


class TestOnANetworkWithBatchNormalisation:
    def test_a_residual_network_is_no_harder(self, digits: Trained) -> None:
        dataset = digits.dataset
        network = build("resnet", {"blocks": 1, "channels": 1})
        train(network, dataset, TrainingConfig(epochs=4, batch_size=50, learning_rate=1e-2, augment=None))
        predictor = Predictor(network, dataset.input_spec, dataset.output_spec)
        allotment = Allotment(10, (0.2, 0.3, 0.4))
        made = generate(predictor, calibration(digits, 30), [allotment.output(user) for user in range(30)])
        assert made.solved.all()
        assert recognised(predictor, made, allotment) == list(range(30))


class TestRandomness:
    def test_the_system_s_makes_every_fingerprint_another_one(self) -> None:
        predictor = tiny_predictor()
        sources = torch.full((2, 1, 8, 8), 0.5)
        twice = [generate(predictor, sources, [OUTPUTS[0]] * 2).grid for _ in range(2)]
        assert len(torch.cat(twice).flatten(1).unique(dim=0)) == 4

    def test_given_entropy_makes_the_same_ones_again(self) -> None:
        predictor = tiny_predictor()
        sources, entropy = torch.rand(2, 1, 8, 8), [bytes(16), bytes(15) + b"\1"]
        first, second = (generate(predictor, sources, OUTPUTS, entropy=entropy).grid for _ in range(2))
        assert torch.equal(first, second)

    def test_one_bit_of_it_changes_most_pixels(self) -> None:
        predictor = tiny_predictor()
        sources = torch.full((1, 1, 8, 8), 0.5)
        grids = [generate(predictor, sources, OUTPUTS[:1], entropy=[e]).grid for e in (bytes(16), bytes(15) + b"\1")]
        assert float((grids[0] != grids[1]).float().mean()) > 0.8


class Watched(GaussNewton):
    """Gauss-Newton that writes down what it is given."""

    seen: ClassVar[list[list[float]]] = []

    def search(self, predictor: Predictor, unit: torch.Tensor, targets: Targets, tolerance: float) -> torch.Tensor:
        self.seen.append(targets.highest.tolist())
        return super().search(predictor, unit, targets, tolerance)


class TestBatches:
    def test_like_goes_with_like_and_everyone_gets_his_own(self) -> None:
        predictor, allotment = tiny_predictor(), Allotment(10, (0.2, 0.4))
        users = list(range(8))  # the two confidences in turn
        sources = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        Watched.seen.clear()
        outputs = [allotment.output(user) for user in users]
        made = generate(predictor, sources, outputs, method=Watched(), settings=GenerationSettings(batch_size=4))
        assert [len(set(batch)) for batch in Watched.seen[:2]] == [1, 1]
        assert recognised(predictor, made, allotment) == users


class TestAnyNetwork:
    @pytest.mark.parametrize(
        ("shape", "classes", "confidences"),
        [
            ((1, 8, 8), 2, (0.52, 0.7, 0.88)),
            ((3, 6, 6), 3, (0.36, 0.45)),
            ((2, 8, 8), 43, (0.11, 0.3, 0.48)),
            ((3, 16, 16), 1000, (0.1, 0.25, 0.45)),
        ],
    )
    def test_few_and_many_classes_grey_and_colour(
        self, shape: tuple[int, int, int], classes: int, confidences: tuple[float, ...]
    ) -> None:
        predictor = tiny_predictor(shape, classes, hidden=64)
        allotment = Allotment(classes, confidences)
        users = [0, 1, allotment.capacity - 1]
        outputs = [allotment.output(user) for user in users]
        sources = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
        made = generate(predictor, sources, outputs, entropy=[bytes([n] * 16) for n in range(3)])
        assert made.solved.all()
        assert recognised(predictor, made, allotment) == users

    def test_another_value_range(self) -> None:
        grey = tiny_predictor()
        spec = replace(grey.input_spec, value_range=(-1.0, 1.0), mean=(0.0,), std=(0.5,))
        predictor = Predictor(grey.network, spec, grey.output_spec)
        made = generate(predictor, torch.rand(2, 1, 8, 8) * 2 - 1, OUTPUTS)
        assert made.solved.all()

    def test_what_cannot_be_reached_is_not_claimed(self) -> None:
        """One pixel has 256 values and 256 confidences; none of them need be the allotted one."""
        predictor = tiny_predictor((1, 1, 1), 10)
        settings = GenerationSettings(rounds=3, attempts=2)
        made = generate(predictor, torch.rand(2, 1, 1, 1), OUTPUTS, method=GaussNewton(steps=5), settings=settings)
        assert not made.solved.any()
        assert made.attempts.tolist() == [2, 2]


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"sources": torch.zeros(1, 1, 8, 8)}, "sources"),
            ({"sources": torch.zeros(2, 1, 8, 9)}, "sources"),
            ({"sources": torch.full((2, 1, 8, 8), float("nan"))}, "sources"),
            ({"outputs": [], "sources": torch.zeros(0, 1, 8, 8)}, "outputs"),
            ({"outputs": [OUTPUTS[0], FingerprintOutput(10, 0.3)]}, "outputs[1]"),
            ({"outputs": [FingerprintOutput(0, 0.1), OUTPUTS[1]]}, "outputs[0]"),
            ({"entropy": [bytes(16)]}, "entropy"),
            ({"entropy": [bytes(16), bytes(8)]}, "entropy"),
        ],
    )
    def test_the_argument_to_blame_is_named(self, changes: dict[str, object], field: str) -> None:
        arguments: dict[str, object] = {"sources": torch.rand(2, 1, 8, 8), "outputs": OUTPUTS} | changes
        with pytest.raises(GenerationError) as caught:
            generate(tiny_predictor(), **arguments)  # type: ignore[arg-type]
        assert caught.value.field == field
