"""Thieves and their rivals: who starts from what, with how many images, tuned by one function and kept run by run.

A side is who starts: from scratch, from the unlocked teacher (what a network that was never locked would give him), or
from a stolen student in one of several ways. A run is a side with some share of the owner's training images and a seed,
which draws the images, fresh weights, noise and batches, and says which student was stolen. Rate and augmentation are
chosen by the mean over the first seeds on validation images (`models.attacks.tuning.choose`); so is, by `chosen`, the
thief's way. Everybody has the same images.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import held_out, random_numbers
from benchmarks.dsn.students import COLD, PRECISION, Student, digest, kind_of, shelf_of, student
from benchmarks.kept import Piece, Shelf
from models.attacks.noise import add_noise
from models.attacks.overwriting_number import NewNumber
from models.attacks.stamp_search import FrontEnd
from models.attacks.transfer_learning import leaky
from models.attacks.tuning import RATES, Effort, Setting, best_of, choose, tune
from models.augmentation import Affine
from models.data import Split
from models.predictor import Predictor, predict
from models.training import initialise

SCRATCH, UNLOCKED = "scratch", "unlocked"
FINE_TUNED, NEW_HEAD, FRONT = "fine-tuned", "new head", "affine front end"
LEAKY, NOISE, LEAKY_HEAD, LEAKY_NOISE = "leaky", "weight noise", "leaky, new head", "leaky, weight noise"
WAYS = (FINE_TUNED, NEW_HEAD, LEAKY, NOISE, LEAKY_HEAD, LEAKY_NOISE)  # of the adaptive thief
OVERWRITTEN, OVERWRITTEN_KNOWN = "overwritten", "overwritten, old number known"
STRENGTH = 1.0  # of the noise, in standard deviations of each tensor

AUGMENTS: dict[bool, tuple[Affine | None, ...]] = {True: (None, Affine(scale=0.12, shift=0.08)), False: (None,)}


@dataclass(frozen=True)
class Plan:
    """How much is tried with a share (in percent) of the images: seeds in all, and those that settings are chosen on;
    the most epochs, and how many without anything better end a run."""

    share: int
    seeds: int
    choosing: int
    epochs: int
    patience: int
    rates: tuple[float, ...] = RATES

    @property
    def effort(self) -> Effort:
        """For `models.attacks.tuning.tune`."""
        return Effort(self.epochs, self.patience, precision=PRECISION)


_CPU = (
    Plan(3, 10, 2, 40, 8),
    Plan(10, 10, 2, 22, 5),
    Plan(20, 5, 1, 16, 4),
    Plan(30, 5, 1, 12, 3),
    Plan(40, 10, 1, 11, 3),
)
_SMOKE = tuple(Plan(share, 2, 1, 2, 2, (3e-3,)) for share in (3, 10, 20, 30, 40))
_GPU = tuple(Plan(share, 10, 2, epochs, 8) for share, epochs in ((3, 100), (10, 60), (20, 40), (30, 30), (40, 30)))
PLANS = {"smoke": _SMOKE, "cpu": _CPU, "gpu": _GPU}
VALIDATION = 1_000  # images that everybody has besides, to choose on


def plan_of(budget: Budget, share: int) -> Plan:
    """That for a share of 3, 10, 20, 30 or 40 percent."""
    return next(plan for plan in PLANS[budget.name] if plan.share == share)


@dataclass(frozen=True)
class Run:
    """What one run came to; `curve` is its accuracy on validation images after each epoch."""

    validation: float
    test: float
    best_epoch: int
    curve: tuple[float, ...]


@dataclass
class Thieves:
    """All runs of a budget against MNIST students of one start; what is there is not run again."""

    budget: Budget
    shelf: Shelf
    start: str = COLD
    done: dict[tuple[str, int, int, Setting], Run] = field(default_factory=dict)  # a run is read, and counted, once
    victims: dict[int, Student] = field(default_factory=dict)

    @classmethod
    def of(cls, budget: Budget, start: str = COLD) -> "Thieves":
        """With a shelf of their own: its minutes are those of the runs that are asked for."""
        return cls(budget, Shelf.of(budget, "thieves"), start)

    def run(self, side: str, share: int, seed: int, setting: Setting) -> Run:
        """One run, from the shelf or now."""
        if (side, share, seed, setting) not in self.done:
            self.done[side, share, seed, setting] = self._run(side, share, seed, setting)
        return self.done[side, share, seed, setting]

    def _run(self, side: str, share: int, seed: int, setting: Setting) -> Run:
        plan = plan_of(self.budget, share)
        victim = self.victim(seed)
        source = victim.teacher if side == UNLOCKED else victim.predictor
        weights = None if side == SCRATCH else digest(source.network)
        dataset = victim.dataset.name
        number = victim.number.tolist() if side in (OVERWRITTEN, OVERWRITTEN_KNOWN) else None
        recipe = (side, dataset, weights, number, share, seed, setting, plan.effort, VALIDATION, STRENGTH)

        def measure() -> Piece:
            train, validation = _images(victim, share, seed)
            return _measured(side, victim, train, validation, setting, plan.effort, seed)

        piece = self.shelf.piece(f"{side.replace(', ', '-').replace(' ', '_')}-{share}-{seed}", recipe, measure)
        return Run(piece["validation"], piece["test"], piece["best_epoch"], tuple(piece["curve"]))

    def victim(self, seed: int) -> Student:
        """The student that this seed's thief stole."""
        index = seed % kind_of(self.budget, "mnist").students if self.start == COLD else 0
        if index not in self.victims:
            self.victims[index] = student(self.budget, shelf_of(self.budget), "mnist", index, start=self.start)
        return self.victims[index]

    def setting(self, side: str, share: int, *, augmented: bool = True) -> Setting:
        """The one that is best on validation, by the mean over the plan's first seeds."""
        plan = plan_of(self.budget, share)

        def score(setting: Setting) -> float:
            return mean(self.run(side, share, seed, setting).validation for seed in range(plan.choosing))

        return choose(score, rates=plan.rates, augments=AUGMENTS[augmented])

    def chosen(self, ways: Iterable[str], share: int, *, augmented: bool = True) -> str:
        """The way that is best on validation, each in its best setting, over the same seeds."""

        def score(way: str) -> float:
            setting = self.setting(way, share, augmented=augmented)
            choosing = range(plan_of(self.budget, share).choosing)
            return mean(self.run(way, share, seed, setting).validation for seed in choosing)

        return best_of({way: score(way) for way in ways})

    def runs(self, side: str, share: int, seeds: Sequence[int], *, augmented: bool = True) -> list[Run]:
        """Those of a side in its best setting."""
        setting = self.setting(side, share, augmented=augmented)
        return [self.run(side, share, seed, setting) for seed in seeds]


