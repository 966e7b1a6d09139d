"""What a license file says, as a value and as the canonical JSON that is signed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from signet_client.canonical import from_base64url, from_json, from_time, to_base64url, to_json, to_time
from signet_client.errors import LicenseFileInvalid

FORMAT = 1
RECEIPT_KEY_BYTES = 32
LARGEST_INTEGER = 2**53 - 1  # beyond it JSON readers disagree
MOST_IMAGES = 16  # fingerprints of one license
DEEPEST = 8  # levels of nesting in the entitlements

T = TypeVar("T")


@dataclass(frozen=True)
class Customer:
    """Who the license was issued to."""

    id: str
    name: str


@dataclass(frozen=True)
class FingerprintCredential:
    """Images that the network answers in the way allotted to this customer, to be shown in this order: PNG or NPY.

    `code` names what is allotted of an answer, `codeword` or `confidence`; whoever shows the images need not know.
    """

    code: str
    images: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class KeyCredential:
    """A license key, `sgn_<id>.<secret>`."""

    key: str = field(repr=False)


Credential: TypeAlias = FingerprintCredential | KeyCredential


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
    credential = license_file.credential
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
        "credential": {
            "kind": "fingerprint",
            "code": credential.code,
            "images": [to_base64url(image) for image in credential.images],
        }
        if isinstance(credential, FingerprintCredential)
        else {"kind": "key", "key": credential.key},
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
    _only(document, "payload", {"format", *LicenseFile.__dataclass_fields__})
    if _integer(document, "format") != FORMAT:
        raise LicenseFileInvalid("format", f"is not {FORMAT}; a newer client may read it")
    customer = _mapping(document, "customer")
    _only(customer, "customer", {"id", "name"})
    return LicenseFile(
        license=_text(document, "license", r"lic_[\x21-\x7e]{1,200}"),
        issued_at=_time(document, "issued_at"),
        customer=Customer(_text(customer, "id", within="customer."), _text(customer, "name", r".*", "customer.")),
        model=_text(document, "model", r"[^\x00-\x20\x7f]{1,200}"),
        version=_integer(document, "version", 1),
        not_before=_optional(_time, document, "not_before"),
        expires_at=_optional(_time, document, "expires_at"),
        entitlements=_plain(_mapping(document, "entitlements")),
        receipt_key=_receipt_key(document),
        generation=_integer(document, "generation"),
        credential=_credential(_mapping(document, "credential")),
        server=_server(document),
    )


def _written_time(name: str, moment: datetime | None) -> str | None:
    try:
        return None if moment is None else to_time(moment)
    except (ValueError, OverflowError) as error:
        raise LicenseFileInvalid(name, f"cannot be written: {error}") from None


def _only(document: Mapping[str, object], name: str, expected: set[str]) -> None:
    if missing := sorted(expected - document.keys()):
        raise LicenseFileInvalid(missing[0] if name == "payload" else f"{name}.{missing[0]}", "is missing")
    if document.keys() - expected:
        raise LicenseFileInvalid(name, "holds a field that this version does not know")


def _text(document: Mapping[str, object], name: str, pattern: str = r".{1,200}", within: str = "") -> str:
    value = document[name]
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.DOTALL):
        raise LicenseFileInvalid(within + name, "is not the text expected there")
    return value


def _integer(document: Mapping[str, object], name: str, least: int = 0) -> int:
    value = document[name]
    if type(value) is not int or not least <= value <= LARGEST_INTEGER:  # True is an int to isinstance
        raise LicenseFileInvalid(name, f"is not a whole number from {least} on")
    return value


def _mapping(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = document[name]
    if not isinstance(value, Mapping):
        raise LicenseFileInvalid(name, "is not an object")
    return value


def _time(document: Mapping[str, object], name: str) -> datetime:
    try:
        return from_time(_text(document, name))
    except ValueError as error:
        raise LicenseFileInvalid(name, f"is {error}") from None


def _optional(
    read_field: Callable[[Mapping[str, object], str], T], document: Mapping[str, object], name: str
) -> T | None:
    return None if document[name] is None else read_field(document, name)


def _bytes(document: Mapping[str, object], name: str, within: str = "") -> bytes:
    try:
        return from_base64url(_text(document, name, r".+", within))
    except ValueError:
        pass
    raise LicenseFileInvalid(within + name, "is not base64url without padding")


def _receipt_key(document: Mapping[str, object]) -> bytes:
    key = _bytes(document, "receipt_key")
    if len(key) != RECEIPT_KEY_BYTES:
        raise LicenseFileInvalid("receipt_key", f"has not {RECEIPT_KEY_BYTES} bytes")
    return key


def _credential(document: Mapping[str, object]) -> Credential:
    kind = document.get("kind")
    if kind == "fingerprint":
        _only(document, "credential", {"kind", "code", "images"})
        return FingerprintCredential(_text(document, "code", r"[a-z_]{1,40}", "credential."), _images(document))
    if kind == "key":
        _only(document, "credential", {"kind", "key"})
        return KeyCredential(_text(document, "key", r"sgn_[\x21-\x7e]{1,1000}", "credential."))  # fits in a header
    raise LicenseFileInvalid("credential.kind", "is neither fingerprint nor key; a newer client may read it")


def _images(document: Mapping[str, object]) -> tuple[bytes, ...]:
    images = document["images"]
    if not isinstance(images, list) or not 1 <= len(images) <= MOST_IMAGES:
        raise LicenseFileInvalid("credential.images", f"is not a list of 1 to {MOST_IMAGES}")
    listed = {str(index): image for index, image in enumerate(images)}
    return tuple(_bytes(listed, index, "credential.images.") for index in listed)


def is_server(text: str) -> bool:
    """Whether this is a URL of the form http[s]://host[:port][/path], and no more: no user, query or fragment."""
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        return False
    return usable and not re.search(r"[^\x21-\x7e]|[@?#\\]", text)


def _server(document: Mapping[str, object]) -> str:
    server = _text(document, "server", r".{1,2000}")
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
