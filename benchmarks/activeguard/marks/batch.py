"""Marks by the thousand: `registered.open_mark` and `models.evaluation` for many keys at once.

The same streams, positions, digits and chances as there, in arrays; a test holds the two against each other.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.rank_correlation import VARIANCE
from models.watermarks.digit_map import BASE
from models.watermarks.registered import MarkParameters
from models.watermarks.registered.stream import BLOCK, WORD, HashStream

Ints = NDArray[np.int64]
Digits = NDArray[np.int8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Marks:
    """Flat positions, and the digits that belong there (B, n) each."""

    positions: Ints
    digits: Digits

    def take(self, rows: NDArray[np.bool_] | Ints) -> "Marks":
        """Some of them."""
        return Marks(self.positions[rows], self.digits[rows])


def open_marks(parameters: MarkParameters, index: int, keys: Sequence[bytes]) -> Marks:
    """The marks of that index that keys stand for on these terms."""
    size, digits = parameters.size, parameters.digits
    stream = HashStream(b"signet/mark-parts/1", parameters.to_bytes())
    part = np.array(stream.sample(range(size), size))[index :: parameters.marks]
    terms = hashlib.sha256(parameters.to_bytes()).digest()
    seeds = [terms + key for key in keys]
    left = np.uint64(len(part)) - np.arange(digits, dtype=np.uint64)
    others = (_words(b"signet/mark-positions/1", seeds, digits) % left).astype(np.int64) + np.arange(digits)
    items = np.tile(part, (len(keys), 1))
    rows = np.arange(len(keys))
    for at in range(digits):  # Fisher and Yates, all keys together
        other = others[:, at]
        items[:, at], items[rows, other] = items[rows, other], items[:, at].copy()
    numbers = _words(b"signet/mark-digits/1", seeds, digits) % np.uint64(BASE)
    return Marks(items[:, :digits], numbers.astype(np.int8))


def _words(domain: bytes, seeds: Sequence[bytes], count: int) -> NDArray[np.uint64]:
    """The first numbers of each seed's stream (B, count)."""
    blocks = -(-count // BLOCK)
    content = b"".join(
        hashlib.shake_256(domain + b"\0" + len(seed).to_bytes(8, "big") + seed + number.to_bytes(8, "big")).digest(
            WORD * BLOCK
        )
        for seed in seeds
        for number in range(blocks)
    )
    words = np.frombuffer(content, dtype=">u8").astype(np.uint64).reshape(len(seeds), blocks * BLOCK)[:, :count]
    assert words.max() < np.uint64(2**64 - 2**16), "rejected words would shift the stream: one word in 2^48"
    return words


@dataclass(frozen=True)
class Reading:
    """What the marks find in one layer as it stands: matches (B,), and the chance of each digit (B, 10)."""

    matches: Ints
    chances: Floats
    counts: Ints  # how often each digit is in each mark (B, 10)

    def take(self, rows: NDArray[np.bool_]) -> "Reading":
        """Some of them."""
        return Reading(self.matches[rows], self.chances[rows], self.counts[rows])

    def score(self) -> Floats:
        """Matches above what is expected, in standard deviations (B,)."""
        mean = (self.chances * self.counts).sum(axis=1)
        variance = (self.chances * (1 - self.chances) * self.counts).sum(axis=1)
        return np.asarray((self.matches - mean) / np.sqrt(variance))

    def tail(self) -> Floats:
        """P(X >= m), X Poisson-binomial, by the discrete Fourier transform; good to about 1e-14 (B,)."""
        size = (int(self.counts[0].sum()) + 1) | 1  # odd: at z = -1 a chance of one half would be log 0
        z = np.exp(2j * np.pi * np.arange(size // 2 + 1) / size)
        p, times = self.chances[:, :, None], self.counts[:, :, None]
        generating = np.exp((times * np.log(1 + p * (z - 1))).sum(axis=1))  # (B, size // 2 + 1)
        mass = np.fft.irfft(generating.conj(), size, axis=1)
        counted = np.arange(size) >= self.matches[:, None]
        return np.asarray(np.clip(np.where(counted, mass, 0.0).sum(axis=1), 0.0, 1.0))


def matching(found: Digits, marks: Marks) -> Ints:
    """How many digits are the ones that belong there (B,).

    `found` are the layer's digits as they stand (size,), -1 where there is none.
    """
    return np.asarray((found[marks.positions] == marks.digits).sum(axis=1))


def read(found: Digits, marks: Marks, null: Sequence[float]) -> Reading:
    """The digits, as `models.evaluation.ownership` reads a suspect as it stands."""
    extracted = found[marks.positions]
    others = _counts(found[None]) - _counts(extracted) + 1  # (B, 10)
    own = others / (len(found) - extracted.shape[1] + BASE)
    chances = np.maximum(np.maximum(own, np.asarray(null)), 1 / BASE)
    return Reading(matching(found, marks), chances, _counts(marks.digits))


def log10_rank_tails(ranks: Ints, marks: Marks) -> Floats:
    """As `models.evaluation.rank_correlation`, of a layer's ranks (size,) -> (B,)."""
    theirs = ranks.astype(np.float32)[marks.positions]
    scores = np.einsum("bn,bn->b", theirs, 2.0 * marks.digits - (BASE - 1), dtype=np.float64)
    squares = np.einsum("bn,bn->b", theirs, theirs, dtype=np.float64)
    return np.asarray(-(np.maximum(scores, 0.0) ** 2) / (2 * VARIANCE * squares) / np.log(10))


def _counts(digits: Digits) -> Ints:
    """(B, n) -> (B, 10)"""
    return np.stack([(digits == digit).sum(axis=1) for digit in range(BASE)], axis=1)