def gains(thief: list[Run], scratch: list[Run]) -> list[float]:
    """By seed, in points of test accuracy."""
    return [100 * (run.test - rival.test) for run, rival in zip(thief, scratch, strict=True)]


def described(setting: Setting) -> str:
    """For a table's cell."""
    return f"{setting.rate:g}{', augmented' if setting.augment else ''}"


def _images(victim: Student, share: int, seed: int) -> tuple[Split, Split]:
    """The images that this seed's people have to train on, of the owner's own, and those that they choose on."""
    rng = np.random.default_rng(seed)
    train, validation = victim.dataset.train, victim.dataset.validation
    rows = rng.permutation(len(train))[: max(1, len(train) * share // 100)]
    others = rng.permutation(len(validation))[:VALIDATION]
    return train.take(rows), validation.take(others)


def _measured(
    side: str, victim: Student, train: Split, validation: Split, setting: Setting, effort: Effort, seed: int
) -> Piece:
    predictor = Predictor(_started(side, victim, seed), victim.dataset.input_spec, victim.dataset.output_spec)
    objective, shown = None, None
    if side in (OVERWRITTEN, OVERWRITTEN_KNOWN):
        new = random_numbers(victim, 1, seed=1_000 + seed)[0]
        old = victim.number if side == OVERWRITTEN_KNOWN else None
        objective = NewNumber(predictor, victim.stamp, new, old=old, seed=seed)

        def shown(images: Tensor) -> Tensor:
            return victim.stamp.put(images, new)

    tuned = tune(predictor, train, validation, setting, effort, seed=seed, objective=objective, shown=shown)
    images, labels = held_out(victim)
    found = predict(predictor, images if shown is None else shown(images)).argmax(dim=1).numpy()
    content: dict[str, Any] = {"validation": tuned.validation_accuracy, "test": float((found == labels).mean())}
    return content | {"best_epoch": tuned.best_epoch, "curve": list(tuned.curve)}


def _started(side: str, victim: Student, seed: int) -> nn.Module:
    """The network that a side begins to train."""
    if side == SCRATCH:
        network = copy.deepcopy(victim.teacher.network)
        initialise(network, 9_000 + seed)
        return network
    if side == UNLOCKED:
        return copy.deepcopy(victim.teacher.network)
    network = copy.deepcopy(victim.predictor.network)
    generator = torch.Generator().manual_seed(seed)
    if side in (NEW_HEAD, LEAKY_HEAD):
        initialise(network.get_submodule("head"), 9_000 + seed)
    if side in (NOISE, LEAKY_NOISE):
        network = add_noise(network, STRENGTH, generator=generator)
    if side in (LEAKY, LEAKY_HEAD, LEAKY_NOISE):
        network = leaky(network)
    if side == FRONT:
        network = nn.Sequential(FrontEnd(victim.dataset.input_spec.shape, affine=True, generator=generator), network)
    return network
