"""The license file: what a licensee is handed, signed by the issuer. The gateway writes it, the client reads it.

    -----BEGIN SIGNET LICENSE-----
    Version: 1
    Key-Id: <issuer key id>

    <base64 of (64-byte Ed25519 signature || payload), 64 characters a line>
    -----END SIGNET LICENSE-----

The payload is canonical JSON (`canonical.to_json`; integers, no fractions); the signature is over
"signet-license/1\\n" || key id || "\\n" || payload. One license has one spelling: what `encode` would not have written,
down to a line end, is refused.
"""

from __future__ import annotations

import base64
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from signet_client import license_payload
from signet_client.credentials import Credential, FingerprintCredential, KeyCredential, SerialNumberCredential
from signet_client.errors import LicenseFileInvalid, UntrustedIssuer
from signet_client.license_payload import Customer, LicenseFile, LicenseSummary
from signet_client.trust import TrustAnchor

__all__ = [
    "BEGIN",
    "SIZE_LIMIT",
    "Credential",
    "Customer",
    "FingerprintCredential",
    "KeyCredential",
    "LicenseFile",
    "LicenseSummary",
    "SerialNumberCredential",
    "decode",
    "encode",
]

BEGIN = "-----BEGIN SIGNET LICENSE-----"
END = "-----END SIGNET LICENSE-----"
VERSION = "Version: 1"
KEY_ID = "Key-Id: "
SIZE_LIMIT = 1 << 22  # bytes of text
LINE = 64  # characters
SIGNATURE = 64  # bytes


def encode(license_file: LicenseFile, key_id: str, private_key: Ed25519PrivateKey) -> str:
    """Sign a license and write it down.

    Raises:
        LicenseFileInvalid: a field, or the key id, is one that `decode` would refuse.
    """
    if not _is_key_id(key_id):
        raise LicenseFileInvalid("Key-Id", "is not 1 to 128 letters, digits, dots, hyphens or underscores")
    payload = license_payload.write(license_file)
    text = _armor(key_id, private_key.sign(_signed(key_id, payload)) + payload)
    if len(text) > SIZE_LIMIT:
        raise LicenseFileInvalid("file", f"is larger than {SIZE_LIMIT} bytes")
    return text


def decode(text: str | bytes, trust: TrustAnchor) -> LicenseFile:
    """Read a license file that a trusted issuer signed.

    (1) size and character set; (2) the frame, in its one spelling; (3) an issuer that `trust` holds; (4) the signature;
    (5) the payload, in its one spelling.

    Raises:
        LicenseFileInvalid: `field` is `file` at (1), `frame`, `Version` or `Key-Id` at (2), `signature` at (4), the
            name of the field or `payload` at (5).
        UntrustedIssuer: at (3).
    """
    key_id, sealed = _unframe(_ascii(text))  # (1) (2)
    if key_id not in trust:  # (3)
        raise UntrustedIssuer(key_id)
    signature, payload = sealed[:SIGNATURE], sealed[SIGNATURE:]
    try:
        trust[key_id].verify(signature, _signed(key_id, payload))  # (4)
    except InvalidSignature:
        raise LicenseFileInvalid("signature", "does not match: the file was altered") from None
    return license_payload.read(payload)  # (5)


def _signed(key_id: str, payload: bytes) -> bytes:
    return b"signet-license/1\n" + key_id.encode() + b"\n" + payload


def _armor(key_id: str, sealed: bytes) -> str:
    body = base64.b64encode(sealed).decode()
    lines = [body[start : start + LINE] for start in range(0, len(body), LINE)]
    return "\n".join([BEGIN, VERSION, KEY_ID + key_id, "", *lines, END, ""])


def _ascii(text: str | bytes) -> str:
    if len(text) > SIZE_LIMIT:
        raise LicenseFileInvalid("file", f"is larger than {SIZE_LIMIT} bytes")
    if not text.isascii():
        raise LicenseFileInvalid("file", "holds characters that no license file has")
    return text if isinstance(text, str) else text.decode("ascii")


def _unframe(text: str) -> tuple[str, bytes]:
    """Key id and signature || payload."""
    lines = text.split("\n")
    if len(lines) < 6 or lines[0] != BEGIN or lines[3] or lines[-2:] != [END, ""]:
        raise LicenseFileInvalid("frame", f"does not run from {BEGIN} to {END} and one line end")
    if lines[1] != VERSION:
        raise LicenseFileInvalid("Version", "is not 1; a newer client may read it")
    key_id = lines[2].removeprefix(KEY_ID)
    if not lines[2].startswith(KEY_ID) or not _is_key_id(key_id):
        raise LicenseFileInvalid("Key-Id", "is missing or malformed")
    try:
        sealed = base64.b64decode("".join(lines[4:-2]), validate=True)
    except ValueError:
        sealed = b""
    if len(sealed) <= SIGNATURE or _armor(key_id, sealed) != text:
        raise LicenseFileInvalid("frame", f"is not base64 in lines of {LINE} characters, and nothing else")
    return key_id, sealed


def _is_key_id(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9._-]{1,128}", text) is not None
