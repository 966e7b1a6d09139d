"""Thieves and scratch are treated alike, each run is made once, and what starts is what the side says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.dsn import thieves
from benchmarks.dsn.adaptive import share_of_gain
from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.students import Student
from benchmarks.dsn.thieves import (
    FINE_TUNED,
    FRONT,
    LEAKY,
    LEAKY_HEAD,
    NEW_HEAD,
    NOISE,
    OVERWRITTEN_KNOWN,
    SCRATCH,
    UNLOCKED,
    Run,
    Thieves,
    gains,
    plan_of,
)
from models.attacks.tuning import Setting

SETTING = Setting(3e-3)


def run(test: float) -> Run:
    return Run(test, test, 1, (test,))


def counted(monkeypatch: pytest.MonkeyPatch, scores: dict[tuple[str, bool], float]) -> list[tuple[str, int, Setting]]:
    """In place of training: each side's validation accuracy, augmented or not."""
    calls: list[tuple[str, int, Setting]] = []

    def measured(side: str, _: Student, __: Any, ___: Any, setting: Setting, ____: Any, seed: int) -> dict[str, Any]:
        calls.append((side, seed, setting))
        reached = scores[side, setting.augment is not None] + seed / 1000
        return {"validation": reached, "test": reached, "best_epoch": 1, "curve": [reached]}

    monkeypatch.setattr(thieves, "_measured", measured)
    return calls


class TestRuns:
    def test_each_is_made_once_and_read_by_who_asks_later(
        self, budget: Budget, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ) -> None:
        mine = Budget("smoke", tmp_path, tmp_path)
        monkeypatch.setattr(Thieves, "victim", lambda *_: Thieves.of(budget).victims.get(0) or _victim(budget))
        calls = counted(monkeypatch, {(SCRATCH, False): 0.5, (SCRATCH, True): 0.6})
        first, second = Thieves.of(mine), Thieves.of(mine)
        found = first.runs(SCRATCH, 10, range(2))
        assert [one.test for one in found] == pytest.approx([0.6, 0.601])
        assert all(setting.augment is not None for _, seed, setting in calls if seed == 1)
        assert second.runs(SCRATCH, 10, range(2)) == found
        assert len(calls) == len(set(calls)) == 3  # both augmentations choose on one seed; the better has another

    def test_the_way_is_chosen_on_validation(
        self, budget: Budget, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ) -> None:
        monkeypatch.setattr(Thieves, "victim", lambda *_: _victim(budget))
        counted(
            monkeypatch,
            {(NOISE, False): 0.7, (NOISE, True): 0.3, (LEAKY, False): 0.6, (LEAKY, True): 0.8},
        )
        mine = Thieves.of(Budget("smoke", tmp_path, tmp_path))
        assert mine.chosen((NOISE, LEAKY), 10) == LEAKY
        assert mine.chosen((NOISE, LEAKY), 10, augmented=False) == NOISE

    @pytest.mark.parametrize("side", [SCRATCH, OVERWRITTEN_KNOWN, FRONT])
    def test_sides_train_to_the_end(self, budget: Budget, side: str) -> None:
        found = Thieves.of(budget).run(side, 10, 0, SETTING)
        assert len(found.curve) == plan_of(budget, 10).epochs
        assert found.validation == max(found.curve)
        assert 0 <= found.test <= 1

    def test_everybody_has_the_same_images_and_another_seed_others(self, one: Student) -> None:
        first, again, other = (thieves._images(one, 10, seed)[0] for seed in (0, 0, 1))
        assert (first.images == again.images).all()
        assert len(first) == len(one.dataset.train) // 10
        assert not (first.images == other.images).all()


def _victim(budget: Budget) -> Student:
    from benchmarks.dsn.students import shelf_of, student

    return student(budget, shelf_of(budget), "mnist")


class TestStarts:
    def weights(self, network: nn.Module, name: str) -> torch.Tensor:
        return network.get_parameter(name).detach()

    def test_a_stolen_one_has_the_student_s_features_and_scratch_has_nobody_s(self, one: Student) -> None:
        name = "features.0.weight"
        own = self.weights(one.predictor.network, name)
        for side in (FINE_TUNED, NEW_HEAD, LEAKY, LEAKY_HEAD):
            assert torch.equal(self.weights(thieves._started(side, one, 0), name), own)
        for side in (SCRATCH, UNLOCKED, NOISE):
            assert not torch.equal(self.weights(thieves._started(side, one, 0), name), own)
        unlocked = self.weights(thieves._started(UNLOCKED, one, 0), name)
        assert torch.equal(unlocked, self.weights(one.teacher.network, name))

    def test_a_new_head_is_new_and_leaky_units_leak(self, one: Student) -> None:
        name = "head.0.weight"
        started = thieves._started(LEAKY_HEAD, one, 0)
        assert not torch.equal(self.weights(started, name), self.weights(one.predictor.network, name))
        assert not any(isinstance(module, nn.ReLU) for module in started.modules())
        assert any(isinstance(module, nn.ReLU) for module in one.predictor.network.modules())


def test_the_share_of_the_gain_is_that_of_the_means() -> None:
    thief, scratch, unlocked = [run(0.92), run(0.94)], [run(0.9), run(0.9)], [run(0.98), run(0.98)]
    assert share_of_gain(thief, scratch, unlocked) == pytest.approx(3 / 8)
    assert gains(thief, scratch) == pytest.approx([2.0, 4.0])
