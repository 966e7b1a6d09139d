"""How far a fingerprint's confidence, and a codeword's probabilities, move from one engine to another; what follows.

The reference is what the gateway runs: eager, one thread, an image at a time. An epsilon has to hold whatever the
issuer's finish leaves on 8-bit images and a margin of so many times the largest shift between float32 engines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.engines.engines import BATCHES, ENGINES, Ask, Engine, answers, eager
from benchmarks.activeguard.engines.issued import Issued, networks, training_core_minutes
from benchmarks.plots import COLOURS, Plot, save, subplots
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import exact
from models.fingerprints.activeguard import Allotment, Code

ROWS = ("engine_drift", "engine_epsilon")
MARGIN = 10  # times the largest shift: engines, processors and networks that were not asked
DATA = "engine_drift.json"
IN_USE, CODE_IN_USE = Allotment.from_band(10).epsilon, Code.from_band(10).epsilon
KINDS = ("fingerprint", "codeword")


@dataclass(frozen=True)
class Shift:
    """The largest shift of one network's fingerprints on one engine, in batches of one size; who is within epsilon."""

    network: str
    engine: str
    strict: bool
    batch: int
    fingerprint: float
    codeword: float
    accepted: int
    asked: int


@dataclass(frozen=True)
class Rounding:
    """What the issuer's finish left on 8-bit images: the largest error on the reference engine, of so many images."""

    network: str
    accuracy: float
    fingerprint: float
    codeword: float
    fingerprints: int
    codewords: int


def drift(budget: Budget, steps: Steps) -> list[Row]:
    """Both rows, the table and the plot's data."""
    shifts: list[Shift] = []
    left: list[Rounding] = []
    for one in networks(budget, steps):
        asked = with_company(one)
        reference = answers(ENGINES[0], eager(one.predictor), asked, 1)[: len(one.images)]
        left.append(_rounding(one, reference))
        protected, shown = one.protected()
        for engine in steps.over(ENGINES, f"engines, {one.name}"):
            ask = engine.build(one.predictor, protected, shown)
            shifts += [_shift(one, engine, ask, asked, reference, batch) for batch in engine.batches]
    kept = [vars_of(shift) for shift in shifts]
    (budget.data() / DATA).write_text(json.dumps({"shifts": kept, "epsilon": IN_USE}))
    return [_drift_row(budget, shifts, left), _epsilon_row(shifts, left)]


def with_company(one: Issued) -> Tensor:
    """The issued images first, then others until the largest batch is full."""
    size = max(BATCHES)
    missing = -len(one.images) % size
    return torch.cat([one.images, one.company[:missing]])


def vars_of(shift: Shift) -> dict[str, object]:
    """As JSON has it."""
    return {name: getattr(shift, name) for name in Shift.__dataclass_fields__}


def _largest(values: Tensor) -> float:
    return float(values.max()) if len(values) else 0.0


def _rounding(one: Issued, reference: Tensor) -> Rounding:
    errors, first = one.errors(reference), len(one.outputs)
    largest = _largest(errors[:first]), _largest(errors[first:])
    return Rounding(one.name, one.accuracy, *largest, first, len(one.codewords))


def _shift(one: Issued, engine: Engine, ask: Ask, asked: Tensor, reference: Tensor, batch: int) -> Shift:
    found = answers(engine, ask, asked, batch)[: len(one.images)]
    shifts, errors, first = one.shifts(found, reference), one.errors(found), len(one.outputs)
    accepted = int((errors[:first] < IN_USE).sum() + (errors[first:] < CODE_IN_USE).sum())
    largest = _largest(shifts[:first]), _largest(shifts[first:])
    return Shift(one.name, engine.name, engine.strict, batch, *largest, accepted, len(one.images))


def _drift_row(budget: Budget, shifts: Sequence[Shift], left: Sequence[Rounding]) -> Row:
    strict = [max(one.fingerprint, one.codeword) for one in shifts if one.strict]
    asked = sum(one.asked for one in shifts if one.strict)
    accepted = sum(one.accepted for one in shifts if one.strict)
    by_engine = [max(_of(shifts, engine.name, "").values()) for engine in ENGINES if engine.strict]
    return Row(
        "engine_drift",
        "the largest shift of a fingerprint's confidence, or of any probability of a codeword, between float32 engines "
        f"(and float64); a tenth of the epsilon in use, {IN_USE}",
        bar("<=", IN_USE / 10),
        max(strict),
        asked,
        min(by_engine),
        max(by_engine),
        "least and largest of the engines' largest shifts",
        {
            "networks": {one.network: one.accuracy for one in left},
            "images": sum(one.fingerprints + one.codewords for one in left),
            "batches": BATCHES,
            "accepted_on_float32": accepted,
            "accepted_exact_95": exact(accepted, asked),
            "training_core_minutes": training_core_minutes(budget),
            "tables": [_table(shifts)],
        },
    )


