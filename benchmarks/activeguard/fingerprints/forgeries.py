"""Images that were issued to nobody, and how near they come to passing each of three checks.

paper      (class, confidence): E_c of the paper's control layer, C_fp = {0.2, 0.3, 0.4}
codeword   the nearest of the registered codewords: the largest |p_k - q_k|
digest     the bytes of an issued fingerprint, as a gateway binds them
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.fingerprints.networks import PAPER, Network, entropy, images, lenet5, mnist
from benchmarks.kept import Piece
from models.fingerprints.activeguard import Code, Codeword, Codewords, ControlLayer, FingerprintOutput, generate
from models.fingerprints.activeguard.codewords import stack
from models.predictor import Predictor, predict

Grid = NDArray[np.uint8]
Maker = Callable[[int], Grid]

CODE = Code.from_band(10, epsilon=0.01)
SECRET, OTHER_SECRET = b"the owner's secret, thirty-two b", b"another owner's secret, 32 bytes"
REGISTERED = {"smoke": 40, "cpu": 400, "gpu": 400}  # licenses
EPSILONS = tuple(float(f"{value:.3g}") for value in np.logspace(-4, np.log10(0.3), 60))
CHECKS = ("paper", "codeword", "digest")
_BATCH = 4_000
_FORWARD = 128


@dataclass(frozen=True, slots=True)
class Register:
    """Who is registered with a network: codewords, and the bytes of the fingerprints made for them."""

    codewords: Codewords
    digests: frozenset[bytes]

    def distances(self, p: Tensor) -> Tensor:
        """Probabilities (N, K) -> the largest difference from the nearest codeword (N,), in float32."""
        table = self.codewords.codewords[:, 0].float()  # (L, K)
        return torch.cdist(p, table, p=float("inf")).amin(dim=1)


def codewords(secret: bytes, count: int, *, start: int = 0) -> list[Codeword]:
    """One a license, over all slots alike."""
    capacity = CODE.allotment.capacity
    return [CODE.codeword(secret, f"lic_{index}", index % capacity) for index in range(start, start + count)]


def makers(network: Network, seed: int) -> dict[str, Maker]:
    """What makes so many forgeries of each kind, grey levels (N, C, H, W)."""
    rng = np.random.default_rng(seed)
    spec = network.predictor.input_spec
    sources = spec.to_grid(network.starts.numpy())
    dataset = mnist()
    held_out = np.concatenate([dataset.test.images, dataset.validation.images])

    def noise(count: int) -> Grid:
        return rng.integers(256, size=(count, *spec.shape), dtype=np.uint8)

    def faint(count: int) -> Grid:
        return _faint(count, rng, spec.shape)

    def blends(count: int) -> Grid:
        first, second = (sources[rng.integers(len(sources), size=count)].astype(np.float32) for _ in range(2))
        weight = rng.random((count, 1, 1, 1), dtype=np.float32)
        return np.rint(weight * first + (1 - weight) * second).astype(np.uint8)

    def held(count: int) -> Grid:
        chosen = held_out[rng.integers(len(held_out), size=count)]
        return np.maximum(chosen, _faint(count, rng, spec.shape))

    def made(count: int, wanted: list[FingerprintOutput] | list[Codeword]) -> Grid:
        rows = torch.from_numpy(rng.integers(len(network.starts), size=count))
        bits = entropy(int(rng.integers(2**62)), count)
        return np.asarray(generate(network.predictor, network.starts[rows], wanted, entropy=bits).grid)

    def outputs(count: int) -> Grid:
        slots = rng.integers(CODE.allotment.capacity, size=count)
        return made(count, [CODE.allotment.output(int(slot)) for slot in slots])

    def others(count: int) -> Grid:
        return made(count, codewords(OTHER_SECRET, count, start=int(rng.integers(10**9))))

    return {
        "noise": noise,
        "faint noise": faint,
        "blends of two images": blends,
        "held-out images under faint noise": held,
        "made for class and confidence alone": outputs,
        "made for another owner's codewords": others,
    }


def looked_at(network: Network, register: Register, maker: Maker, count: int) -> Piece:
    """How many of `count` forgeries each check would take at each epsilon, and the nearest miss of the codewords'."""
    paper = ControlLayer(PAPER, 0.01)
    below = {check: np.zeros(len(EPSILONS), dtype=np.int64) for check in CHECKS}
    nearest, accepted = 1.0, 0
    answer = _fused(network.predictor)
    for grid in _batches(maker, count):
        images = torch.from_numpy(network.predictor.input_spec.from_grid(grid))
        p = answer(images).softmax(dim=1)
        distances = register.distances(p)
        near = distances < register.codewords.epsilon + 1e-4  # the fast look finds them, the check itself decides
        if bool(near.any()):
            exactly = predict(network.predictor, images[near]).softmax(dim=1)
            accepted += int(register.codewords.authenticate(exactly).authorized.sum())
        nearest = min(nearest, float(distances.min()))
        same = sum(hashlib.sha256(one.tobytes()).digest() in register.digests for one in grid)
        below["paper"] += _below(paper.authenticate(p).error.numpy())
        below["codeword"] += _below(distances.numpy())
        below["digest"] += same
    return {
        "shown": count,
        "accepted": accepted,
        "nearest": nearest,
        "below": {check: counts.tolist() for check, counts in below.items()},
    }


@cache
def register_of(budget: Budget, seed: int) -> tuple[Register, int]:
    """Every license's codeword, a fingerprint for each, and how many of those are taken for their own license."""
    network, count = lenet5(budget, seed), REGISTERED[budget.name]
    words = codewords(SECRET, count)
    made = generate(network.predictor, images(network, count, seed), words, entropy=entropy(seed, count))
    table = Codewords(stack(words), CODE.epsilon)
    p = predict(network.predictor, network.predictor.input_spec.from_grid(made.grid)).softmax(dim=1)
    right = int((table.authenticate(p).user == torch.arange(count)).sum())
    digests = frozenset(hashlib.sha256(one.tobytes()).digest() for one in made.grid.numpy())
    return Register(table, digests), right


def _fused(predictor: Predictor) -> Callable[[Tensor], Tensor]:
    """The network with its layers fused, images (N, C, H, W) -> logits (N, K): twice as fast, another last digit."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # torch.jit is on its way out
        traced = torch.jit.trace(predictor, torch.zeros(_FORWARD, *predictor.input_spec.shape))  # type: ignore[no-untyped-call]
        fused = torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def answer(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.cat([fused(batch) for batch in torch.split(images, _FORWARD)])

    return answer


def _below(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of the values are below each epsilon."""
    return np.searchsorted(np.sort(values), np.array(EPSILONS)).astype(np.int64)


def _faint(count: int, rng: np.random.Generator, shape: tuple[int, ...]) -> Grid:
    """Uniform from black up to a brightness of its own for each image, 1 to 64 of 255."""
    brightest = rng.integers(2, 65, size=(count, 1, 1, 1), dtype=np.uint16)
    return (rng.integers(256, size=(count, *shape), dtype=np.uint8) * brightest >> 8).astype(np.uint8)


def _batches(maker: Maker, count: int) -> Iterator[Grid]:
    for start in range(0, count, _BATCH):
        yield maker(min(_BATCH, count - start))
