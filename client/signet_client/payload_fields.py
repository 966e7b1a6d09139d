"""Readers of single fields of a license file's JSON: each gives the value, or says which field is wrong.

None shows a value, which may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from signet_client.canonical import from_base64url, from_time
from signet_client.errors import LicenseFileInvalid

LARGEST_INTEGER = 2**53 - 1  # beyond it JSON readers disagree

T = TypeVar("T")


def read_only(document: Mapping[str, object], name: str, expected: set[str]) -> None:
    """Exactly the `expected` fields are there."""
    if missing := sorted(expected - document.keys()):
        raise LicenseFileInvalid(missing[0] if name == "payload" else f"{name}.{missing[0]}", "is missing")
    if document.keys() - expected:
        raise LicenseFileInvalid(name, "holds a field that this version does not know")


def read_text(document: Mapping[str, object], name: str, pattern: str = r".{1,200}", within: str = "") -> str:
    """A text that all of `pattern` matches."""
    value = document[name]
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.DOTALL):
        raise LicenseFileInvalid(within + name, "is not the text expected there")
    return value


def read_integer(document: Mapping[str, object], name: str, least: int = 0) -> int:
    """A whole number from `least` on."""
    value = document[name]
    if type(value) is not int or not least <= value <= LARGEST_INTEGER:  # True is an int to isinstance
        raise LicenseFileInvalid(name, f"is not a whole number from {least} on")
    return value


def read_mapping(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    """An object."""
    value = document[name]
    if not isinstance(value, Mapping):
        raise LicenseFileInvalid(name, "is not an object")
    return value


def read_list(document: Mapping[str, object], name: str, least: int, most: int, within: str = "") -> list[object]:
    """A list of `least` to `most` values."""
    value = document[name]
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise LicenseFileInvalid(within + name, f"is not a list of {least if least == most else f'{least} to {most}'}")
    return value


def read_time(document: Mapping[str, object], name: str) -> datetime:
    """A moment in UTC."""
    try:
        return from_time(read_text(document, name))
    except ValueError as error:
        raise LicenseFileInvalid(name, f"is {error}") from None


def read_optional(
    read_field: Callable[[Mapping[str, object], str], T], document: Mapping[str, object], name: str
) -> T | None:
    """What `read_field` reads, or None for null."""
    return None if document[name] is None else read_field(document, name)


def read_bytes(document: Mapping[str, object], name: str, within: str = "") -> bytes:
    """Bytes in base64url, one or more."""
    try:
        return from_base64url(read_text(document, name, r".+", within))
    except ValueError:
        pass
    raise LicenseFileInvalid(within + name, "is not base64url without padding")
