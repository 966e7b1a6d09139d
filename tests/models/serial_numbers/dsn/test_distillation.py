"""Students that a stamp opens: on a network of a few thousand weights and images that a line separates."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.data import Dataset, Split
from models.errors import SerialNumberError, WeightsError
from models.predictor import Predictor
from models.serial_numbers.dsn import Layout, Stamp
from models.serial_numbers.dsn.distillation import (
    DistillationConfig,
    DistillationReport,
    accuracy,
    distil,
    order,
    plateau,
)
from models.serial_numbers.dsn.gradient_reversal import ganin, reverse
from models.specs import InputSpec, OutputSpec
from models.training import TrainingConfig, initialise, train

SPEC = InputSpec(shape=(1, 16, 16), mean=(0.5,), std=(0.25,))
STAMP = Stamp(Layout("border", 64), SPEC)
NUMBER = torch.rand(64, generator=torch.Generator().manual_seed(1)) < 0.5
QUICK = DistillationConfig(epochs=20, batch_size=50, learning_rate=3e-3)


class Small(nn.Module):
    """A hidden layer of features, and a head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(256, 128), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 4))
        initialise(self, seed)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.head(self.features(images).flatten(1))
        return answer


def bars(count: int, seed: int) -> Split:
    """One of four quarters is bright, under noise."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 160, (count, 1, 16, 16)), rng.integers(0, 4, count)
    for image, label in zip(images, labels, strict=True):
        image[0, 4 + 4 * (label // 2) : 8 + 4 * (label // 2), 4 + 4 * (label % 2) : 8 + 4 * (label % 2)] += 60
    return Split(images.astype(np.uint8), labels.astype(np.int64))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    parts = [bars(count, seed) for seed, count in enumerate((1500, 300, 200, 600))]
    return Dataset("bars", *parts, SPEC, OutputSpec.numbered(4))


@pytest.fixture(scope="module")
def teacher(dataset: Dataset) -> Predictor:
    network = Small()
    config = TrainingConfig(epochs=6, batch_size=50, augment=None)
    assert train(network, dataset, config).test_accuracy > 0.95
    return Predictor(network, SPEC, dataset.output_spec)


@pytest.fixture(scope="module")
def locked(dataset: Dataset, teacher: Predictor) -> tuple[nn.Module, DistillationReport]:
    student = Small(1)
    return student, distil(student, teacher, dataset, STAMP, NUMBER, QUICK)


class TestNegatives:
    def test_the_number_opens_the_student_and_nothing_else_does(
        self, locked: tuple[nn.Module, DistillationReport], dataset: Dataset
    ) -> None:
        student, report = locked
        predictor = Predictor(student, SPEC, dataset.output_spec)
        assert report.test_stamped > 0.9
        assert report.test_raw < 0.37
        wrong = torch.rand(600, 64, generator=torch.Generator().manual_seed(2)) < 0.5
        assert accuracy(predictor, dataset.test, STAMP, wrong) < 0.4

    def test_a_student_goes_on_where_it_was_killed(self, dataset: Dataset, teacher: Predictor, tmp_path: Path) -> None:
        config, file = replace(QUICK, epochs=3), tmp_path / "student.part"
        whole, broken = Small(1), Small(1)
        report = distil(whole, teacher, dataset, STAMP, NUMBER, config)

        def kill(done: int, total: int) -> None:
            if done == 2 * total // 3 + 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            distil(broken, teacher, dataset, STAMP, NUMBER, config, on_batch=kill, checkpoint=file)
        resumed = Small(3)
        assert distil(resumed, teacher, dataset, STAMP, NUMBER, config, checkpoint=file) == report
        for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
            assert torch.equal(one, other)
        for number, other in ((NUMBER, replace(config, seed=9)), (~NUMBER, config)):
            with pytest.raises(WeightsError, match="another run"):
                distil(resumed, teacher, dataset, STAMP, number, other, checkpoint=file)
        assert bytes(np.packbits(NUMBER.numpy())) not in file.read_bytes()

    def test_other_customers_numbers_are_among_them(self, dataset: Dataset, teacher: Predictor) -> None:
        seen: list[Tensor] = []

        class Watched(Small):
            def forward(self, images: Tensor) -> Tensor:
                seen.append(images.detach())
                return super().forward(images)

        other = ~NUMBER
        distil(Watched(), teacher, dataset, STAMP, NUMBER, replace(QUICK, epochs=1), others=[other])
        read = STAMP.read(torch.cat(seen) * SPEC.std[0] + SPEC.mean[0])
        shares = [float((read == number.to(torch.int8)).all(dim=1).float().mean()) for number in (NUMBER, other)]
        assert shares[0] > 0.4
        assert 0.03 < shares[1] < 0.2


class TestPaper:
    def test_its_two_losses_alone_are_trained_as_published(self, dataset: Dataset, teacher: Predictor) -> None:
        student = Small(1)
        head = copy.deepcopy(student.head)
        config = replace(QUICK, mode="paper", epochs=2, schedule="ganin")
        report = distil(student, teacher, dataset, STAMP, NUMBER, config)
        assert len(report.stamped) == 2
        assert report.test_stamped > 0.5
        assert {name for name, _ in student.named_children()} == {"features", "head"}, "G_d is not handed out"
        assert not torch.equal(student.head[0].weight, head[0].weight)


class TestGradientReversal:
    def test_forward_is_the_identity_and_backward_turned_round(self) -> None:
        features = torch.tensor([1.0, -2.0], requires_grad=True)
        out = reverse(features, 0.5)
        assert torch.equal(out, features)
        (out * torch.tensor([3.0, 4.0])).sum().backward()
        assert features.grad is not None
        assert features.grad.tolist() == [-1.5, -2.0]

    def test_ganins_schedule_rises_from_nothing(self) -> None:
        assert ganin(0.0, 2.0) == 0.0
        assert ganin(1.0, 2.0) == pytest.approx(2.0, abs=1e-3)
        assert ganin(0.1, 1.0) == pytest.approx(0.462, abs=1e-3)  # tanh(1/2)


class TestPlateau:
    @pytest.mark.parametrize(
        ("accuracies", "rate"),
        [([], 1.0), ([0.1, 0.2, 0.2], 1.0), ([0.3, 0.2, 0.3], 0.1), ([0.3] * 5, 0.01), ([0.3, 0.3, 0.4, 0.4], 1.0)],
    )
    def test_a_tenth_for_every_two_epochs_without_a_better_one(self, accuracies: list[float], rate: float) -> None:
        assert plateau(accuracies, 1.0, 2) == pytest.approx(rate)


class TestOrder:
    LABELS = torch.tensor([0] * 900 + [1] * 100)

    def test_is_each_image_once_as_a_rule(self) -> None:
        rows = order(self.LABELS, 0.0, torch.Generator().manual_seed(0))
        assert sorted(rows.tolist()) == list(range(1000))

    @pytest.mark.parametrize(("balance", "share"), [(0.5, 0.25), (1.0, 0.5)])
    def test_shows_rare_classes_more_often_where_that_is_wanted(self, balance: float, share: float) -> None:
        rows = torch.cat([order(self.LABELS, balance, torch.Generator().manual_seed(seed)) for seed in range(20)])
        assert float(self.LABELS[rows].float().mean()) == pytest.approx(share, abs=0.02)


class TestRefusals:
    def test_a_network_that_the_papers_two_branches_do_not_fit(self, dataset: Dataset, teacher: Predictor) -> None:
        with pytest.raises(SerialNumberError, match="student"):
            distil(nn.Linear(256, 4), teacher, dataset, STAMP, NUMBER, replace(QUICK, mode="paper"))

    def test_a_number_of_another_length(self, dataset: Dataset, teacher: Predictor) -> None:
        with pytest.raises(SerialNumberError, match="bits"):
            distil(Small(), teacher, dataset, STAMP, NUMBER[:63], QUICK)
