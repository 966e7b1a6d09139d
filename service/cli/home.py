"""The owner's machine: what `SIGNET_HOME` must hold before a gateway can run."""

import asyncio
from pathlib import Path

import orjson

from service.admin_keys.service import mint
from service.admin_keys.tables import Role
from service.audit.service import Act
from service.clock import system_clock
from service.database import create_engine, sessions_of
from service.keyring import KeyRing, open_ring, public_key_document, write_private
from service.migrating import migrate
from service.settings import Settings


def prepare(settings: Settings) -> None:
    """Key ring, public keys, migrated database and a first owner's key; what is there already stays."""
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.home.chmod(0o700)
    ring = open_ring(ring_path(settings), create=True)
    write_public_keys(settings, ring)
    migrate(settings.resolved_database_url())
    if not owner_key_path(settings).exists():
        write_private(owner_key_path(settings), asyncio.run(_first_owner(settings, ring)) + "\n")


def ring_path(settings: Settings) -> Path:
    """The key ring's file."""
    return settings.home / "keys" / "ring.json"


def owner_key_path(settings: Settings) -> Path:
    """The owner's admin key, 0600."""
    return settings.home / "keys" / "owner.key"


def public_keys_path(settings: Settings) -> Path:
    """The issuer's public keys: what licensees pin."""
    return settings.home / "issuer.pub"


def write_public_keys(settings: Settings, ring: KeyRing) -> None:
    """Write down the public halves."""
    public_keys_path(settings).write_bytes(
        orjson.dumps(public_key_document(ring.public_keys()), option=orjson.OPT_INDENT_2)
    )


async def _first_owner(settings: Settings, ring: KeyRing) -> str:
    engine = create_engine(settings.resolved_database_url())
    try:
        async with sessions_of(engine).begin() as session:
            _, key = await mint(session, ring, Act("local", "local", system_clock), "owner of this machine", Role.OWNER)
    finally:
        await engine.dispose()
    return key.text
