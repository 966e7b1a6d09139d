"""Both sides train by one function: what it keeps, when it stops, and what is chosen; and a thief's own number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.attacks.overwriting_number import NewNumber
from models.attacks.tuning import CrossEntropy, Effort, Setting, best_of, choose, tune
from models.augmentation import Affine
from models.data import Split
from models.errors import SerialNumberError
from models.predictor import Predictor, predict
from models.serial_numbers.dsn import Layout, Stamp
from models.specs import InputSpec, OutputSpec
from models.training import initialise

SPEC = InputSpec(shape=(1, 8, 8), mean=(0.4,), std=(0.2,))
STAMP = Stamp(Layout("corner", 16), SPEC)
OLD, NEW = (torch.rand(16, generator=torch.Generator().manual_seed(seed)) < 0.5 for seed in (1, 2))


class Small(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU())
        self.head = nn.Linear(48, 2)
        initialise(self, seed)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.head(self.features(images))
        return answer


def halves(count: int, seed: int) -> Split:
    """The upper or the lower half is brighter; the corner of the stamp lies in neither."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 150, (count, 1, 8, 8))
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 100
    return Split(images.astype(np.uint8), labels.astype(np.int64))


TRAIN, VALIDATION = halves(300, 0), halves(100, 1)


def predictor(seed: int = 0) -> Predictor:
    return Predictor(Small(seed), SPEC, OutputSpec.numbered(2))


class TestTune:
    def test_it_learns_and_keeps_the_best_epoch(self) -> None:
        network = predictor()
        tuned = tune(network, TRAIN, VALIDATION, Setting(1e-3), Effort(12), seed=0)
        images = SPEC.from_grid(torch.from_numpy(VALIDATION.images))
        reached = float((predict(network, images).argmax(dim=1).numpy() == VALIDATION.labels).mean())
        assert reached == pytest.approx(max(tuned.curve), abs=1e-6)
        assert tuned.validation_accuracy == max(tuned.curve) > 0.9
        assert tuned.best_epoch == tuned.curve.index(max(tuned.curve)) + 1

    def test_it_goes_on_at_a_tenth_of_the_rate_and_ends_when_that_brings_nothing(self) -> None:
        rates: list[float] = []

        class Watched(CrossEntropy):
            def __call__(self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator) -> Tensor:
                rates.append(progress)
                return 0 * super().__call__(images, labels, progress, generator)  # nothing is ever better

        network = predictor()
        effort = Effort(50, patience=3, drops=1, batch_size=300)
        tuned = tune(network, TRAIN, VALIDATION, Setting(1e-3), effort, seed=0, objective=Watched(network))
        assert len(tuned.curve) == len(rates) == 1 + 3 + 3
        assert tuned.best_epoch == 1

    def test_it_drops_at_the_latest_for_the_last_quarter(self) -> None:
        assert [Effort(40).latest(dropped) for dropped in (0, 1)] == [30, 40]
        assert [Effort(40, drops=2).latest(dropped) for dropped in (0, 1, 2)] == [30, 35, 40]
        assert [Effort(2).latest(dropped) for dropped in (0, 1)] == [1, 2]

    def test_one_seed_gives_one_run(self) -> None:
        runs = []
        for seed in (3, 3, 4):
            network = predictor()
            tune(network, TRAIN, VALIDATION, Setting(1e-3, Affine()), Effort(2), seed=seed)
            runs.append(network.network.get_parameter("head.weight").detach())
        assert torch.equal(runs[0], runs[1])
        assert not torch.equal(runs[0], runs[2])


def test_the_rate_is_chosen_before_the_augmentation() -> None:
    asked: list[Setting] = []

    def score(setting: Setting) -> float:
        asked.append(setting)
        return -abs(setting.rate - 1e-3) + (0.5 if setting.augment else 0.0)

    assert choose(score) == Setting(1e-3, Affine())
    assert len(set(asked)) == 5
    assert best_of({"a": 0.1, "b": 0.3, "c": 0.3}) == "b"


class TestNewNumber:
    @pytest.mark.parametrize("old", [None, OLD])
    def test_the_thief_s_number_opens_the_network_afterwards(self, old: Tensor | None) -> None:
        network = predictor()

        def shown(images: Tensor) -> Tensor:
            return STAMP.put(images, NEW)

        objective = NewNumber(network, STAMP, NEW, old=old, strength=0.1)
        tuned = tune(network, TRAIN, VALIDATION, Setting(1e-3), Effort(15), seed=0, objective=objective, shown=shown)
        assert tuned.validation_accuracy > 0.85
        assert len([name for name, _ in objective.trained.named_children()]) == (2 if old is None else 3)

    def test_the_gradient_of_what_raw_images_leave_in_the_features_is_turned(self) -> None:
        images = SPEC.from_grid(torch.from_numpy(TRAIN.images))
        labels = torch.from_numpy(TRAIN.labels)

        def gradient(strength: float) -> Tensor:
            network = predictor()
            objective = NewNumber(network, STAMP, NEW, old=OLD, strength=strength)
            objective(images, labels, 0.0, torch.Generator()).backward()  # type: ignore[no-untyped-call]
            weight = network.network.get_parameter("features.1.weight")
            assert weight.grad is not None
            return weight.grad

        turned, none, plain = (gradient(strength) for strength in (1.0, 0.0, -1.0))
        assert torch.allclose(turned - none, none - plain, atol=1e-6)
        assert float((plain - none).norm()) > 0.01

    def test_a_network_that_cannot_be_taken_apart_is_refused(self) -> None:
        whole = Predictor(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), SPEC, OutputSpec.numbered(2))
        with pytest.raises(SerialNumberError, match="student"):
            NewNumber(whole, STAMP, NEW)
