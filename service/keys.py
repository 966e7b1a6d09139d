"""Mint, recognise and hash keys: `sgn_<id>.<secret><checksum>` for licensees, `sga_...` for administrators.

A key is shown once and stored as a keyed hash. The prefix and the checksum let a leaked one be recognised, and spare a
look-up for what cannot be one.
"""

import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass
from typing import Literal, Self

from service.keyring import KeyRing

Kind = Literal["sgn", "sga"]
_ALPHABET = string.digits + string.ascii_letters
_SECRET_LENGTH, _CHECKSUM_LENGTH, _ID_LENGTH = 43, 6, 12  # 43 base-62 digits are 256 bits
_SHAPE = re.compile(
    rf"(sgn|sga)_([0-9a-f]{{{_ID_LENGTH}}})\.([0-9A-Za-z]{{{_SECRET_LENGTH}}})([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})"
)
KEY_PATTERN = re.compile(r"sg[na]_[0-9a-f]{12}\.[0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Key:
    """A key in the clear. Only its text is secret; `repr` shows its end."""

    text: str
    kind: str
    public_id: str

    @classmethod
    def mint(cls, kind: Kind) -> Self:
        """A new key with 256 random bits."""
        public_id = secrets.token_hex(_ID_LENGTH // 2)
        secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
        body = f"{kind}_{public_id}.{secret}"
        return cls(body + _checksum(body), kind, public_id)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The key in `text`, or None when the form or the checksum is off."""
        match = _SHAPE.fullmatch(text)
        if match is None or not hmac.compare_digest(_checksum(text[:-_CHECKSUM_LENGTH]), match[4]):
            return None
        return cls(text, match[1], match[2])

    def __repr__(self) -> str:
        return f"Key({self.kind}_{self.public_id}.…{self.text[-4:]})"


def keyed_digest(ring: KeyRing, root: str, kind: str, *parts: bytes) -> bytes:
    """HMAC-SHA-256(pepper[root], "signet/<kind>/1" | length-prefixed parts): what is stored of a credential."""
    message = f"signet/{kind}/1".encode() + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(ring.peppers[root], message, "sha256")


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    while len(digits) < _CHECKSUM_LENGTH:
        number, remainder = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[remainder] + digits
    return digits
