"""The owner's secret: 32 bytes from which every mark and the key that signs commitments are derived.

It has a file of its own, apart from the gateway's ring, and never leaves this machine: a server is told a mark's hash,
and in a dispute the one mark key that is opened.
"""

import contextlib
import json
import secrets
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from signet_client.canonical import from_base64url, to_base64url

from service.cli.api import Options, fail
from service.keyring import write_private

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class OwnerSecret:
    """`value` (32 bytes) is what marks are derived from; `repr` does not show it."""

    value: bytes = field(repr=False)

    @property
    def signing_key(self) -> Ed25519PrivateKey:
        """Signs commitments; HKDF-SHA-256 with a label of its own, so that it tells nothing about the marks."""
        hkdf = HKDF(hashes.SHA256(), SECRET_BYTES, salt=None, info=b"signet/commitment-key/1")
        return Ed25519PrivateKey.from_private_bytes(hkdf.derive(self.value))

    @property
    def public_key(self) -> str:
        """base64url."""
        return to_base64url(self.signing_key.public_key().public_bytes_raw())


def secret_of(options: Options, path: Path | None, *, create: bool) -> OwnerSecret:
    """The one in `path`, or in the home."""
    return open_secret(path or options.settings.home / "keys" / "ownership.secret", create=create)


def open_secret(path: Path, *, create: bool) -> OwnerSecret:
    """The secret in `path`; where there is none, `create` says whether to make it. A bad file ends the command."""
    if create and not path.exists():
        document = {"format": 1, "ownership_secret": to_base64url(secrets.token_bytes(SECRET_BYTES))}
        with contextlib.suppress(FileExistsError):  # somebody else's first use was quicker
            write_private(path, json.dumps(document) + "\n", replace=False)
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise fail(f"no owner's secret at {path}: name its file with --secret-file, or put a copy back") from None
    except UnicodeDecodeError:
        text = ""
    if path.stat().st_mode & 0o077:
        raise fail(f"the owner's secret {path} may be read by others; run: chmod 600 {shlex.quote(str(path))}")
    try:
        document = json.loads(text)
        value = from_base64url(document["ownership_secret"])
        if document["format"] != 1 or len(value) != SECRET_BYTES:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise fail(f"{path} holds no owner's secret of format 1; put a copy back in its place") from None
    return OwnerSecret(value)
