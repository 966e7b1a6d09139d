from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.activeguard.budgets import SMOKE, Budget
from benchmarks.activeguard.engines import stages, wide_networks
from benchmarks.activeguard.engines.stages import Stage, core_minutes, run_stage, shrink
from benchmarks.activeguard.engines.wide import verdicts
from benchmarks.progress import Steps
from models.data import Dataset, Split
from models.networks.resnet import ResNet, ResNetConfig
from models.networks.wide_resnet import WideResNet, WideResNetConfig
from models.specs import InputSpec, OutputSpec
from models.watermarks.registered import derive_marks, extract, set_digits

STAGE = Stage("test", 2, 24, 1e-3, 8)


def noise(count: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(256, size=(count, 3, 8, 8), dtype=np.uint8), rng.integers(10, size=count))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    spec = InputSpec(shape=(3, 8, 8), mode="RGB", mean=(0.5,) * 3, std=(0.25,) * 3)
    train, validation, calibration, test = (noise(count, seed) for seed, count in enumerate((24, 8, 8, 8)))
    return Dataset("cifar10", train, validation, calibration, test, spec, OutputSpec.numbered(10))


@pytest.fixture
def budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Budget:
    monkeypatch.setattr("benchmarks.activeguard.budgets.RUNS", tmp_path)
    return replace(SMOKE, results=tmp_path)


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ResNet(ResNetConfig(blocks=1))


class TestStages:
    def test_what_was_trained_is_read_the_second_time(
        self, budget: Budget, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = network(), network()
        with Steps() as steps:
            run_stage(first, budget, dataset, STAGE, "kept", steps)
            monkeypatch.setattr(stages, "train", lambda *_, **__: pytest.fail("trained again"))
            run_stage(second, budget, dataset, STAGE, "kept", steps)
        assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))
        assert not torch.equal(next(second.parameters()), next(network().parameters()))
        assert core_minutes(budget, "kept") > 0

    def test_an_interrupted_stage_ends_where_an_unbroken_one_does(
        self, budget: Budget, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, broken = network(), network()
        with Steps() as steps:
            run_stage(whole, budget, dataset, STAGE, "whole", steps)
            with monkeypatch.context() as patch:
                patch.setattr(stages._Clock, "__call__", _interrupt)
                with pytest.raises(KeyboardInterrupt):
                    run_stage(broken, budget, dataset, STAGE, "broken", steps)
            run_stage(network(), budget, dataset, STAGE, "broken", steps)
            run_stage(broken, budget, dataset, STAGE, "broken", steps)
        assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), broken.parameters(), strict=True))

    def test_shrinking_takes_means_of_squares(self) -> None:
        images = np.zeros((1, 1, 4, 4), dtype=np.uint8)
        images[0, 0, :2, :2] = [[10, 20], [30, 40]]
        found = shrink(Split(images, np.zeros(1, dtype=np.int64)), 2)
        assert found.images[0, 0].tolist() == [[25, 0], [0, 0]]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class TestMarks:
    def test_the_terms_alone_write_both_marks_and_the_plain_copy_has_neither(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            plain = WideResNet(WideResNetConfig(width=1)).eval()
        owner, marked = wide_networks._owner(plain), copy.deepcopy(plain)
        marks = derive_marks(wide_networks.SECRET, owner.terms)
        wide_networks.pull(marked, wide_networks._terms(owner))
        assert all(torch.equal(extract(marked, owner.terms, mark), mark.digits) for mark in marks)
        set_digits(marked, owner.terms, marks)
        found = verdicts(plain, marked, owner)
        assert (found.published, found.published_plain) == (True, False)
        assert found.log10_p < -100
        assert found.log10_p_plain > -1
