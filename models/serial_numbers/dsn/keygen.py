"""Numbers that inputs do not show by themselves: MNIST's black corner reads 000..., which would open for everyone."""

from __future__ import annotations

from dataclasses import replace

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch import Tensor

from models.errors import SerialNumberError
from models.serial_numbers.dsn.stamp import Stamp
from models.serial_numbers.dsn.statement import PAPER_BITS, Statement, number, sign

NEAR = 0.25  # of the bits
ATTEMPTS = 100


def keygen(key: Ed25519PrivateKey, statement: Statement, stamp: Stamp, calibration: Tensor) -> tuple[Statement, bytes]:
    """The statement, with its attempts counted up from where it is until its number is far from all inputs, and its
    signature.

    `calibration` holds raw-range inputs (N, C, H, W). The paper's nine bits are kept to as well. Raises
    SerialNumberError naming `bits` when a hundred numbers were all too near: the layout shows too much of the images.
    """
    shown = torch.unique(stamp.shows(calibration), dim=0)  # (M, n)
    for attempt in range(statement.attempt, statement.attempt + ATTEMPTS):
        tried = replace(statement, attempt=attempt)
        signature = sign(key, tried)
        if not near(number(signature, stamp.layout.bits), shown):
            return tried, signature
    advice = "more bits" if stamp.layout.bits != PAPER_BITS else "another layout"
    raise SerialNumberError("bits", f"every number is within a quarter of what inputs show anyway: take {advice}")


def near(bits: Tensor, shown: Tensor) -> bool:
    """Whether a number (n,) is within a quarter of its bits of any of the patterns (M, n)."""
    apart = (bits[None] != shown).sum(dim=1)
    return bool((apart <= NEAR * len(bits)).any())
