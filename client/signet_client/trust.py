"""The trust anchor: the issuers' public keys that license files are checked with.

It is given (`Client(..., trust=...)`), named by the environment (SIGNET_TRUST, a path) or pinned once (`pin`); the
first of these that is there decides alone. It never comes from a license file, which would vouch for itself. As a file:

    {"keys": [{"kid": "<key id>", "public_key": "<base64url, 32 bytes>"}]}
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from signet_client.canonical import from_base64url, from_json, to_base64url, to_json
from signet_client.errors import NoTrustAnchor

TrustAnchor: TypeAlias = Mapping[str, Ed25519PublicKey]
Trust: TypeAlias = str | os.PathLike[str] | Mapping[str, object]

ENVIRONMENT = "SIGNET_TRUST"
SIZE_LIMIT = 1 << 20  # bytes


def resolve(trust: Trust | None = None) -> TrustAnchor:
    """The public keys to believe, by key id.

    Args:
        trust: a path to a `.pub` file, its JSON as text or as a mapping, or a mapping from key ids to public keys. None
            looks at SIGNET_TRUST, then at the pinned file.

    Raises:
        NoTrustAnchor: nothing was found, or what was found cannot be read.
    """
    if isinstance(trust, Mapping):
        return _from_mapping(trust, "trust=")
    if isinstance(trust, str) and trust.lstrip().startswith("{"):
        return parse(trust.encode(errors="replace"), "trust=")
    if trust is not None:
        return _read(Path(trust))
    if named := os.environ.get(ENVIRONMENT):
        return _read(Path(named))
    if pinned_file().exists():
        return _read(pinned_file())
    raise NoTrustAnchor(
        "no trust anchor: ask the issuer of the license for the public key (a .pub file) over a way you trust, and pin "
        f"it once with signet_client.pin('issuer.pub'), or name it in {ENVIRONMENT} or Client(..., trust='issuer.pub')"
    )


def pin(path: str | os.PathLike[str], *, replace: bool = False) -> Path:
    """Believe the keys in this `.pub` file from now on, beside those pinned before; returns the pinned file.

    Args:
        replace: forget the keys pinned before. Without it a key id pinned with another key is refused.

    Raises:
        NoTrustAnchor: the file cannot be read, or a key id is pinned with another key.
    """
    new, target = _read(Path(path)), pinned_file()
    old = _read(target) if target.exists() and not replace else {}
    for key_id in new.keys() & old.keys():
        if new[key_id] != old[key_id]:
            raise NoTrustAnchor(
                f"key id {key_id!r} is pinned with another key; pin(..., replace=True) forgets the old ones"
            )
    _write(target, dump({**old, **new}))
    return target


def pinned_file() -> Path:
    """`$XDG_CONFIG_HOME/signet/trust.json`, by default under `~/.config`."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".config") / "signet" / "trust.json"


def dump(anchor: TrustAnchor) -> bytes:
    """The text of a `.pub` file."""
    keys = [{"kid": kid, "public_key": to_base64url(anchor[kid].public_bytes_raw())} for kid in sorted(anchor)]
    return to_json({"keys": keys}) + b"\n"


def parse(data: bytes, source: str = "the trust anchor") -> TrustAnchor:
    """The keys of a `.pub` file's text; `source` names it in errors.

    Raises:
        NoTrustAnchor: it is not such a text.
    """
    try:
        document = from_json(data)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise NoTrustAnchor(f'{source} is not a trust anchor: expected JSON {{"keys": [...]}}')
    return _from_mapping(document, source)


def _read(path: Path) -> TrustAnchor:
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:
        raise NoTrustAnchor(f"{path} cannot be read: {error}") from error
    if len(data) > SIZE_LIMIT:
        raise NoTrustAnchor(f"{path} is larger than {SIZE_LIMIT} bytes")
    return parse(data, str(path))


def _from_mapping(mapping: Mapping[str, object], source: str) -> TrustAnchor:
    entries = mapping.get("keys")
    if isinstance(entries, list):
        anchor = _from_entries(entries, source)
    else:
        anchor = {key_id: _public_key(key, f"{source}: {key_id!r}") for key_id, key in mapping.items()}
    if not anchor:
        raise NoTrustAnchor(f"{source} holds no key")
    return anchor


def _from_entries(entries: list[object], source: str) -> dict[str, Ed25519PublicKey]:
    anchor: dict[str, Ed25519PublicKey] = {}
    for index, entry in enumerate(entries):
        where = f"{source}: keys[{index}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or "public_key" not in entry:
            raise NoTrustAnchor(f"{where} is not of the form kid, public_key")
        if entry["kid"] in anchor:
            raise NoTrustAnchor(f"{where} repeats the key id {entry['kid']!r}")
        anchor[entry["kid"]] = _public_key(entry["public_key"], where)
    return anchor


def _public_key(value: object, where: str) -> Ed25519PublicKey:
    if isinstance(value, Ed25519PublicKey):
        return value
    try:
        return Ed25519PublicKey.from_public_bytes(from_base64url(value) if isinstance(value, str) else b"")
    except ValueError:
        raise NoTrustAnchor(f"{where} is not an Ed25519 public key (base64url, 32 bytes)") from None


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".trust-")  # so that a reader never sees half a file
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
