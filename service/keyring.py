"""The key ring: root secrets and issuer keys with ids, in one 0600 file under the gateway's home.

Everything secret is derived from a root by HKDF-SHA-256 with a label of its own, so that one purpose never learns the
key of another. Rotation adds a root and makes it the active one; older roots stay, because tokens, digests and receipt
keys say which root they hang on.
"""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ROOT_BYTES = 32


class KeyRingError(Exception):
    """The ring's file is missing, unreadable or not a key ring."""


@dataclass(frozen=True)
class KeyRing:
    """Roots and issuer keys by id; the active one of each makes what is new."""

    roots: Mapping[str, bytes] = field(repr=False)
    active_root: str
    issuers: Mapping[str, Ed25519PrivateKey] = field(repr=False)
    active_issuer: str

    @classmethod
    def generate(cls) -> "KeyRing":
        """A ring with one root and one issuer key."""
        root, issuer = _key_id("root"), _key_id("iss")
        return cls({root: secrets.token_bytes(ROOT_BYTES)}, root, {issuer: Ed25519PrivateKey.generate()}, issuer)

    def rotated(self) -> "KeyRing":
        """The same ring with a new active root and a new active issuer key; what exists stays valid."""
        fresh = self.generate()
        return KeyRing(
            {**self.roots, **fresh.roots}, fresh.active_root, {**self.issuers, **fresh.issuers}, fresh.active_issuer
        )

    def derive(self, purpose: str, *context: bytes, root: str | None = None) -> bytes:
        """32 bytes for one purpose: HKDF(root, info = "signet/<purpose>/1" | length-prefixed context)."""
        info = f"signet/{purpose}/1".encode() + b"".join(len(part).to_bytes(4, "big") + part for part in context)
        return _hkdf(self.roots[root or self.active_root], info)

    @cached_property
    def peppers(self) -> dict[str, bytes]:
        """What credentials are hashed with, by root: wanted at every request, so derived once."""
        return {root: self.derive("pepper", root=root) for root in self.roots}

    @property
    def oldest_root(self) -> str:
        """The root for what must never change: rotation appends, so the first stays the first."""
        return next(iter(self.roots))

    @property
    def issuer(self) -> Ed25519PrivateKey:
        """The key that signs licenses and manifests now."""
        return self.issuers[self.active_issuer]

    def public_keys(self) -> dict[str, Ed25519PublicKey]:
        """Every issuer key's public half, by key id."""
        return {kid: private.public_key() for kid, private in self.issuers.items()}

    def to_json(self) -> str:
        """The ring with its secrets, for the 0600 file and for backups."""
        document = {
            "format": 1,
            "active_root": self.active_root,
            "roots": {kid: _encode(secret) for kid, secret in self.roots.items()},
            "active_issuer": self.active_issuer,
            "issuers": {kid: _encode(private.private_bytes_raw()) for kid, private in self.issuers.items()},
        }
        return json.dumps(document, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "KeyRing":
        """The ring in `text`.

        Raises:
            KeyRingError: `text` is not a key ring of this format.
        """
        try:
            document = json.loads(text)
            ring = cls(
                {kid: _decode(secret) for kid, secret in document["roots"].items()},
                document["active_root"],
                {kid: Ed25519PrivateKey.from_private_bytes(_decode(raw)) for kid, raw in document["issuers"].items()},
                document["active_issuer"],
            )
            complete = ring.active_root in ring.roots and ring.active_issuer in ring.issuers
            if document["format"] != 1 or not complete or any(len(root) != ROOT_BYTES for root in ring.roots.values()):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise KeyRingError("not a Signet key ring of format 1") from None
        return ring


def open_ring(path: Path, *, create: bool) -> KeyRing:
    """The ring at `path`; made first if it is missing and `create` says so.

    Raises:
        KeyRingError: missing, unreadable, or others may read it.
    """
    if not path.exists() and create:
        write_private(path, KeyRing.generate().to_json())
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise KeyRingError(f"cannot read the key ring {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KeyRingError("not a Signet key ring of format 1") from None
    if path.stat().st_mode & 0o077:
        raise KeyRingError(f"the key ring {path} may be read by others; run: chmod 600 {path}")
    return KeyRing.from_json(text)


def write_private(path: Path, text: str) -> None:
    """Write a secret: directory 0700, file 0600, replaced in one step."""
    _make_private(path.parent)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _make_private(folder: Path) -> None:
    """`mkdir -p` whose every new folder is 0700; Path.mkdir leaves the ones in between open to others."""
    if not folder.exists():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def public_key_document(keys: Mapping[str, Ed25519PublicKey]) -> dict[str, list[dict[str, str]]]:
    """What `/.well-known/signet-keys.json` and `issuer.pub` say."""
    return {
        "keys": [
            {"kid": kid, "public_key": _encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}
            for kid, key in keys.items()
        ]
    }


def _hkdf(root: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(root)


def _key_id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(4)}"


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
