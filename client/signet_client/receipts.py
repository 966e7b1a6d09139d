"""Session receipts: how a licensee's client knows that it is served the truth.

The gateway seals a few claims under a key that only it and the license file hold, bound to the caller's nonce, the
model and the token. A stranger gets random bytes of the same length. AES-256-GCM; on the wire a receipt is

    base64url( iv (12) || ciphertext (256) || tag (16) ),  no padding: 379 characters
    plaintext = length (2, big-endian) || JSON || zeros, 256 bytes
    associated data = "signet/receipt/1" 0x00 || nonce || 0x00 || model || 0x00 || SHA-256(token)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from signet_client.canonical import from_base64url, from_json, to_base64url, to_json
from signet_client.errors import SessionUnproved

KEY_BYTES = 32
IV_BYTES = 12
NONCE_BYTES = 32
PLAINTEXT_BYTES = 256
CLAIMS_BYTES = PLAINTEXT_BYTES - 2  # most that the claims' JSON can take
RECEIPT_BYTES = IV_BYTES + PLAINTEXT_BYTES + 16  # before base64url; as many random ones for a stranger

CLAIMS = {"license": str, "model": str, "version": int, "issued_at": str, "expires_at": str}


def associated_data(nonce: bytes, model: str, token: str) -> bytes:
    """What a receipt is bound to. The nonce has 32 bytes, so the parts cannot run into one another."""
    return b"signet/receipt/1\0" + nonce + b"\0" + model.encode() + b"\0" + hashlib.sha256(token.encode()).digest()


def seal(key: bytes, nonce: bytes, model: str, token: str, claims: Mapping[str, object], iv: bytes) -> str:
    """Seal the claims `license, model, version, issued_at, expires_at`; the gateway's half.

    Args:
        key: 32 bytes, the license's receipt key.
        nonce: 32 bytes, the caller's.
        iv: 12 bytes, random, never used twice with one key.

    Raises:
        ValueError: a part has the wrong length, claims are missing, or their JSON is longer than 254 bytes.
    """
    if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES or len(iv) != IV_BYTES:
        raise ValueError(
            f"a receipt takes a key of {KEY_BYTES}, a nonce of {NONCE_BYTES} and an iv of {IV_BYTES} bytes"
        )
    if not _complete(claims):
        raise ValueError(f"a receipt's claims are {', '.join(CLAIMS)}")
    text = to_json(dict(claims))
    if len(text) > CLAIMS_BYTES:
        raise ValueError(f"a receipt's claims take at most {CLAIMS_BYTES} bytes, these take {len(text)}")
    plaintext = (len(text).to_bytes(2, "big") + text).ljust(PLAINTEXT_BYTES, b"\0")
    return to_base64url(iv + AESGCM(key).encrypt(iv, plaintext, associated_data(nonce, model, token)))


def open_receipt(key: bytes, nonce: bytes, model: str, token: str, receipt: str) -> dict[str, object]:
    """The claims of a receipt sealed under this key for this nonce, model and token; the client's half.

    Raises:
        SessionUnproved: it was not.
    """
    plaintext = _decrypt(key, associated_data(nonce, model, token), receipt)
    length = int.from_bytes(plaintext[:2], "big")
    text, padding = plaintext[2 : 2 + length], plaintext[2 + length :]
    try:
        claims = from_json(text)
    except ValueError:
        claims = None
    if len(text) != length or any(padding) or not isinstance(claims, dict) or not _complete(claims):
        raise SessionUnproved("its receipt opens but says nothing that can be read")
    if claims["model"] != model:
        raise SessionUnproved("its receipt is for another model")
    return claims


def _decrypt(key: bytes, bound_to: bytes, receipt: str) -> bytes:
    try:
        sealed = from_base64url(receipt)
    except ValueError:
        sealed = b""
    if len(sealed) != RECEIPT_BYTES:
        raise SessionUnproved("its receipt is malformed")
    try:
        return AESGCM(key).decrypt(sealed[:IV_BYTES], sealed[IV_BYTES:], bound_to)
    except InvalidTag:
        raise SessionUnproved from None


def _complete(claims: Mapping[str, object]) -> bool:
    required, given = CLAIMS.keys(), claims.keys() - {"in_grace"}
    in_time = type(claims.get("in_grace", False)) is bool  # past its date, within its grace; absent means no
    return in_time and given == required and all(type(claims[name]) is kind for name, kind in CLAIMS.items())
