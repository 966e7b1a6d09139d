"""Session tokens: AES-256-GCM-sealed and opaque, of one length for everybody.

Inside: the 16 bytes of a license id (random ones for a stranger), the generation of the credential that was shown, so
that a session ends with it, and the expiry. The root's id stands outside, so that
tokens survive a rotation; the model is associated data, so a token opens for its own model only.
"""

import secrets
import struct
from datetime import UTC, datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from signet_client.canonical import from_base64url, to_base64url

from service.keyring import KeyRing

LICENSE_BYTES = 16
_ROOT_BYTES, _IV_BYTES, _TAG_BYTES = 4, 12, 16
_INSIDE = struct.Struct(f">{LICENSE_BYTES}sIQ")
_LENGTH = _ROOT_BYTES + _IV_BYTES + _INSIDE.size + _TAG_BYTES


class TokenSealer:
    """Seals and opens tokens with keys derived from the ring's roots."""

    def __init__(self, ring: KeyRing) -> None:
        self._active = bytes.fromhex(ring.active_root.rpartition("-")[2])
        self._keys = {
            bytes.fromhex(root.rpartition("-")[2]): AESGCM(ring.derive("session", root=root)) for root in ring.roots
        }

    def seal(self, license_key: bytes, generation: int, model_id: str, expires_at: datetime) -> str:
        """A token for the license with these 16 bytes, bought with its credential of this generation."""
        iv = secrets.token_bytes(_IV_BYTES)
        plaintext = _INSIDE.pack(license_key, generation, int(expires_at.timestamp()))
        sealed = self._keys[self._active].encrypt(iv, plaintext, _bound_to(model_id))
        return to_base64url(self._active + iv + sealed)

    def open(self, token: str, model_id: str, now: datetime) -> tuple[bytes, int] | None:
        """The license's 16 bytes and the generation, or None: damaged, another model's, or past its time."""
        try:
            raw = from_base64url(token)
        except ValueError:
            return None
        key = self._keys.get(raw[:_ROOT_BYTES])
        if key is None or len(raw) != _LENGTH:
            return None
        iv, sealed = raw[_ROOT_BYTES : _ROOT_BYTES + _IV_BYTES], raw[_ROOT_BYTES + _IV_BYTES :]
        try:
            plaintext = key.decrypt(iv, sealed, _bound_to(model_id))
        except InvalidTag:
            return None
        license_key, generation, expiry = _INSIDE.unpack(plaintext)
        return (license_key, generation) if now < datetime.fromtimestamp(expiry, UTC) else None


def _bound_to(model_id: str) -> bytes:
    return b"signet/session/1" + model_id.encode()
