"""Serial numbers as the issuer signs them: made once, and made again whenever one is wanted. None is ever kept."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.checkpoints import Manifest
from models.errors import SerialNumberError
from models.serial_numbers.dsn import Policy, Stamp, Statement, keygen, number, sign
from models.specs import InputSpec
from service.clock import rfc3339
from service.errors import Conflict
from service.keyring import KeyRing

_FIRST_ATTEMPTS = 2**48  # with the attempts after it a whole number to every JSON reader


@dataclass(frozen=True, slots=True)
class SerialNumber:
    """Bits (n,), the statement that they were derived from, and the key that signed it."""

    statement: bytes
    issuer_key_id: str
    bits: NDArray[np.bool_] = field(repr=False)


def policy_of(manifest: Manifest) -> Policy:
    """How a version makes students.

    Raises:
        Conflict: it does not.
    """
    if manifest.serial_numbers is None:
        raise Conflict(
            "credential",
            "this version has no teacher set up for serial numbers; add a version with a distillation set: "
            "`signet model protect NAME --serial-numbers`, or `signet model pack ... --distillation FILE`",
        )
    return Policy.from_dict(manifest.serial_numbers)


def make(
    ring: KeyRing, customer: str, model: str, moment: datetime, stamp: Stamp, calibration: torch.Tensor
) -> SerialNumber:
    """A fresh number for a customer, which calibration inputs (N, C, H, W) do not show by themselves.

    Raises:
        Conflict: the layout shows too much of the images.
    """
    # One that is made within the second of another, or after the clock was set back, is to be another all the same.
    first = secrets.randbelow(_FIRST_ATTEMPTS)
    statement = Statement(ring.active_issuer, customer, model, rfc3339(moment), first)
    try:
        signed, signature = keygen(ring.issuer, statement, stamp, calibration)
    except SerialNumberError as error:
        raise Conflict("credential", f"no serial number can be made: {error.message}") from None
    bits = number(signature, stamp.layout.bits).numpy()
    return SerialNumber(signed.to_bytes(), ring.active_issuer, bits)


def again(ring: KeyRing, statement: bytes, issuer_key_id: str, bits: int) -> SerialNumber:
    """The number of a statement that was made before: Ed25519 signs it in the same way each time.

    Raises:
        Conflict: the ring has that key no more.
    """
    key = ring.issuers.get(issuer_key_id)
    if key is None:
        raise Conflict("credential", f"the key ring has no issuer key {issuer_key_id} any more; restore a backup of it")
    signature = sign(key, Statement.from_bytes(statement))
    return SerialNumber(statement, issuer_key_id, number(signature, bits).numpy())


def mark_key(ring: KeyRing, student_id: str) -> bytes:
    """What a student's mark is drawn from (`models.watermarks.signs`): never kept, the same as long as the ring is."""
    return ring.derive("student-mark", student_id.encode(), root=ring.oldest_root)


def plan(layout_of: Policy, input_spec: InputSpec, bits: NDArray[np.bool_]) -> NDArray[Any]:
    """What stamping does, as data: int32 (H, W), each pixel's source p, -1 black, -2 white, -3 - p inverted."""
    return layout_of.stamp(input_spec).plan(torch.from_numpy(bits)).numpy().astype("<i4")
