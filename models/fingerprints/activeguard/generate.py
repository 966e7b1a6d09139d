"""ActiveGuard, section 2.3: make fingerprints, in batches, that keep their confidence as 8-bit images.

(1) start from an image plus noise expanded from 128 bits of the system's randomness;
(2) steer it to (t, c) by damped Gauss-Newton (`gauss_newton.py`);
(3) round it to 256 grey levels and nudge single pixels until p_t is within 1e-4 of c (`rounding.py`);
(4) start over, with fresh noise, for those that did not get there.

The noise is what makes a fingerprint a secret. Not described in the paper: there the image is the only unknown, and
whoever has weights, allotment and start images can make the licensee's fingerprint again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.errors import GenerationError
from models.fingerprints.activeguard.allotment import FingerprintOutput
from models.fingerprints.activeguard.gauss_newton import steer
from models.fingerprints.activeguard.rounding import finish
from models.predictor import Predictor, predict
from models.specs import LEVELS

DOMAIN = b"signet/fingerprint-noise/1\0"
ENTROPY = 16  # bytes


@dataclass(frozen=True)
class GenerationSettings:
    """How hard to try. `radius` is the longest step and `noise` the amplitude, in units of the value range.

    Noise grows by half of itself with every attempt, and starts from the next row of the sources.
    """

    steps: int = 40
    radius: float = 3.0
    damping: float = 1e-3
    noise: float = 0.08
    tolerance: float = 1e-4
    rounds: int = 25
    attempts: int = 8
    batch_size: int = 64


@dataclass(frozen=True)
class Fingerprints:
    """Grey levels uint8 (N, C, H, W), what the network says to them: confidence of t (N,), and whether it is right.

    `solved` (N,) bool: p_t within the tolerance of c and t the arg max, measured on the grey levels themselves;
    `attempts` (N,) int counts the starts that each took.
    """

    grid: Tensor
    confidence: Tensor
    solved: Tensor
    attempts: Tensor


def generate(
    predictor: Predictor,
    sources: Tensor,
    outputs: Sequence[FingerprintOutput],
    *,
    entropy: Sequence[bytes] | None = None,
    settings: GenerationSettings | None = None,
) -> Fingerprints:
    """One fingerprint an output; row n of `sources`, raw-range float32 (N, C, H, W), is where it starts.

    `entropy` holds 16 bytes a fingerprint; None takes them from the operating system, which is what an issued
    fingerprint needs: given ones are for experiments that must come out the same twice. An output that could not be
    reached has `solved` False. Raises GenerationError naming `sources`, `outputs` or `entropy`.
    """
    settings = settings or GenerationSettings()
    if entropy is None:
        entropy = [secrets.token_bytes(ENTROPY) for _ in outputs]
    _check(predictor, sources, outputs, entropy)
    labels = torch.tensor([output.label for output in outputs], dtype=torch.int64)
    wanted = torch.tensor([output.confidence for output in outputs], dtype=torch.float32)
    low, high = predictor.input_spec.value_range
    unit = ((sources.float() - low) / (high - low)).reshape(len(sources), -1).clamp(0.0, 1.0)  # (N, D)

    grid = torch.zeros(unit.shape, dtype=torch.uint8)
    solved = torch.zeros(len(unit), dtype=torch.bool)
    attempts = torch.zeros(len(unit), dtype=torch.int64)
    for attempt in range(settings.attempts):
        if bool(solved.all()):
            break
        for rows in torch.split((~solved).nonzero()[:, 0], settings.batch_size):
            noise = torch.stack([_noise(entropy[int(row)], attempt, unit.shape[1]) for row in rows])
            start = (unit[(rows + attempt) % len(unit)] + settings.noise * 1.5**attempt * noise).clamp(0.0, 1.0)  # (1)
            grid[rows], solved[rows] = _attempt(predictor, start, labels[rows], wanted[rows], settings)
            attempts[rows] += 1
    return _measured(predictor, grid, labels, wanted, solved, attempts, settings.tolerance)


def _attempt(
    predictor: Predictor, start: Tensor, labels: Tensor, wanted: Tensor, settings: GenerationSettings
) -> tuple[Tensor, Tensor]:
    unit = steer(  # (2)
        predictor,
        start,
        labels,
        wanted,
        steps=settings.steps,
        radius=settings.radius,
        damping=settings.damping,
        tolerance=settings.tolerance,
    )
    grid = (unit * LEVELS).round().to(torch.uint8)
    return finish(predictor, grid, labels, wanted, tolerance=settings.tolerance / 2, rounds=settings.rounds)  # (3)


def _measured(
    predictor: Predictor,
    grid: Tensor,
    labels: Tensor,
    wanted: Tensor,
    solved: Tensor,
    attempts: Tensor,
    tolerance: float,
) -> Fingerprints:
    """Ask the network once more about the very values a licensee will send: a claim is never taken from the search."""
    images = grid.reshape(len(grid), *predictor.input_spec.shape)
    p = predict(predictor, predictor.input_spec.from_grid(images)).softmax(dim=1)
    confidence = p.gather(1, labels[:, None])[:, 0]
    right = ((confidence - wanted).abs() <= tolerance) & (p.argmax(dim=1) == labels)
    return Fingerprints(images, confidence, solved & right, attempts)


def _noise(entropy: bytes, attempt: int, pixels: int) -> Tensor:
    """Uniform in [-1, 1] (D,), from SHAKE-256 over the entropy and the attempt."""
    stream = hashlib.shake_256(DOMAIN + attempt.to_bytes(4, "big") + entropy).digest(2 * pixels)
    words = np.frombuffer(stream, dtype="<u2").astype(np.float32)
    return torch.from_numpy(words / np.float32(32767.5) - 1)


def _check(
    predictor: Predictor, sources: Tensor, outputs: Sequence[FingerprintOutput], entropy: Sequence[bytes]
) -> None:
    shape, classes = predictor.input_spec.shape, predictor.output_spec.classes
    if not len(outputs):
        raise GenerationError("outputs", "names no fingerprint to make")
    if sources.ndim != 4 or tuple(sources.shape[1:]) != shape or len(sources) != len(outputs):
        raise GenerationError(
            "sources", f"must have shape ({len(outputs)}, {', '.join(map(str, shape))}), one an output"
        )
    if not bool(torch.isfinite(sources).all()):
        raise GenerationError("sources", "holds NaN or infinite values")
    for index, (label, confidence) in enumerate(outputs):
        if not 0 <= label < classes or not 1 / classes < confidence < 1:
            reason = f"class {label} of {classes} cannot be the answer with confidence {confidence}"
            raise GenerationError(f"outputs[{index}]", reason)
    if len(entropy) != len(outputs) or any(len(chunk) != ENTROPY for chunk in entropy):
        raise GenerationError("entropy", f"must be {ENTROPY} bytes for each output")
