"""The strongest stranger: weights, code, class and confidence are known to him, the owner's secret is not.

Whatever he does, what he shows is an answer, so he has to choose one: a codeword drawn from the code as the owner's
are, the mean of the slot's codewords, or class and confidence with the rest as it comes. Which of these hits more often
is found out on a coarse code, where hits are common; then he has his tries at the real one.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.fingerprints.forgeries import CODE, REGISTERED, SECRET
from benchmarks.activeguard.fingerprints.networks import Network, entropy, images, lenet5, seeds
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import exact
from models.fingerprints.activeguard import (
    Code,
    Codeword,
    Codewords,
    FingerprintOutput,
    GenerationSettings,
    generate,
)
from models.fingerprints.activeguard.codewords import stack
from models.predictor import predict

WHITE_BOX = ("codewords_white_box",)
COARSE = Code.from_band(10, epsilon=0.05)
TRIES = {"smoke": (40, 40), "cpu": (500, 2_000), "gpu": (5_000, 20_000)}  # to choose by, and for each network

Aims = list[Codeword] | list[FingerprintOutput]


def white_box(budget: Budget, steps: Steps) -> list[Row]:
    """Tune on the coarse code, then try the real one on every network."""
    shelf, (tuning, tries) = Shelf.of(budget, "fingerprints"), TRIES[budget.name]
    tuned = {
        name: shelf.piece(
            f"white-box-{name}", (name, tuning), partial(_attack, budget, seeds(budget)[0], name, COARSE, tuning)
        )
        for name in steps.over(list(STRATEGIES), "white box, tuning")
    }
    best = max(tuned, key=lambda name: tuned[name]["accepted"])
    found = [
        shelf.piece(f"white-box-{seed}", (seed, best, tries), partial(_attack, budget, seed, best, CODE, tries))
        for seed in steps.over(seeds(budget), "white box")
    ]
    shown, accepted = (sum(piece[what] for piece in found) for what in ("shown", "accepted"))
    lines = [
        [name, COARSE.epsilon, piece["shown"], piece["on_aim"], piece["accepted"], f"{piece['nearest']:.4f}"]
        for name, piece in tuned.items()
    ]
    lines.append(
        [best, CODE.epsilon, shown, sum(piece["on_aim"] for piece in found), accepted, f"{_nearest(found):.4f}"]
    )
    columns = ["aims at", "epsilon", "tries", "on his aim", "accepted", "nearest miss"]
    size = min(CODE.size(confidence) for confidence in CODE.allotment.confidences)
    extra = {
        "seeds": list(seeds(budget)),
        "registered": REGISTERED[budget.name],
        "aims_at": best,
        "nearest_miss": _nearest(found),
        "chance_of_a_try": REGISTERED[budget.name] / CODE.allotment.classes / size,
        "resumed_core_minutes": shelf.minutes,
        "tables": [{"title": "White-box tries at secret codewords", "columns": columns, "rows": lines}],
    }
    what = "white-box tries (all known but the secret) taken for a registered codeword: share"
    return [
        Row(WHITE_BOX[0], what, bar("==", 0.0), accepted / shown, shown, *exact(accepted, shown), "exact, 95 %", extra)
    ]


def _nearest(pieces: list[Piece]) -> float:
    return float(min(piece["nearest"] for piece in pieces))


def _attack(budget: Budget, seed: int, strategy: str, code: Code, tries: int) -> Piece:
    """`tries` at the registered licenses, which all have one of the ten slots that are worth most to him."""
    network = lenet5(budget, seed)
    registered = [code.codeword(SECRET, f"lic_{index}", _slot(code, index)) for index in range(REGISTERED[budget.name])]
    aims = STRATEGIES[strategy](code, [_slot(code, index) for index in range(tries)], seed)
    grid = _made(network, aims, seed)
    p = predict(network.predictor, network.predictor.input_spec.from_grid(grid)).softmax(dim=1)
    table = Codewords(stack(registered), code.epsilon)
    distance = torch.cdist(p, stack(registered).float(), p=float("inf")).amin(dim=1)
    hit = p.argmax(dim=1) == torch.tensor([_label(aim) for aim in aims])
    if isinstance(aims[0], Codeword):
        wanted = stack([aim for aim in aims if isinstance(aim, Codeword)])
        hit &= (p - wanted).abs().amax(dim=1) < code.epsilon
    return {
        "shown": tries,
        "accepted": int(table.authenticate(p).authorized.sum()),
        "on_aim": int(hit.sum()),
        "nearest": float(distance.min()),
    }


def _made(network: Network, aims: Aims, seed: int) -> torch.Tensor:
    sources, bits = images(network, len(aims), 77 + seed), entropy(77 + seed, len(aims))
    return generate(network.predictor, sources, aims, entropy=bits, settings=GenerationSettings(batch_size=128)).grid


def _slot(code: Code, index: int) -> int:
    """Of license `index`: those of the poorest confidence, where a guess is worth most."""
    poorest = min(code.allotment.confidences, key=code.size)
    outputs = [FingerprintOutput(label, poorest) for label in range(code.allotment.classes)]
    return code.allotment.user(outputs[index % len(outputs)])


def _label(aim: Codeword | FingerprintOutput) -> int:
    return aim.output.label if isinstance(aim, Codeword) else aim.label


def _drawn(code: Code, slots: list[int], seed: int) -> Aims:
    """As the owner draws them, with a secret of his own."""
    guess = np.random.default_rng(900 + seed).bytes(32)
    return [code.codeword(guess, f"try_{index}", slot) for index, slot in enumerate(slots)]


def _mean(code: Code, slots: list[int], seed: int) -> Aims:
    """In the middle of the slot's codewords, which is the flat remainder."""
    outputs = [code.allotment.output(slot) for slot in slots]
    classes = code.allotment.classes
    return [
        Codeword(
            one,
            tuple(one.confidence if k == one.label else (1 - one.confidence) / (classes - 1) for k in range(classes)),
        )
        for one in outputs
    ]


def _as_it_comes(code: Code, slots: list[int], seed: int) -> Aims:
    return [code.allotment.output(slot) for slot in slots]


STRATEGIES: dict[str, Callable[[Code, list[int], int], Aims]] = {
    "a codeword drawn from the code": _drawn,
    "the mean of the slot's codewords": _mean,
    "class and confidence alone": _as_it_comes,
}