def _epsilon_row(shifts: Sequence[Shift], left: Sequence[Rounding]) -> Row:
    follows = {
        kind: [
            getattr(one, kind) + MARGIN * max(_of(shifts, None, one.network, kind).values(), default=0.0)
            for one in left
        ]
        for kind in KINDS
    }
    value = max(follows["fingerprint"])
    stands = "stands" if value <= IN_USE else "does not stand"
    return Row(
        "engine_epsilon",
        f"the epsilon that follows for a confidence: the largest error on 8-bit images and {MARGIN} times the largest "
        f"shift; the one in use, {IN_USE}, {stands}",
        bar("<=", 0.001),
        value,
        sum(one.fingerprints for one in left),
        min(follows["fingerprint"]),
        value,
        "least and largest of a network",
        {
            "in_use": IN_USE,
            "for_codewords": max(follows["codeword"]),
            "in_use_for_codewords": CODE_IN_USE,
            "margin": MARGIN,
            "largest_error_on_8_bit": {kind: max(getattr(one, kind) for one in left) for kind in KINDS},
            "tables": [_epsilon_table(shifts, left)],
        },
    )


def _of(shifts: Sequence[Shift], engine: str | None, network: str, kind: str | None = None) -> dict[str, float]:
    """The largest shift by kind: of one engine or of all float32 ones, of the networks whose names begin so."""
    chosen = [
        one for one in shifts if one.network.startswith(network) and (one.engine == engine if engine else one.strict)
    ]
    return {name: max((getattr(one, name) for one in chosen), default=0.0) for name in KINDS if kind in (None, name)}


def _table(shifts: Sequence[Shift]) -> dict[str, object]:
    families = ("LeNet-5", "ResNet-20")
    rows = []
    for engine in ENGINES:
        found = [_of(shifts, engine.name, family)[kind] for family in families for kind in KINDS]
        mine = [one for one in shifts if one.engine == engine.name]
        within = sum(one.accepted for one in mine) / sum(one.asked for one in mine)
        sizes = f"{engine.batches[0]} to {engine.batches[-1]}"
        rows.append([engine.name, sizes, *(f"{value:.1e}" for value in found), f"{100 * within:.4g} %"])
    columns = ["engine", "batch", *(f"{family}, {kind}" for family in families for kind in KINDS), "within epsilon"]
    title = "Largest shift from one image at a time on eager torch, by engine (MNIST, CIFAR-10 as JPEG)"
    return {"title": title, "columns": columns, "rows": rows}


def _epsilon_table(shifts: Sequence[Shift], left: Sequence[Rounding]) -> dict[str, object]:
    rows = []
    for one in left:
        moved = _of(shifts, None, one.network)
        for kind, used in zip(KINDS, (IN_USE, CODE_IN_USE), strict=True):
            error = getattr(one, kind)
            follows = error + MARGIN * moved[kind]
            rows.append([one.network, kind, f"{error:.2e}", f"{moved[kind]:.1e}", f"{follows:.2e}", f"{used:g}"])
    columns = ["network", "kind", "error on 8-bit images", "shift between engines", "epsilon that follows", "in use"]
    return {"title": f"The epsilon that follows: error + {MARGIN} shift", "columns": columns, "rows": rows}


def draw(data: Path, picture: Path) -> None:
    """The largest shift of each engine, a mark a network and kind, beside the epsilon in use and a tenth of it."""
    content = json.loads(data.read_text())
    names = [engine.name for engine in ENGINES][::-1]
    figure, (panel,) = subplots(1, 1, (7, 3.8))
    kinds = [(family, kind) for family in ("LeNet-5", "ResNet-20") for kind in ("fingerprint", "codeword")]
    styles = dict(zip(kinds, zip("os^v", COLOURS, strict=False), strict=True))
    shifts = [Shift(**one) for one in content["shifts"]]
    for (family, kind), (marker, colour) in styles.items():
        moved = [max(_of(shifts, name, family)[kind], 1e-9) for name in names]
        panel.plot(moved, range(len(names)), marker, color=colour, label=f"{family}, {kind}", markersize=5)
    for factor, style in ((1, "-"), (0.1, "--")):
        label = "epsilon in use" if factor == 1 else "a tenth of it"
        panel.axvline(factor * content["epsilon"], color="grey", linestyle=style, label=label)
    panel.set(xscale="log", xlabel="largest shift of a probability", yticks=range(len(names)), yticklabels=names)
    panel.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.37, 1))
    save(figure, picture)


PLOT = Plot("activeguard_engines", DATA, draw)
