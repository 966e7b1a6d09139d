"""Codewords: those issued are taken, ten million forgeries without any binding are not; what each carries."""

import json
from functools import partial

import numpy as np

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.fingerprints.forgeries import (
    CHECKS,
    CODE,
    EPSILONS,
    REGISTERED,
    looked_at,
    makers,
    register_of,
)
from benchmarks.activeguard.fingerprints.networks import lenet5, seeds
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import exact
from models.fingerprints.activeguard import Code

ISSUED, FORGED = ("codewords_issued",), ("codewords_forged",)
FALSE_ACCEPTS = "false_accepts.json"  # behind the plot
SHOWN = {  # forgeries of each kind and network
    "smoke": (2_000, 2_000, 2_000, 1_000, 30, 30),
    "cpu": (650_000, 650_000, 650_000, 48_500, 1_000, 500),
    "gpu": (6_500_000, 6_500_000, 6_500_000, 485_000, 10_000, 5_000),
}


def issued(budget: Budget, steps: Steps) -> list[Row]:
    """A fingerprint for each license on every network."""
    right = [register_of(budget, seed)[1] for seed in steps.over(seeds(budget), "codewords issued")]
    n = REGISTERED[budget.name] * len(right)
    return [
        Row(
            ISSUED[0],
            f"MNIST LeNet-5, fingerprints for {REGISTERED[budget.name]} codewords, epsilon {CODE.epsilon}, unbound: "
            "share taken for their license",
            bar("==", 1.0),
            sum(right) / n,
            n,
            *exact(sum(right), n),
            "exact, 95 %",
            {"seeds": list(seeds(budget)), "taken": right, "tables": [_bits()]},
        )
    ]


def _bits() -> dict[str, object]:
    """What the library computes, for some numbers of classes."""
    lines = []
    for classes in (2, 10, 43, 1000):
        for epsilon in (0.01, 0.001):
            code = Code.from_band(classes, epsilon)
            known, unknown = (code.bits(slot_known=one) for one in (True, False))
            images = [code.images_for(64.0, slot_known=one) or "none" for one in (True, False)]
            lines.append([classes, epsilon, code.allotment.capacity, f"{known:.1f}", f"{unknown:.1f}", *images])
    columns = [
        "K",
        "epsilon",
        "slots",
        "bits, slot known",
        "bits, slot unknown",
        "images for 64 bits, known",
        "unknown",
    ]
    return {"title": "What one image's codeword carries", "columns": columns, "rows": lines}


def forged(budget: Budget, steps: Steps) -> list[Row]:
    """Every kind of forgery on every network, each against that network's own register."""
    shelf, kinds = Shelf.of(budget, "fingerprints"), list(makers(lenet5(budget, seeds(budget)[0]), 0))
    wanted = [
        (seed, kind, count) for seed in seeds(budget) for kind, count in zip(kinds, SHOWN[budget.name], strict=True)
    ]
    found: dict[str, list[Piece]] = {kind: [] for kind in kinds}
    for seed, kind, count in steps.over(wanted, "forgeries"):
        piece = shelf.piece(f"forged-{seed}", (seed, kind, count, EPSILONS), partial(_forge, budget, seed, kind, count))
        found[kind].append(piece)
    (budget.data() / FALSE_ACCEPTS).write_text(json.dumps({"epsilons": EPSILONS, "kinds": found}))
    every = [piece for pieces in found.values() for piece in pieces]
    shown, accepted = (sum(piece[what] for piece in every) for what in ("shown", "accepted"))
    extra = {
        "seeds": list(seeds(budget)),
        "registered": REGISTERED[budget.name],
        "epsilon": CODE.epsilon,
        "nearest_miss": min(piece["nearest"] for piece in every),
        "resumed_core_minutes": shelf.minutes,
        "tables": [_false_accepts(found)],
    }
    what = "forgeries of six kinds, without any binding, taken for one of the registered codewords: share"
    return [
        Row(FORGED[0], what, bar("==", 0.0), accepted / shown, shown, *exact(accepted, shown), "exact, 95 %", extra)
    ]


def _forge(budget: Budget, seed: int, kind: str, count: int) -> Piece:
    network = lenet5(budget, seed)
    return looked_at(network, register_of(budget, seed)[0], makers(network, 1000 + seed)[kind], count)


def _false_accepts(found: dict[str, list[Piece]]) -> dict[str, object]:
    """Share that each check takes, by kind, at the epsilons nearest to some round ones."""
    places = [int(np.abs(np.log(np.array(EPSILONS) / epsilon)).argmin()) for epsilon in (0.001, 0.01, 0.1)]
    lines = []
    for kind, pieces in found.items():
        shown = sum(piece["shown"] for piece in pieces)
        shares = [
            f"{100 * sum(piece['below'][check][place] for piece in pieces) / shown:.3g}"
            for check in CHECKS
            for place in places
        ]
        lines.append([kind, f"{shown:,}", *shares, f"{min(piece['nearest'] for piece in pieces):.4f}"])
    columns = [f"{check}, {EPSILONS[place]:.2g}" for check in CHECKS for place in places]
    return {
        "title": "False accepts of the three checks by epsilon, %, and the codewords' nearest miss",
        "columns": ["forged", "shown", *columns, "nearest miss"],
        "rows": lines,
    }
