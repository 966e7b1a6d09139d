"""ActiveGuard, section 2.3: make fingerprints, in batches, that keep their answer as 8-bit images.

(1) start from an image plus noise expanded from 128 bits of the system's randomness;
(2) steer it to (t, c), or to a codeword, by a method: Gauss-Newton, the paper's C&W, or Adam (`method.py`);
(3) round it to 256 grey levels and nudge single pixels until the answer is within the tolerance (`rounding.py`);
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
from models.fingerprints.activeguard.codewords import Codeword, stack
from models.fingerprints.activeguard.gauss_newton import GaussNewton
from models.fingerprints.activeguard.method import Method
from models.fingerprints.activeguard.rounding import finish
from models.fingerprints.activeguard.targets import CodewordTargets, OutputTargets, Targets
from models.predictor import Predictor, predict
from models.specs import LEVELS

DOMAIN = b"signet/fingerprint-noise/1\0"
ENTROPY = 16  # bytes


@dataclass(frozen=True)
class GenerationSettings:
    """How hard to try. `noise` is the amplitude, in units of the value range; `rounds` bounds the finish.

    Noise grows by half of itself with every attempt, and starts from the next row of the sources. `tolerance` is how
    near p_t comes to c; `codeword_tolerance` how near every p_k comes to a codeword's q_k.
    """

    noise: float = 0.08
    tolerance: float = 1e-4
    codeword_tolerance: float = 2.5e-3
    rounds: int = 25
    attempts: int = 8
    batch_size: int = 64


@dataclass(frozen=True)
class Fingerprints:
    """Grey levels uint8 (N, C, H, W), what the network says to them: confidence of t (N,), and whether it is right.

    `solved` (N,) bool: `error` within the tolerance and t the arg max, measured on the grey levels themselves;
    `attempts` (N,) int counts the starts that each took; `error` (N,) is |p_t - c|, for a codeword the largest
    |p_k - q_k|.
    """

    grid: Tensor
    confidence: Tensor
    solved: Tensor
    attempts: Tensor
    error: Tensor


def generate(
    predictor: Predictor,
    sources: Tensor,
    outputs: Sequence[FingerprintOutput] | Sequence[Codeword],
    *,
    method: Method | None = None,
    entropy: Sequence[bytes] | None = None,
    settings: GenerationSettings | None = None,
) -> Fingerprints:
    """One fingerprint an output or codeword; row n of `sources`, raw-range float32 (N, C, H, W), is where it starts.

    `method` is Gauss-Newton unless another is given. `entropy` holds 16 bytes a fingerprint; None takes them from the
    operating system, which is what an issued fingerprint needs: given ones are for experiments that must come out the
    same twice. An output that could not be reached has `solved` False.
    Raises GenerationError naming `sources`, `outputs`, `entropy` or `method`.
    """
    settings, method = settings or GenerationSettings(), method or GaussNewton()
    if entropy is None:
        entropy = [secrets.token_bytes(ENTROPY) for _ in outputs]
    _check(predictor, sources, outputs, entropy)
    targets, tolerance = _targets(outputs, settings)
    low, high = predictor.input_spec.value_range
    unit = ((sources.float() - low) / (high - low)).reshape(len(sources), -1).clamp(0.0, 1.0)  # (N, D)

    grid = torch.zeros(unit.shape, dtype=torch.uint8)
    solved = torch.zeros(len(unit), dtype=torch.bool)
    attempts = torch.zeros(len(unit), dtype=torch.int64)
    order = targets.highest.argsort(stable=True)  # like with like: a batch steers what its lowest asks for
    for attempt in range(settings.attempts):
        if bool(solved.all()):
            break
        for rows in torch.split(order[~solved[order]], settings.batch_size):
            noise = torch.stack([_noise(entropy[int(row)], attempt, unit.shape[1]) for row in rows])
            start = (unit[(rows + attempt) % len(unit)] + settings.noise * 1.5**attempt * noise).clamp(0.0, 1.0)  # (1)
            steered = method.search(predictor, start, targets.take(rows), tolerance)  # (2)
            rounded = (steered * LEVELS).round().to(torch.uint8)
            grid[rows], solved[rows] = finish(  # (3)
                predictor, rounded, targets.take(rows), tolerance=tolerance / 2, rounds=settings.rounds
            )
            attempts[rows] += 1
    return _measured(predictor, grid, targets, solved, attempts, tolerance)


def _targets(
    outputs: Sequence[FingerprintOutput] | Sequence[Codeword], settings: GenerationSettings
) -> tuple[Targets, float]:
    codewords = [output for output in outputs if isinstance(output, Codeword)]
    if codewords:
        return CodewordTargets(stack(codewords).float()), settings.codeword_tolerance
    plain = [output for output in outputs if isinstance(output, FingerprintOutput)]
    labels = torch.tensor([output.label for output in plain], dtype=torch.int64)
    confidence = torch.tensor([output.confidence for output in plain], dtype=torch.float32)
    return OutputTargets(labels, confidence), settings.tolerance


def _measured(
    predictor: Predictor, grid: Tensor, targets: Targets, solved: Tensor, attempts: Tensor, tolerance: float
) -> Fingerprints:
    """Ask the network once more about the very values a licensee will send: a claim is never taken from the search."""
    images = grid.reshape(len(grid), *predictor.input_spec.shape)
    p = predict(predictor, predictor.input_spec.from_grid(images)).softmax(dim=1)
    confidence = p.gather(1, targets.labels[:, None])[:, 0]
    return Fingerprints(images, confidence, solved & targets.reached(p, tolerance), attempts, targets.error(p))


def _noise(entropy: bytes, attempt: int, pixels: int) -> Tensor:
    """Uniform in [-1, 1] (D,), from SHAKE-256 over the entropy and the attempt."""
    stream = hashlib.shake_256(DOMAIN + attempt.to_bytes(4, "big") + entropy).digest(2 * pixels)
    words = np.frombuffer(stream, dtype="<u2").astype(np.float32)
    return torch.from_numpy(words / np.float32(32767.5) - 1)


def _check(
    predictor: Predictor,
    sources: Tensor,
    outputs: Sequence[FingerprintOutput] | Sequence[Codeword],
    entropy: Sequence[bytes],
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
    if len({type(output) for output in outputs}) > 1:
        raise GenerationError("outputs", "must all be outputs, or all codewords")
    for index in range(len(outputs)):
        _check_output(f"outputs[{index}]", outputs[index], classes)
    if len(entropy) != len(outputs) or any(len(chunk) != ENTROPY for chunk in entropy):
        raise GenerationError("entropy", f"must be {ENTROPY} bytes for each output")


def _check_output(field: str, output: FingerprintOutput | Codeword, classes: int) -> None:
    if isinstance(output, Codeword) and len(output.probabilities) != classes:
        raise GenerationError(field, f"fixes {len(output.probabilities)} probabilities, the network has {classes}")
    label, confidence = output.output if isinstance(output, Codeword) else output
    if not 0 <= label < classes or not 1 / classes < confidence < 1:
        reason = f"class {label} of {classes} cannot be the answer with confidence {confidence}"
        raise GenerationError(field, reason)
