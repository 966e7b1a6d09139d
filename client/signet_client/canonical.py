"""The one spelling of a value: JSON, base64url and times of which no second form is accepted.

What is signed or sealed is compared byte for byte, so each reader here refuses what its writer would not have written.
All raise ValueError without the text at fault, which may hold a secret.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import NoReturn


def to_json(value: object) -> bytes:
    """Sorted keys, no spaces, UTF-8 unescaped. UnicodeEncodeError, which is a ValueError, holds the text at fault."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def from_json(data: bytes) -> object:
    """Any JSON of finite numbers, canonical or not."""
    try:
        return json.loads(data.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        pass
    raise ValueError("not JSON")  # out here, because JSONDecodeError would carry the document along as context


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and the infinities, which Python reads and JSON does not have


def to_base64url(data: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """The opposite of `to_base64url`, and of nothing else."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
    except ValueError:
        data = None
    if data is None or to_base64url(data) != text:
        raise ValueError("not base64url without padding")
    return data


def to_time(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds: `2027-01-31T00:00:00Z`."""
    if moment.tzinfo is None or moment.microsecond:
        raise ValueError("a time has a time zone and whole seconds")
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def from_time(text: str) -> datetime:
    """The opposite of `to_time`: a datetime in UTC."""
    try:
        moment = datetime.fromisoformat(text)
        canonical = to_time(moment) == text
    except (ValueError, OverflowError):
        canonical = False
    if not canonical:
        raise ValueError("not a time like 2027-01-31T00:00:00Z")
    return moment
