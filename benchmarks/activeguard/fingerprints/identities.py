"""How many licensees one network can tell apart: a million licenses drawn, and what each kind of identity can hold."""

import json
import math
import time
from functools import partial

import numpy as np
import torch
from scipy.spatial import cKDTree

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.fingerprints.forgeries import CODE, SECRET
from benchmarks.activeguard.fingerprints.networks import entropy, images, lenet5, seeds
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from models.fingerprints.activeguard import Allotment, Code, Codewords, FingerprintSets, generate
from models.fingerprints.activeguard.allotment import band
from models.predictor import predict

IDENTITIES = ("identities",)
CAPACITY = "capacity.json"  # behind the plot
LICENSES = {"smoke": 2_000, "cpu": 1_000_000, "gpu": 10_000_000}
PIECES = {"smoke": 2, "cpu": 10, "gpu": 100}
ISSUED = {"smoke": 6, "cpu": 60, "gpu": 600}  # licenses made as images, on each network
IMAGES = CODE.images_for(64.0) or 1
EPSILONS = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001)


def identities(budget: Budget, steps: Steps) -> list[Row]:
    """A million licenses of as many images as 64 bits need, with the codewords that the owner's secret gives them."""
    shelf, count, pieces = Shelf.of(budget, "fingerprints"), LICENSES[budget.name], PIECES[budget.name]
    each = count // pieces
    drawn = [_words(shelf, index * each, each) for index in steps.over(range(pieces), "licenses")]
    words = np.concatenate(drawn)  # (N, m, K)
    found = keys(words)
    single, distinct = len(np.unique(found[:, 0])), len(np.unique(found, axis=0))
    nearest = closest(words[: min(count, 100_000), 0])
    issued = [
        shelf.piece(f"identities-{seed}", (seed, ISSUED[budget.name]), partial(_issue, budget, seed))
        for seed in steps.over(seeds(budget), "licenses issued as images")
    ]
    curve = _capacities()
    (budget.data() / CAPACITY).write_text(json.dumps(curve))
    extra = {
        "images_a_license": IMAGES,
        "epsilon": CODE.epsilon,
        "collisions": count - distinct,
        "distinct_by_one_image": single,
        "closest_two_of_one_image": nearest,
        "issued": sum(piece["issued"] for piece in issued),
        "issued_told_apart": sum(piece["right"] for piece in issued),
        "seeds": list(seeds(budget)),
        "resumed_core_minutes": shelf.minutes,
        "tables": [_table(curve)],
    }
    what = f"LeNet-5, K = 10: licenses of {IMAGES} codewords drawn by the owner's secret, no two alike"
    low, high = (float(distinct), float(distinct))
    return [Row(IDENTITIES[0], what, bar(">=", min(count, 1_000_000)), distinct, count, low, high, "a count", extra)]


def _words(shelf: Shelf, start: int, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The codewords of so many licenses (count, m, K), drawn now or read."""
    path = shelf.folder / f"words-{CODE.epsilon}-{IMAGES}-{start}-{count}.npz"
    if path.exists():
        kept = np.load(path)
        shelf.minutes += float(kept["core_seconds"]) / 60
        return np.asarray(kept["words"], dtype=np.float32)
    began = time.process_time()
    slots = np.random.default_rng(start).integers(CODE.allotment.capacity, size=(count, IMAGES))
    drawn = [
        [CODE.codeword(SECRET, f"lic_{start + row}", int(slot), index).probabilities for index, slot in enumerate(line)]
        for row, line in enumerate(slots)
    ]
    words, fresh = np.array(drawn, dtype=np.float32), path.with_suffix(".part.npz")
    np.savez(fresh, words=words, core_seconds=time.process_time() - began)
    fresh.rename(path)
    return words


def keys(words: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Probabilities (N, m, K) -> one number a codeword (N, m): two that are the same to a tenth of epsilon have one."""
    levels = np.rint(words / (CODE.epsilon / 10)).astype(np.int64)
    factors = np.random.default_rng(0).integers(1, 2**62, size=words.shape[-1])
    return (levels * factors).sum(axis=-1)


def closest(words: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """The smallest distance of two different codewords among (N, K): no answer shows both from 2 epsilon on."""
    unique = np.unique(words, axis=0)
    distance, _ = cKDTree(unique).query(unique[:2_000], k=2, p=np.inf)
    return float(distance[:, 1].min())


def _issue(budget: Budget, seed: int) -> Piece:
    """Licenses as images on one network: how many are taken for themselves and nobody else."""
    network, count = lenet5(budget, seed), ISSUED[budget.name]
    slots = np.random.default_rng(seed).integers(CODE.allotment.capacity, size=(count, IMAGES))
    words = [
        [CODE.codeword(SECRET, f"lic_{seed}_{row}", int(slot), index) for index, slot in enumerate(line)]
        for row, line in enumerate(slots)
    ]
    flat = [word for line in words for word in line]
    made = generate(network.predictor, images(network, len(flat), seed), flat, entropy=entropy(seed, len(flat)))
    p = predict(network.predictor, network.predictor.input_spec.from_grid(made.grid)).softmax(dim=1)
    found = Codewords.of(words, CODE.epsilon).authenticate(p.reshape(count, IMAGES, -1))
    return {"issued": count, "right": int((found.user == torch.arange(count)).sum())}


def _capacities() -> dict[str, list[float]]:
    """log10 of how many identities there are by epsilon: eq. (5), sets of two and three, codewords of one image."""
    low, high = band(10)
    curve: dict[str, list[float]] = {
        "epsilon": list(EPSILONS),
        "eq. (5)": [],
        "sets of 2": [],
        "sets of 3": [],
        "codewords": [],
    }
    for epsilon in EPSILONS:
        allotment, code = Allotment.from_band(10, epsilon), Code.from_band(10, epsilon)
        curve["eq. (5)"].append(math.log10(10 * (high - low) / (2 * epsilon)))
        for length in (2, 3):
            curve[f"sets of {length}"].append(math.log10(FingerprintSets(allotment, length).capacity))
        curve["codewords"].append(
            math.log10(10 * sum(code.size(confidence) for confidence in code.allotment.confidences))
        )
    return curve


def _table(curve: dict[str, list[float]]) -> dict[str, object]:
    columns = [name for name in curve if name != "epsilon"]
    lines = [
        [epsilon, *(f"{10 ** curve[name][index]:.3g}" for name in columns)] for index, epsilon in enumerate(EPSILONS)
    ]
    return {
        "title": "Identities of one network with ten classes, band 0.1 to 0.5",
        "columns": ["epsilon", *columns],
        "rows": lines,
    }
