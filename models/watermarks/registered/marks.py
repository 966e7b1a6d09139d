"""From the owner's secret to marks: keys by HKDF, positions and digits from each key's own stream of numbers.

secret --HKDF, terms, i--> mark key i --stream, terms--> n positions in part i of the layer, n digits

The layer's weights are dealt to the marks beforehand by a public shuffle, so that no two marks want the same weight
and none tells anything about another: to open one is to give away one key. The terms hold a random nonce, so no key is
of use twice, not even for the same model in another registry. And every stream starts from all of the terms: whoever
tries map after map, or layer after layer, for some that fit a network draws new digits with each, one hash at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

import torch
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from torch import Tensor

from models.errors import WatermarkError
from models.watermarks.digit_map import BASE
from models.watermarks.registered.parameters import MarkParameters
from models.watermarks.registered.stream import HashStream
from models.watermarks.regularizer import DigitRegularizer

SECRET = KEY = 32  # bytes


@dataclass(frozen=True)
class Mark:
    """Mark `index`: flat positions in the layer's weight, int64 (n,), and the digits that belong there, int64 (n,)."""

    index: int
    key: bytes = field(repr=False)
    positions: Tensor = field(repr=False)
    digits: Tensor = field(repr=False)


def mark_key(secret: bytes, parameters: MarkParameters, index: int) -> bytes:
    """HKDF-SHA-256 of the owner's 32 bytes for these terms; WatermarkError naming `secret` for another length."""
    if len(secret) != SECRET:
        raise WatermarkError("secret", f"must be {SECRET} bytes")
    info = b"signet/mark/1|%s|%d" % (sha256(parameters.to_bytes()).digest(), index)
    return HKDF(SHA256(), length=KEY, salt=None, info=info).derive(secret)


def open_mark(parameters: MarkParameters, index: int, key: bytes) -> Mark:
    """The mark that a key stands for; WatermarkError naming `mark` (no such index) or `mark_key` (not 32 bytes)."""
    if not 0 <= index < parameters.marks:
        raise WatermarkError("mark", f"must be from 0 to {parameters.marks - 1}")
    if len(key) != KEY:
        raise WatermarkError("mark_key", f"must be {KEY} bytes")
    part = _shuffled(parameters.to_bytes(), parameters.size)[index :: parameters.marks]
    seed = sha256(parameters.to_bytes()).digest() + key
    positions = HashStream(b"signet/mark-positions/1", seed).sample(part, parameters.digits)
    stream = HashStream(b"signet/mark-digits/1", seed)
    digits = [stream.below(BASE) for _ in positions]
    return Mark(index, key, torch.tensor(positions), torch.tensor(digits))


def derive_marks(secret: bytes, parameters: MarkParameters) -> tuple[Mark, ...]:
    """All of an owner's marks on these terms."""
    return tuple(open_mark(parameters, index, mark_key(secret, parameters, index)) for index in range(parameters.marks))


def regularizer(parameters: MarkParameters, marks: Sequence[Mark], strength: float) -> DigitRegularizer:
    """ActiveGuard's Eq. (4) over the digits of all these marks, on the layer's weights themselves."""
    positions, digits = together(marks)
    return DigitRegularizer(parameters.layer, positions, digits, parameters.digit_map, strength)


def together(marks: Sequence[Mark]) -> tuple[Tensor, Tensor]:
    """Positions and digits of several marks, one after the other."""
    return torch.cat([mark.positions for mark in marks]), torch.cat([mark.digits for mark in marks])


@lru_cache(maxsize=2)  # a large layer's takes hundreds of megabytes
def _shuffled(parameters: bytes, size: int) -> tuple[int, ...]:
    return tuple(HashStream(b"signet/mark-parts/1", parameters).sample(range(size), size))
