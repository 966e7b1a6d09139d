"""What access control adds to the time of one answer: ActiveGuard, passports (Fan et al.), the transform (Chen and Wu).

The paper's claim is that ActiveGuard costs nothing per answer, since a user is recognised once. In every round each way
answers for a while, in random order, on one core and by its own clock; a way's share is taken within the round.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.engines.passports import with_passports
from benchmarks.activeguard.engines.transform import Generator, Universal
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from models.decoys import DecoyBank
from models.fingerprints.activeguard import ControlLayer, ProtectedNetwork
from models.networks.lenet5 import LeNet5
from models.networks.resnet import ResNet
from models.predictor import Predictor, scores
from models.specs import InputSpec, OutputSpec

BATCHES = (1, 64)
ROWS = tuple(f"overhead_{batch}" for batch in BATCHES)
ROUNDS = {"smoke": 5, "cpu": 80, "gpu": 80}
BLOCK_S = 0.02  # of one way in one round, about
PLAIN, SESSION = "network alone", "ActiveGuard, recognised once"
PAPER = {
    SESSION: "no overhead per answer",
    "passports": "high overhead",
    "transform, generator": "high overhead",
}
Answer = Callable[[Tensor], Tensor]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Timing:
    """Core-seconds an answer by way and round (R,), for one network and batch size."""

    network: str
    batch: int
    seconds: Mapping[str, Floats]

    def share(self, way: str) -> tuple[float, float, float]:
        """What the way adds to the network alone, as a share of it: median over rounds, and its 95 % interval."""
        return added(self.seconds[way], self.seconds[PLAIN])


def added(times: Floats, plain: Floats, resamples: int = 2_000) -> tuple[float, float, float]:
    """The median of t / t_plain - 1 over rounds (R,), with a bootstrap interval over rounds."""
    shares = times / plain - 1
    rows = np.random.default_rng(0).integers(len(shares), size=(resamples, len(shares)))
    low, high = np.percentile(np.median(shares[rows], axis=1), [2.5, 97.5])
    return float(np.median(shares)), float(low), float(high)


def overhead(budget: Budget, steps: Steps) -> list[Row]:
    """Both rows; the table is with the first."""
    timings = []
    for name, predictor, layers in _networks():
        answers = ways(predictor, layers)
        for batch in BATCHES:
            images = torch.rand(batch, *predictor.input_spec.shape, generator=torch.Generator().manual_seed(0))
            rounds = steps.over(range(ROUNDS[budget.name]), f"overhead, {name}, batch {batch}")
            with torch.inference_mode():
                timings.append(Timing(name, batch, _time(answers, images, list(rounds))))
    return [_row(batch, [one for one in timings if one.batch == batch]) for batch in BATCHES]


def ways(predictor: Predictor, passported: Mapping[str, str | None]) -> dict[str, Answer]:
    """Raw-range images (N, C, H, W) -> scores (N, K), as an authorized user gets them, by way."""
    shape = predictor.input_spec.shape
    control = ControlLayer((0.2, 0.3, 0.4), 0.01)
    protected = ProtectedNetwork(predictor, control, key=bytes(16))
    bank = DecoyBank(torch.randn(1_000, 10, generator=torch.Generator().manual_seed(0)))
    example = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1))
    network = with_passports(copy.deepcopy(predictor.network), passported, example)
    with_keys = Predictor(network, predictor.input_spec, predictor.output_spec)
    universal, generator = Universal(shape), Generator(shape[0])

    def recognised(images: Tensor) -> Tensor:
        logits = predictor(images)
        return scores(control(logits, torch.rand_like(logits), torch.ones(len(images), dtype=torch.bool)))

    def gateway(images: Tensor) -> Tensor:
        decoys = bank.draw(bytes(32), b"", predictor.input_spec.to_grid(images.numpy()))
        return scores(control(predictor(images), decoys, torch.ones(len(images), dtype=torch.bool)))

    return {
        PLAIN: lambda images: scores(predictor(images)),
        SESSION: recognised,
        "ActiveGuard, the gateway: a decoy is made for everyone": gateway,
        "ActiveGuard, a fingerprint with every call": lambda images: protected(example, images),
        "passports": lambda images: scores(with_keys(images)),
        "transform, fixed or learned": lambda images: scores(predictor(universal(images))),
        "transform, generator": lambda images: scores(predictor(generator(images))),
    }


def _networks() -> list[tuple[str, Predictor, dict[str, str | None]]]:
    """With the convolutions that get passports: the last ones, as the authors' configurations have it."""
    stage3 = {f"stage3.{block}.conv{n}": f"stage3.{block}.bn{n}" for block in range(3) for n in (1, 2)}
    return [
        ("LeNet-5", _predictor(LeNet5(), (1, 28, 28)), {"conv2": None}),
        ("ResNet-20", _predictor(ResNet(), (3, 32, 32)), dict(stage3)),
    ]


def _predictor(network: nn.Module, shape: tuple[int, int, int]) -> Predictor:
    mode = "L" if shape[0] == 1 else "RGB"
    middle = (0.5,) * shape[0]
    return Predictor(network, InputSpec(shape=shape, mode=mode, mean=middle, std=middle), OutputSpec.numbered(10))


def _time(answers: Mapping[str, Answer], images: Tensor, rounds: Sequence[int]) -> dict[str, Floats]:
    """Core-seconds an answer by way, (R,) each."""
    rng = np.random.default_rng(0)
    seconds = {way: np.zeros(len(rounds)) for way in answers}
    repeats = {way: max(1, round(BLOCK_S / _clocked(answer, images, 3))) for way, answer in answers.items()}
    for round_ in rounds:
        for way in rng.permutation(list(answers)):
            seconds[way][round_] = _clocked(answers[way], images, repeats[way])
    return seconds


def _clocked(answer: Answer, images: Tensor, repeats: int) -> float:
    """Core-seconds of one call, in the mean of some: this thread's own, whatever else the machine does."""
    began = time.thread_time()
    for _ in range(repeats):
        answer(images)
    return (time.thread_time() - began) / repeats


def _row(batch: int, timings: Sequence[Timing]) -> Row:
    shares = {one.network: one.share(SESSION) for one in timings}
    worst = max(shares, key=lambda name: shares[name][2])
    rounds = len(timings[0].seconds[PLAIN])
    return Row(
        f"overhead_{batch}",
        "what ActiveGuard's control layer adds to the time of an answer once the user is recognised: share of the "
        f"network's own, batch {batch}, {worst} (the worse of {' and '.join(shares)})",
        bar("<=", 0.05, "high"),
        shares[worst][0],
        rounds,
        *shares[worst][1:],
        "bootstrap of the median over rounds, 95 %",
        {
            "claim": "the paper: no extra cost per answer; passports and the transform introduce a high overhead",
            "added": {one.network: {way: one.share(way) for way in one.seconds} for one in timings},
            "tables": [_table(batch, timings)],
        },
    )


def _table(batch: int, timings: Sequence[Timing]) -> dict[str, object]:
    columns = [
        "way",
        *(f"{one.network}: us" for one in timings),
        *(f"{one.network}: added" for one in timings),
        "paper",
    ]
    rows = []
    for way in timings[0].seconds:
        micros = [f"{1e6 * float(np.median(one.seconds[way])):.0f}" for one in timings]
        shares = ["" if way == PLAIN else _percent(*one.share(way)) for one in timings]
        rows.append([way, *micros, *shares, PAPER.get(way, "")])
    return {"title": f"Time of an answer and what is added to it, batch {batch}", "columns": columns, "rows": rows}


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
