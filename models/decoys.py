"""What a stranger is told: a label drawn from a keyed function of his input, with scores that look like an answer.

The label is uniform over the K classes and depends on the secret, the model version and the canonical 8-bit input
alone, so the lie is the same for every stranger and every time, and says nothing about the truth. The scores are a
calibration input's genuine profile whose own top class is that label, made unique: repeated score vectors would give
decoys away at once, and so would a few hundred profiles seen ten thousand times.

Unique by an affine mix in logit space. With weights w over the base profile and four others of the same top class,
sum w = 1 keeps the mean and sum w^2 = 1 the covariance of that class' profiles whatever the weights are, so the mix
widens nothing and narrows nothing. They are the base's own weights (1, 0, 0, 0, 0) turned by an angle, in a direction,
that are drawn for this input. `models/README.md` has what gradient boosting makes of it, and of the ways not taken.
"""

from __future__ import annotations

import hashlib
import hmac
import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DOMAIN = b"signet/decoy/1\0"
PARTNERS = 4
ANGLE = 0.4  # radians at REFERENCE profiles: no profile is recognised, what is not Gaussian about them is kept
REFERENCE = 1000  # profiles of one class; fewer are turned further, for each is seen more often
MOST = 1.0
LEAST_POOL = 20  # profiles of one class below which mixes would be seen to lie on a few lines


class DecoyBank:
    """The genuine logits (M, K) of a version's calibration inputs, M >= 2, ready to draw decoys from.

    A class that is no calibration input's top class borrows all profiles, the two entries concerned exchanged; one
    with fewer than 20 keeps its own as bases and borrows partners for the mix.

    In NumPy: a draw is thirty small steps, and for one input each would take torch ten times as long.
    """

    def __init__(self, logits: Tensor) -> None:
        assert logits.ndim == 2, "logits are (M, K)"
        assert len(logits) >= 2, "a mix needs two profiles"
        given = logits.detach().cpu().double().numpy()
        top = given.argmax(axis=1)
        order = top.argsort(kind="stable")  # rows of one class lie together
        self.classes = given.shape[1]
        self._top, self._profiles = top[order], given[order]
        count = np.bincount(top, minlength=self.classes)  # (K,)
        self._bases = _slices(count, 1)
        self._partners = _slices(count, LEAST_POOL)

    @property
    def nbytes(self) -> int:
        """What the profiles take in memory."""
        return int(self._profiles.nbytes)

    def draw(self, secret: bytes, context: bytes, inputs: Tensor | NDArray[np.uint8]) -> Tensor:
        """Logits float32 (N, K), one decoy an input; arg max is the drawn label.

        `context` is the digest of the model version, `inputs` the canonical grey levels uint8 (N, C, H, W).
        """
        words = _words(secret, context, inputs)  # (N, 16)
        label = _label(words, self.classes)  # (N,)
        base = self._pick(label, words[:, 2:3], self._bases)  # (N, 1, K)
        partners = self._pick(label, words[:, 3 : 3 + PARTNERS], self._partners)  # (N, P, K)
        weights = _weights(words[:, 3 + PARTNERS : 4 + 2 * PARTNERS], self._partners[1][label])  # (N, 1 + P)
        mix = (weights[:, :, None] * np.concatenate([base, partners], axis=1)).sum(axis=1)
        return torch.from_numpy(_keep_top(mix, label).astype(np.float32))

    def _pick(self, label: Integers, words: Integers, slices: tuple[Integers, Integers]) -> Floats:
        """The profiles (N, P, K) that words (N, P) choose from each label's slice, their top class moved there."""
        start, count = slices[0][label, None], slices[1][label, None]  # (N, 1)
        rows = start + words % count  # (N, P)
        profiles, top = self._profiles[rows], self._top[rows]  # (N, P, K), (N, P)
        return _exchanged(profiles, top, np.broadcast_to(label[:, None], rows.shape))


def _slices(count: Integers, least: int) -> tuple[Integers, Integers]:
    """Where each class' rows start and how many they are, (K,) each; all rows for a class with fewer than `least`."""
    few = count < least
    return np.where(few, 0, count.cumsum() - count), np.where(few, count.sum(), count)


def _words(secret: bytes, context: bytes, inputs: Tensor | NDArray[np.uint8]) -> Integers:
    """16 uniform 32-bit words an input, as int64 (N, 16): keyed BLAKE2b, the key from secret and model version."""
    array = inputs.cpu().numpy() if isinstance(inputs, Tensor) else inputs
    assert array.dtype == np.uint8, "decoys depend on canonical 8-bit inputs"
    key = hmac.digest(secret, DOMAIN + context, "sha256")
    digests = b"".join(hashlib.blake2b(row.tobytes(), key=key).digest() for row in array)
    return np.frombuffer(digests, dtype="<u4").astype(np.int64).reshape(len(array), 16)


def _label(words: Integers, classes: int) -> Integers:
    """Uniform over the classes (N,): 62 bits modulo K, so the bias is below K / 2^62."""
    return ((words[:, 0] << 30) ^ words[:, 1]) % classes


def _weights(words: Integers, pool: Integers) -> Floats:
    """(N, 1 + P) words -> weights (N, 1 + P) with sum w = 1 and sum w^2 = 1, at an angle from (1, 0, ..., 0).

    The unit sphere and the plane sum w = 1 meet in a sphere about the point (1/n, ..., 1/n), n = 1 + P. The first
    word gives the angle, within a quarter of what suits a pool (N,) of so many profiles; the others the direction.
    """
    n = words.shape[1]
    uniform = (words + 0.5) / 2**32
    suited = np.minimum(ANGLE * (REFERENCE / pool) ** 0.25, MOST)[:, None]  # (N, 1)
    angle = suited * (0.75 + 0.5 * uniform[:, :1])
    normal = ndtri(uniform[:, 1:])  # (N, P)
    direction = normal - normal.mean(axis=1, keepdims=True)
    length = np.sqrt((direction**2).sum(axis=1, keepdims=True))
    direction *= math.sqrt(1 - 1 / n) / np.maximum(length, 1e-12)
    first = 1 / n + np.cos(angle) * (1 - 1 / n)
    return np.concatenate([first, (1 - np.cos(angle)) / n + np.sin(angle) * direction], axis=1)


def _keep_top(mix: Floats, label: Integers) -> Floats:
    """`mix` (N, K) with its largest entry and the label's exchanged: a no-op unless the mix went past the boundary.

    Folding the few that did back over it leaves the gap to the runner-up as smooth as genuine answers have it;
    drawing them back to the boundary would heap them up there.
    """
    return _exchanged(mix, mix.argmax(axis=1), label)


def _exchanged(values: Floats, one: Integers, other: Integers) -> Floats:
    """(..., K) with the entries of indices (...,) exchanged."""
    swapped, one, other = values.copy(), one[..., None], other[..., None]
    np.put_along_axis(swapped, one, np.take_along_axis(values, other, axis=-1), axis=-1)
    np.put_along_axis(swapped, other, np.take_along_axis(values, one, axis=-1), axis=-1)
    return swapped
