"""Students are made once and shared; what they are asked with; whether probes find what there is."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.dsn import students
from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import Answers, flipped, held_out, random_numbers
from benchmarks.dsn.probes import PROBES, probed
from benchmarks.dsn.published import locks
from benchmarks.dsn.students import COLD, WARM, Student, digest, images_of, shelf_of, student
from models.checkpoints import encode_weights
from models.predictor import Predictor
from models.serial_numbers import dsn


class TestStudents:
    def test_one_is_made_once_and_read_the_second_time(
        self, budget: Budget, one: Student, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(students.dsn, "distil", lambda *_, **__: pytest.fail("distilled again"))
        shelf = shelf_of(budget)
        again = student(budget, shelf, "mnist")
        assert encode_weights(again.predictor.network) == encode_weights(one.predictor.network)
        assert torch.equal(again.number, one.number)
        assert shelf.minutes > 0

    def test_every_customer_has_a_number_of_his_own(self, budget: Budget, one: Student) -> None:
        numbers = [students.number_of(one.dataset, one.stamp, f"customer {index}") for index in range(5)]
        assert len({tuple(number.tolist()) for number in numbers}) == 5

    def test_a_warm_one_starts_from_another_customer_s(
        self, budget: Budget, one: Student, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started: list[bytes] = []
        distil = dsn.distil

        def watched(network: nn.Module, *arguments: object, **named: object) -> object:
            started.append(encode_weights(network))
            return distil(network, *arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(students.dsn, "distil", watched)
        warm = student(budget, shelf_of(budget), "mnist", start=WARM)
        other = student(budget, shelf_of(budget), "mnist", 1, start=COLD)
        assert started[-1] == encode_weights(other.predictor.network)
        assert not torch.equal(warm.number, other.number)

    def test_a_student_costs_what_it_shows_the_networks(self) -> None:
        assert images_of(dsn.DistillationConfig(epochs=3), 900) == pytest.approx(3 * 900 * (1 + 1 + 1 / 3))


class TestQuestions:
    def test_so_many_bits_are_wrong_and_not_always_the_same(self, one: Student) -> None:
        numbers = flipped(one.number, 50, 4)
        assert ((numbers ^ one.number).sum(dim=1) == 4).all()
        assert len(torch.unique(numbers, dim=0)) > 40

    def test_a_guess_is_never_the_number_itself(self, one: Student) -> None:
        short = replace(one, number=torch.tensor([True, False]))
        assert not (random_numbers(short, 200) == short.number).all(dim=1).any()

    def test_answers_of_several_are_counted_together(self) -> None:
        labels = np.arange(4)
        answers = [Answers(np.array([True, True, False, False]), labels), Answers(np.ones(4, dtype=np.bool_), labels)]
        assert Answers.averaged(answers).accuracy("mnist")[0] == pytest.approx(0.75)
        assert Answers.joined(answers).accuracy("mnist")[0] == pytest.approx(0.75)
        assert answers[0].less(answers[1], "faces")[0] == pytest.approx(-50)

    def test_a_student_asked_twice_is_not_twice_as_many_images(self) -> None:
        labels = np.repeat(np.arange(10), 100)
        first, other = (np.random.default_rng(0).random((2, 1000)) < 0.9) * 1.0
        one, another = Answers(first, labels), Answers(other, labels)
        twice = Answers.averaged([one, one])
        for name in ("mnist", "gtsrb", "faces"):
            assert twice.accuracy(name) == pytest.approx(one.accuracy(name))
            assert twice.less(another, name) == pytest.approx(one.less(another, name))

    def test_a_run_locks_only_if_wrong_stamps_are_refused_too(self) -> None:
        cell = {"teacher": 0.99, "stamped": 0.987, "raw": 0.11, "wrong": 0.1}
        assert locks(cell)
        assert not locks(cell | {"wrong": 0.9})
        assert not locks(cell | {"stamped": 0.98})


class Flat(nn.Module):
    """The same answer for every input, but for a noise in the last digits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 1e-6 * torch.rand(len(images), 10, generator=torch.Generator().manual_seed(0))


class TestProbes:
    @pytest.mark.parametrize("probe", PROBES)
    def test_what_raw_answers_still_tell_is_found(self, one: Student, probe: str) -> None:
        network = copy.deepcopy(one.teacher.network)
        with torch.no_grad():  # the teacher's answers, too faint and too biased for an arg max
            last = network.get_submodule("head")[-1]  # type: ignore[index]
            last.weight.mul_(1e-3)
            last.bias.copy_(torch.arange(10.0))
        hidden = replace(one, predictor=Predictor(network, one.dataset.input_spec, one.dataset.output_spec))
        images, labels = held_out(hidden)
        assert Answers.of(hidden.predictor, images, labels).right.mean() < 0.2
        assert probed(hidden, probe).right.mean() > 0.7

    @pytest.mark.parametrize("probe", PROBES)
    def test_where_there_is_nothing_they_find_nothing(self, one: Student, probe: str) -> None:
        silent = replace(one, predictor=Predictor(Flat(), one.dataset.input_spec, one.dataset.output_spec))
        assert probed(silent, probe).right.mean() < 0.2


def test_a_digest_is_of_the_weights(one: Student) -> None:
    other = copy.deepcopy(one.predictor.network)
    assert digest(other) == digest(one.predictor.network)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    assert digest(other) != digest(one.predictor.network)
