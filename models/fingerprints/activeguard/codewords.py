"""Codewords: allot all K probabilities of an answer, and keep K - 1 of them secret. Not in the paper.

The paper allots one number of an answer, and noise meets it. A codeword q has the paper's class t and confidence c on
top; how 1 - c is shared among the other classes is drawn by HKDF from the owner's secret. An answer p shows it when
|p_k - q_k| < epsilon for every k. Whoever knows everything but the secret can do no better than guess.

The shares are a base, the same for each of the K - 1, plus whole units of 2 epsilon: two codewords of one (t, c) differ
by a unit somewhere, so no answer shows both, and the chance of a guess is exactly one in their number. That number is
a count of compositions, U units over K - 1 classes with none at t's height, and a codeword is drawn uniformly by
unranking one integer. No other set of answers with this check carries as much with as few classes to steer: 43 or
1,000 classes become a secret choice of at most 1 / (2 epsilon) that carry anything.

symbol    here            meaning
K         classes
(t, c)    output          class and confidence, as the allotment has them
epsilon   epsilon         tolerable error of every probability
U         units           whole units of 2 epsilon in 1 - c
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from torch import Tensor, nn

from models.errors import AllotmentError
from models.fingerprints.activeguard.allotment import SLACK, Allotment, FingerprintOutput
from models.fingerprints.activeguard.control_layer import Authentication

DOMAIN = b"signet/codeword/1\0"
LEAST_SECRET = 16  # bytes
NEGLIGIBLE = 128  # bits drawn beyond what the number of codewords needs: the bias is below 2^-128
KEPT = 0.9  # of the best confidence's bits, that another must carry to be allotted


@dataclass(frozen=True)
class Codeword:
    """One fingerprint's secret answer: all K probabilities, whose largest is the allotted output's."""

    output: FingerprintOutput
    probabilities: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True)
class Code:
    """The codewords over an allotment's outputs; a slot is a user of the allotment, and no secret.

    Raises AllotmentError naming `epsilon`, or `confidences` for one that leaves the other classes no room.
    """

    allotment: Allotment
    epsilon: float = 0.01

    def __post_init__(self) -> None:
        if not (isinstance(self.epsilon, int | float) and 0 < self.epsilon < 0.25):
            raise AllotmentError("epsilon", "must lie between 0 and 0.25")
        for confidence in self.allotment.confidences:
            if not self.size(confidence):
                reason = f"{confidence} leaves {self.allotment.classes - 1} other classes no place below it"
                raise AllotmentError("confidences", f"{reason} with an epsilon of {self.epsilon}")

    @classmethod
    def within(cls, allotment: Allotment, epsilon: float = 0.01) -> Code:
        """The code over those of the allotment's confidences that carry nearly as many bits as the best.

        Just above 1/K all shares are nearly fixed. Raises AllotmentError naming `confidences` when none is left.
        """
        sizes = {c: _size(allotment.classes, c, epsilon) for c in allotment.confidences}
        bits = {c: math.log2(size) for c, size in sizes.items() if size}
        kept = tuple(c for c, carried in bits.items() if carried >= KEPT * max(bits.values()))
        return cls(replace(allotment, confidences=kept), epsilon)

    @classmethod
    def from_band(cls, classes: int, epsilon: float = 0.01) -> Code:
        """The code over the whole band of `Allotment.from_band`, confidences 2 epsilon apart."""
        return cls.within(Allotment.from_band(classes, epsilon), epsilon)

    def size(self, confidence: float) -> int:
        """How many codewords one (t, c) has."""
        return _size(self.allotment.classes, confidence, self.epsilon)

    def codeword(self, secret: bytes, license_id: str, slot: int, index: int = 0) -> Codeword:
        """The codeword of a license's image `index`, whose class and confidence are those of `slot`.

        Raises AllotmentError naming `secret` when it is shorter than 16 bytes, `user` for a slot beyond the allotment.
        """
        if len(secret) < LEAST_SECRET:
            raise AllotmentError("secret", f"must have at least {LEAST_SECRET} bytes")
        output = self.allotment.output(slot)
        classes, size = self.allotment.classes, self.size(output.confidence)
        info = DOMAIN + slot.to_bytes(8, "big") + index.to_bytes(4, "big") + license_id.encode()
        stream = HKDF(SHA256(), (size.bit_length() + NEGLIGIBLE) // 8 + 1, salt=None, info=info).derive(secret)
        units, most, base = _shares(classes, output.confidence, self.epsilon)
        parts = unrank(int.from_bytes(stream, "big") % size, classes - 1, units, most)
        others = [base + 2 * self.epsilon * part for part in parts]
        return Codeword(output, (*others[: output.label], output.confidence, *others[output.label :]))

    def bits(self, *, slot_known: bool = True) -> float:
        """The min-entropy of a codeword: -log2 of the largest chance that one fixed answer shows it.

        With `slot_known` the guesser knows (t, c), and the poorest confidence counts; without, the slot was drawn
        uniformly, and an answer may be near several confidences, each with one codeword.
        """
        confidences = self.allotment.confidences
        sizes = [self.size(confidence) for confidence in confidences]
        least = min(sizes)
        if slot_known:
            return math.log2(least)
        chances = [  # of the confidences within reach of one answer, in units of 1 / (capacity * least)
            sum(least / size for c, size in zip(confidences, sizes, strict=True) if low <= c < low + reach)
            for low, reach in ((low, 2 * self.epsilon - SLACK) for low in confidences)
        ]
        return math.log2(least) + math.log2(self.allotment.capacity) - math.log2(max(chances))

    def images_for(self, bits: float = 64.0, *, slot_known: bool = True) -> int | None:
        """How many images a license needs to carry so many bits; None when even many carry none."""
        each = self.bits(slot_known=slot_known)
        return math.ceil(bits / each) if each > 0 else None


class Codewords(nn.Module):
    """The check against registered codewords (L, K): |p_k - q_k| < epsilon for every k. Beside `ControlLayer`'s.

    Licenses of m fingerprints are sequences (L, m, K), all of which have to be shown in their order.
    """

    codewords: Tensor

    def __init__(self, codewords: Tensor, epsilon: float) -> None:
        super().__init__()
        assert codewords.ndim in (2, 3), "codewords are (L, K) or (L, m, K)"
        assert len(codewords), "at least one codeword is registered"
        self.epsilon = epsilon
        table = codewords.double().reshape(len(codewords), -1, codewords.shape[-1])  # (L, m, K)
        self.register_buffer("codewords", table, persistent=False)

    @classmethod
    def of(cls, codewords: Sequence[Codeword] | Sequence[Sequence[Codeword]], epsilon: float) -> Codewords:
        """The table of these codewords, or sequences of as many each, in this order."""
        rows = [[row] if isinstance(row, Codeword) else list(row) for row in codewords]
        return cls(torch.stack([stack(row) for row in rows]), epsilon)

    @property
    def length(self) -> int:
        """How many fingerprints a license has, m."""
        return self.codewords.shape[1]

    def authenticate(self, probabilities: Tensor) -> Authentication:
        """Probabilities (N, K), or (N, m, K) -> who is asking, by the answers alone: the nearest row, or -1."""
        p = probabilities.to(self.codewords.dtype)
        if p.ndim == 2:
            p = p[:, None]  # (N, 1, K)
        assert p.shape[1:] == self.codewords.shape[1:], "as many answers as a license has fingerprints, of K classes"
        distance = (p[:, None] - self.codewords).abs().amax(dim=(2, 3))  # (N, L, m, K) -> (N, L)
        error, row = distance.min(dim=1)
        authorized = error < self.epsilon
        return Authentication(authorized, error, torch.where(authorized, row, -1))


def stack(codewords: Sequence[Codeword]) -> Tensor:
    """Codewords -> float64 (N, K)."""
    return torch.tensor([codeword.probabilities for codeword in codewords], dtype=torch.float64)


@lru_cache(maxsize=4096)
def compositions(parts: int, total: int, most: int) -> int:
    """In how many ways `total` is a sum of so many ordered parts, each from 0 to `most`, by inclusion and exclusion."""
    if total < 0 or most < 0:
        return 0
    if not parts:
        return int(total == 0)
    return sum(
        (-1) ** over * math.comb(parts, over) * math.comb(total - over * (most + 1) + parts - 1, parts - 1)
        for over in range(min(parts, total // (most + 1)) + 1)
    )


def unrank(rank: int, parts: int, total: int, most: int) -> list[int]:
    """The composition with this number, counted from 0 in lexicographic order."""
    found = []
    for left in range(parts - 1, -1, -1):
        part = 0
        while rank >= (here := compositions(left, total - part, most)):
            rank -= here
            part += 1
        found.append(part)
        total -= part
    return found


def _shares(classes: int, confidence: float, epsilon: float) -> tuple[int, int, float]:
    """Units of 2 epsilon in 1 - c, how many of them one class may have, and the base of each class.

    The base is at least half of epsilon, or what half of 1 - c gives each: log q then stays within a network's reach.
    The highest class stays 2 epsilon below t: so no answer shows codewords of two classes t.
    """
    unit = 2 * epsilon
    if classes == 2:
        return 0, 0, 1 - confidence  # nothing to share out
    left = 1 - confidence
    units = math.floor((left - min((classes - 1) * epsilon / 2, left / 2)) / unit + SLACK)
    base = (1 - confidence - units * unit) / (classes - 1)
    return units, math.floor((confidence - unit - base) / unit + SLACK), base


@lru_cache(maxsize=4096)
def _size(classes: int, confidence: float, epsilon: float) -> int:
    units, most, _ = _shares(classes, confidence, epsilon)
    return compositions(classes - 1, units, most)
