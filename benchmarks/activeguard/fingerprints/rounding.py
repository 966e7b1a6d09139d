"""What 8 bits do to a confidence: before rounding, after plain rounding, and after the rounding-aware finish."""

from functools import partial

import numpy as np
import torch

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.fingerprints.forgeries import CODE, SECRET
from benchmarks.activeguard.fingerprints.networks import images, lenet5, seeds
from benchmarks.activeguard.fingerprints.outputs import BAND
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import exact
from models.fingerprints.activeguard.codewords import stack
from models.fingerprints.activeguard.gauss_newton import GaussNewton
from models.fingerprints.activeguard.generate import GenerationSettings
from models.fingerprints.activeguard.method import from_unit
from models.fingerprints.activeguard.rounding import finish
from models.fingerprints.activeguard.targets import CodewordTargets, OutputTargets, Targets
from models.predictor import Predictor, predict
from models.specs import LEVELS

ROUNDING = ("rounding",)
ERRORS = "rounding.npz"
KINDS = ("output", "codeword")
STAGES = ("before", "plain", "finished")
EPSILON = 0.002
COUNT = {"smoke": 38, "cpu": 190, "gpu": 1900}  # of each kind and network
FLOATS = GaussNewton(near=1e-6)  # to float32's last digits, so that what is seen is rounding alone


def rounding(budget: Budget, steps: Steps) -> list[Row]:
    """Outputs of the whole band and codewords, one start each, on every network."""
    shelf, count = Shelf.of(budget, "fingerprints"), COUNT[budget.name]
    found = [
        shelf.piece(f"rounding-{seed}", (seed, count, FLOATS), partial(_measure, budget, seed, count))
        for seed in steps.over(seeds(budget), "rounding")
    ]
    errors = {
        f"{kind}_{stage}": np.concatenate([piece[kind][stage] for piece in found]) for kind in KINDS for stage in STAGES
    }
    np.savez(budget.data() / ERRORS, **errors)
    finished = errors["output_finished"]
    n, right = len(finished), int((finished <= EPSILON).sum())
    lines = [
        [
            kind,
            stage,
            len(values),
            f"{np.median(values):.1e}",
            f"{np.percentile(values, 95):.1e}",
            f"{values.max():.1e}",
            *(f"{100 * (values <= epsilon).mean():.2f}" for epsilon in (0.01, 0.002, 0.001)),
        ]
        for kind in KINDS
        for stage in STAGES
        for values in [errors[f"{kind}_{stage}"]]
    ]
    columns = [
        "asked for",
        "stage",
        "median",
        "95 %",
        "largest",
        "within 0.01, %",
        "within 0.002, %",
        "within 0.001, %",
    ]
    title = "Largest error of an allotted probability by stage, of those that the search met in floats"
    return [
        Row(
            ROUNDING[0],
            f"MNIST LeNet-5, outputs c = 0.12 to 0.48 after rounding with the finish: share within {EPSILON} of c",
            bar("==", 1.0),
            right / n,
            n,
            *exact(right, n),
            "exact, 95 %",
            {
                "seeds": list(seeds(budget)),
                "plain_rounding_within": float((errors["output_plain"] <= EPSILON).mean()),
                "resumed_core_minutes": shelf.minutes,
                "tables": [{"title": title, "columns": columns, "rows": lines}],
            },
        )
    ]


def _measure(budget: Budget, seed: int, count: int) -> Piece:
    network = lenet5(budget, seed)
    chosen = [BAND.output(user % BAND.capacity) for user in range(count)]
    labels, confidences = torch.tensor([one.label for one in chosen]), torch.tensor([one.confidence for one in chosen])
    words = [CODE.codeword(SECRET, f"rounding_{user}", user % CODE.allotment.capacity) for user in range(count)]
    targets: dict[str, Targets] = {
        "output": OutputTargets(labels, confidences),
        "codeword": CodewordTargets(stack(words).float()),
    }
    unit = network.predictor.input_spec.to_grid(images(network, count, seed)).flatten(1).float() / LEVELS
    return {kind: _stages(network.predictor, unit, targets[kind]) for kind in KINDS}


def _stages(predictor: Predictor, unit: torch.Tensor, targets: Targets) -> dict[str, list[float]]:
    """The error of each image at each stage, of those that the search met before anything was rounded."""
    settings = GenerationSettings()
    tolerance = settings.tolerance if isinstance(targets, OutputTargets) else settings.codeword_tolerance
    floats = FLOATS.search(predictor, unit, targets, 0.0)
    plain = (floats * LEVELS).round().to(torch.uint8)
    finished, _ = finish(predictor, plain, targets, tolerance=tolerance / 2, rounds=settings.rounds)
    answers = [
        predict(predictor, from_unit(predictor, one)).softmax(dim=1)
        for one in (floats, plain.float() / LEVELS, finished.float() / LEVELS)
    ]
    met = targets.reached(answers[0], 1e-4)
    return {stage: targets.error(p)[met].tolist() for stage, p in zip(STAGES, answers, strict=True)}
