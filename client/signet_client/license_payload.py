"""What a license file says, as a value and as the canonical JSON that is signed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from signet_client.canonical import from_json, to_base64url, to_json, to_time
from signet_client.credentials import Credential, read_credential, write_credential
from signet_client.errors import LicenseFileInvalid
from signet_client.payload_fields import (
    LARGEST_INTEGER,
    read_bytes,
    read_integer,
    read_mapping,
    read_only,
    read_optional,
    read_text,
    read_time,
)

FORMAT = 1
RECEIPT_KEY_BYTES = 32
DEEPEST = 8  # levels of nesting in the entitlements


@dataclass(frozen=True)
class Customer:
    """Who the license was issued to."""

    id: str
    name: str


@dataclass(frozen=True)
class LicenseSummary:
    """What may be shown of a license: everything but its secrets. Times are in UTC, None means unlimited."""

    license: str
    customer: Customer
    model: str
    version: int
    issued_at: datetime
    not_before: datetime | None
    expires_at: datetime | None
    entitlements: Mapping[str, object]
    server: str


@dataclass(frozen=True, kw_only=True)
class LicenseFile:
    """A license with its credential. `repr` shows neither the receipt key (32 bytes) nor the credential.

    Times are aware, in whole seconds. The entitlements are JSON: text, integers, truth values, null, lists, objects.
    """

    license: str
    issued_at: datetime
    customer: Customer
    model: str
    version: int
    not_before: datetime | None
    expires_at: datetime | None
    entitlements: Mapping[str, object]
    receipt_key: bytes = field(repr=False)
    generation: int
    credential: Credential = field(repr=False)
    server: str

    def summary(self) -> LicenseSummary:
        """The license without its secrets."""
        return LicenseSummary(
            license=self.license,
            customer=self.customer,
            model=self.model,
            version=self.version,
            issued_at=self.issued_at,
            not_before=self.not_before,
            expires_at=self.expires_at,
            entitlements=self.entitlements,
            server=self.server,
        )


def write(license_file: LicenseFile) -> bytes:
    """The payload's bytes.

    Raises:
        LicenseFileInvalid: a value is one that `read` would refuse.
    """
    document = {
        "format": FORMAT,
        "license": license_file.license,
        "issued_at": _written_time("issued_at", license_file.issued_at),
        "customer": {"id": license_file.customer.id, "name": license_file.customer.name},
        "model": license_file.model,
        "version": license_file.version,
        "not_before": _written_time("not_before", license_file.not_before),
        "expires_at": _written_time("expires_at", license_file.expires_at),
        "entitlements": license_file.entitlements,
        "receipt_key": to_base64url(license_file.receipt_key),
        "generation": license_file.generation,
        "credential": write_credential(license_file.credential),
        "server": license_file.server,
    }
    _from_document(document)  # the issuer learns of a mistake, not the customer
    return _canonical(document)


def read(data: bytes) -> LicenseFile:
    """The opposite of `write`, and of nothing else.

    Raises:
        LicenseFileInvalid: naming the field that is wrong, or `payload` where it is the whole.
    """
    try:
        document = from_json(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise LicenseFileInvalid("payload", "is not a JSON object")
    license_file = _from_document(document)
    if _canonical(document) != data:
        raise LicenseFileInvalid("payload", "is not written canonically")
    return license_file


def _canonical(document: Mapping[str, object]) -> bytes:
    try:
        return to_json(document)
    except UnicodeEncodeError:
        pass
    raise LicenseFileInvalid("payload", "holds text that is not Unicode")


def _from_document(document: Mapping[str, object]) -> LicenseFile:
    read_only(document, "payload", {"format", *LicenseFile.__dataclass_fields__})
    if read_integer(document, "format") != FORMAT:
        raise LicenseFileInvalid("format", f"is not {FORMAT}; a newer client may read it")
    customer = read_mapping(document, "customer")
    read_only(customer, "customer", {"id", "name"})
    return LicenseFile(
        license=read_text(document, "license", r"lic_[\x21-\x7e]{1,200}"),
        issued_at=read_time(document, "issued_at"),
        customer=Customer(
            read_text(customer, "id", within="customer."), read_text(customer, "name", r".*", "customer.")
        ),
        model=read_text(document, "model", r"[^\x00-\x20\x7f]{1,200}"),
        version=read_integer(document, "version", 1),
        not_before=read_optional(read_time, document, "not_before"),
        expires_at=read_optional(read_time, document, "expires_at"),
        entitlements=_plain(read_mapping(document, "entitlements")),
        receipt_key=_receipt_key(document),
        generation=read_integer(document, "generation"),
        credential=read_credential(read_mapping(document, "credential")),
        server=_server(document),
    )


def _written_time(name: str, moment: datetime | None) -> str | None:
    try:
        return None if moment is None else to_time(moment)
    except (ValueError, OverflowError) as error:
        raise LicenseFileInvalid(name, f"cannot be written: {error}") from None


def _receipt_key(document: Mapping[str, object]) -> bytes:
    key = read_bytes(document, "receipt_key")
    if len(key) != RECEIPT_KEY_BYTES:
        raise LicenseFileInvalid("receipt_key", f"has not {RECEIPT_KEY_BYTES} bytes")
    return key


def is_server(text: str) -> bool:
    """Whether this is a URL of the form http[s]://host[:port][/path], and no more: no user, query or fragment."""
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        return False
    return usable and not re.search(r"[^\x21-\x7e]|[@?#\\]", text)


def _server(document: Mapping[str, object]) -> str:
    server = read_text(document, "server", r".{1,2000}")
    if not is_server(server):
        raise LicenseFileInvalid("server", "is not a URL of the form https://host[:port][/path]")
    return server


def _plain(entitlements: Mapping[str, object]) -> Mapping[str, object]:
    if not _is_plain(entitlements, DEEPEST):
        raise LicenseFileInvalid("entitlements", "hold something other than text, integers, truth values, null")
    return entitlements


def _is_plain(value: object, depth: int) -> bool:
    if depth == 0:
        return False
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item, depth - 1) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_plain(item, depth - 1) for item in value)
    if type(value) is int:
        return abs(value) <= LARGEST_INTEGER
    return value is None or isinstance(value, str | bool)
