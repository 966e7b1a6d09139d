"""Serial numbers from the owner's signature: Tang et al., "Deep Serial Number", arXiv:2011.08960, section 2.2.

paper                    here
v, the known versifiers  Statement: owner, customer, model, time
Encrypt(O_pri, v) = sig  Ed25519 over the canonical statement
K, from sig              number(sig, n): HKDF-SHA-256, n bits

The signature is the secret: who has it has the number. Who has the statement and the public key besides can check that
the number is this customer's; evidence that shows the signature therefore gives the number away, and it is rotated.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

import numpy as np
import torch
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from torch import Tensor

from models.errors import SerialNumberError

DOMAIN = b"signet-serial-number/1\n"
LEAST_BITS, MOST_BITS = 64, 8 * 255 * 32  # what a guess is hopeless against; what HKDF-SHA-256 gives
PAPER_BITS = 9  # 3 x 3: 512 numbers, for experiments only
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Statement:
    """What the owner signs: names as printable text of at most 200 characters, `issued_at` as 2027-01-15T12:00:00Z.

    `attempt` tells numbers of one moment apart; `keygen` counts it up past those that are too near to what inputs show
    by themselves. Raises SerialNumberError naming the field.
    """

    owner: str
    customer: str
    model: str
    issued_at: str
    attempt: int = 0

    def __post_init__(self) -> None:
        for name in ("owner", "customer", "model"):
            value = getattr(self, name)
            if not (isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()):
                raise SerialNumberError(name, "must be a printable text of at most 200 characters")
        if type(self.attempt) is not int or self.attempt < 0:
            raise SerialNumberError("attempt", "must be a whole number from 0")
        self.moment  # noqa: B018 - raises where it is none

    @property
    def moment(self) -> datetime:
        """`issued_at`, in UTC."""
        text = self.issued_at
        if isinstance(text, str) and MOMENT.fullmatch(text):
            try:
                return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            except ValueError:
                pass
        raise SerialNumberError("issued_at", "must be a moment in UTC such as 2027-01-15T12:00:00Z")

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, UTF-8."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Statement:
        """Canonical bytes with exactly the known fields; raises SerialNumberError naming what is not right."""
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            raise SerialNumberError("statement", "is not JSON") from None
        names = {field.name for field in fields(cls)}
        if not isinstance(content, dict) or set(content) != names:
            raise SerialNumberError("statement", f"must be an object of {', '.join(sorted(names))}")
        statement = cls(**content)
        if statement.to_bytes() != data:
            raise SerialNumberError("statement", "is not in canonical form")
        return statement


def sign(key: Ed25519PrivateKey, statement: Statement) -> bytes:
    """sig, 64 bytes; the same key and statement give the same one."""
    return key.sign(DOMAIN + statement.to_bytes())


def number(signature: bytes, bits: int) -> Tensor:
    """The serial number that a signature stands for: bool (n,).

    Raises SerialNumberError naming `signature`, or `bits` when it is neither 64 or more nor the paper's 9.
    """
    if len(signature) != 64:
        raise SerialNumberError("signature", "must be 64 bytes")
    if type(bits) is not int or not (LEAST_BITS <= bits <= MOST_BITS or bits == PAPER_BITS):
        raise SerialNumberError("bits", f"must be from {LEAST_BITS} to {MOST_BITS}, or the paper's {PAPER_BITS}")
    derived = HKDF(SHA256(), length=-(-bits // 8), salt=None, info=b"signet/serial-number/1|%d" % bits).derive(
        signature
    )
    return torch.from_numpy(np.unpackbits(np.frombuffer(derived, dtype=np.uint8))[:bits].astype(np.bool_))


def belongs(statement: Statement, signature: bytes, public_key: bytes, found: Tensor) -> bool:
    """Whether a number (n,) is the one that this owner made for this statement.

    Raises SerialNumberError naming `public_key` when it is no Ed25519 key, or as `number` does.
    """
    expected = number(signature, len(found))
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError:
        raise SerialNumberError("public_key", "is not an Ed25519 public key of 32 bytes") from None
    try:
        key.verify(signature, DOMAIN + statement.to_bytes())
    except InvalidSignature:
        return False
    return bool(torch.equal(expected, found.bool().cpu()))
