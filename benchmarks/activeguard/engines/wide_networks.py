"""WRN-10-4 on CIFAR-10, trained once and then fine-tuned twice: the same batches, with the marks' terms and without.

(1) a one-cycle schedule on images of half the side, a quarter of the work (`cpu`; the paper's schedule has none);
(2) a one-cycle schedule on whole images;
(3) one copy learns the digits: Eq. (4)'s second term alone, which needs no images, until they are there; wm1 in
    `conv2.0.conv2` (576 positions, as in the paper), the registered marks in `conv3.0.conv2`, since in the same layer
    their positions would meet wm1's;
(4) both copies are fine-tuned, that one with both terms. Not the paper's order, which has both terms throughout: at a
    rate that brings the digits about in this few steps, two copies part by more than the mark costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.engines.stages import SEED, Stage, core_minutes, device, recipe_name, run_stage
from benchmarks.progress import Steps
from models.data import Dataset
from models.evaluation.null_model import frequencies
from models.networks.wide_resnet import WideResNet, WideResNetConfig
from models.training import Regularizer
from models.watermarks import activeguard as published
from models.watermarks.registered import MarkParameters, derive_marks, map_of_spread, regularizer, set_digits
from models.watermarks.regularizer import weight_of

LAYER, REGISTERED_LAYER = "conv2.0.conv2.weight", "conv3.0.conv2.weight"
SECRET = bytes(range(32))  # an experiment's, so that it comes out the same twice
DIGITS, MARKS = 256, 3  # registered
PULLS, PULL_RATE = 1_000, 4e-3


@dataclass(frozen=True)
class Schedule:
    """What both copies have in common, and what each then gets; forward and backward passes in `precision`."""

    common: tuple[Stage, ...]
    fine_tuning: Stage
    precision: torch.dtype = torch.float32
    width: int = 4
    checked: int = 1_000  # validation images after each epoch


SCHEDULES = {
    "smoke": Schedule(
        (Stage("half", 1, 256, 1e-2, shrunk=2),), Stage("tuned", 1, 128, 5e-4, 32, 0.0), width=1, checked=100
    ),
    # in float32: a processor without bfloat16 instructions takes many times as long in bfloat16
    "cpu": Schedule(
        (Stage("half", 5, 21_000, 1e-2, shrunk=2), Stage("whole", 2, 15_744, 4e-3)),
        Stage("tuned", 1, 5_248, 5e-4, 64, 0.0),
    ),
    "gpu": Schedule(
        (Stage("whole", 200, 42_000, 1e-2),), Stage("tuned", 2, 42_000, 5e-4, 128, 0.0), torch.bfloat16, checked=3_000
    ),
}


@dataclass(frozen=True)
class Owner:
    """What was, or would have been, written: the paper's key and the registered terms."""

    key: published.Key
    terms: MarkParameters


@dataclass(frozen=True)
class Sum:
    """Several terms of one loss."""

    terms: Sequence[Regularizer]

    @property
    def description(self) -> str:
        """All of them."""
        return " + ".join(term.description for term in self.terms)

    def __call__(self, network: nn.Module) -> Tensor:
        """Their sum, a scalar."""
        return torch.stack([term(network) for term in self.terms]).sum()


def copy(budget: Budget, dataset: Dataset, steps: Steps, *, marked: bool) -> tuple[nn.Module, Owner]:
    """The plain or the marked copy, fine-tuned, and the owner's side, which is the same for both."""
    schedule = SCHEDULES[budget.name]
    network = _common(budget, dataset, steps)
    owner = _owner(network)
    terms = _terms(owner) if marked else None
    if terms is not None:
        pull(network, terms)
    name = _copy_name(schedule, owner if marked else None)
    precision, checked = schedule.precision, schedule.checked
    run_stage(
        network, budget, dataset, schedule.fine_tuning, name, steps, precision=precision, checked=checked, terms=terms
    )
    if marked:
        set_digits(network, owner.terms, derive_marks(SECRET, owner.terms))
    return network, owner


def pull(network: nn.Module, terms: Regularizer) -> None:
    """Minimize the terms of the weights alone; the marked layers move, and nothing else."""
    layers = [weight_of(network, layer) for layer in (LAYER, REGISTERED_LAYER)]
    optimizer = torch.optim.Adam(layers)
    for step in range(PULLS):
        for group in optimizer.param_groups:
            group["lr"] = PULL_RATE * (1 - step / PULLS)
        optimizer.zero_grad()
        terms(network).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def training_core_minutes(budget: Budget, owner: Owner) -> float:
    """What training took, all stages together."""
    schedule = SCHEDULES[budget.name]
    common = [_common_name(schedule, number) for number in range(len(schedule.common))]
    return core_minutes(budget, *common, *(_copy_name(schedule, one) for one in (None, owner)))


def _common(budget: Budget, dataset: Dataset, steps: Steps) -> nn.Module:
    """The network after the stages that both copies have in common."""
    schedule = SCHEDULES[budget.name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = WideResNet(WideResNetConfig(width=schedule.width)).to(device())
    for number, stage in enumerate(schedule.common):
        name = _common_name(schedule, number)
        run_stage(network, budget, dataset, stage, name, steps, precision=schedule.precision, checked=schedule.checked)
    return network


def _owner(network: nn.Module) -> Owner:
    """Key and terms from the common network, before anything is written."""
    key = published.keygen(network, LAYER, published.WM1, generator=torch.Generator().manual_seed(SEED))
    weight, digit_map = weight_of(network, REGISTERED_LAYER), map_of_spread(network, REGISTERED_LAYER)
    config = {"width": int(weight.shape[0]) // 32}
    null, shape = frequencies([weight], digit_map), tuple(weight.shape)
    terms = MarkParameters(
        "wide", "wide_resnet", config, REGISTERED_LAYER, shape, digit_map, DIGITS, MARKS, null, f"{SEED:032x}"
    )
    return Owner(key, terms)


def _terms(owner: Owner) -> Sum:
    """Eq. (4)'s second term, of wm1 and of the registered marks."""
    marks = derive_marks(SECRET, owner.terms)
    return Sum((published.regularizer(owner.key), regularizer(owner.terms, marks, 1.0)))


def _common_name(schedule: Schedule, number: int) -> str:
    stages = schedule.common[: number + 1]
    return recipe_name(f"wide-{stages[-1].name}", schedule.precision, schedule.width, stages, stages[-1].config)


def _copy_name(schedule: Schedule, owner: Owner | None) -> str:
    """Of the copy that is marked for an owner, or of the plain one."""
    stages = (*schedule.common, schedule.fine_tuning)
    recipe = (schedule.precision, schedule.width, stages, stages[-1].config)
    if owner is None:
        return recipe_name("wide-plain", *recipe)
    return recipe_name("wide-marked", *recipe, _terms(owner).description, PULLS, PULL_RATE)
