"""The owner's machine: what `SIGNET_HOME` must hold before a gateway can run."""

import asyncio
import secrets
from pathlib import Path

import orjson
from sqlalchemy import Connection, inspect, make_url, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.admin_keys.service import mint
from service.admin_keys.tables import AdminKey, Role
from service.audit.service import Act
from service.audit.tables import Counter
from service.clock import system_clock
from service.database import create_engine, sessions_of
from service.keyring import RESTORE, KeyRing, KeyRingError, open_ring, public_key_document, write_private
from service.migrating import migrate
from service.settings import Settings


def prepare(settings: Settings) -> None:
    """Key ring, public keys, migrated database and a first owner's key; what is there already stays.

    Raises:
        KeyRingError: the ring cannot be read, or is missing from a home that has been in use.
    """
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.home.chmod(0o700)
    ring = _ring_of_new_or_old(settings)
    write_public_keys(settings, ring)
    migrate(settings.resolved_database_url())
    asyncio.run(_first_owner(settings, ring))


def exists(settings: Settings) -> bool:
    """Whether `prepare` was ever here."""
    return ring_path(settings).exists() or (settings.home / "signet.db").exists() or _leftover(settings) is not None


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


def _ring_of_new_or_old(settings: Settings) -> KeyRing:
    """The ring; a new one only where nothing hangs on a lost one: every credential would be dead without a word."""
    path = ring_path(settings)
    if not path.exists():
        left = _leftover(settings)
        if left is None and not _is_new_file(settings):
            left = asyncio.run(_left_in_database(settings))
        if left and not path.exists():  # asked again: another first start may have made all of it meanwhile
            raise KeyRingError(f"the key ring {path} is missing, but {left} needs it; {RESTORE}")
    return open_ring(path, create=True)


def _leftover(settings: Settings) -> str | None:
    """What in the home hangs on a key ring."""
    models = settings.home / "models"
    if owner_key_path(settings).exists():
        return str(owner_key_path(settings))
    return str(models) if models.is_dir() and any(models.iterdir()) else None


def _is_new_file(settings: Settings) -> bool:
    """A look would make the database, and another first start would take the home for one in use."""
    url = make_url(settings.resolved_database_url())
    return url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()


async def _left_in_database(settings: Settings) -> str | None:
    engine = create_engine(settings.resolved_database_url())
    try:
        async with engine.connect() as connection:
            await connection.execution_options(signet_reading=True)
            used = await connection.run_sync(_has_administrators)
    finally:
        await engine.dispose()
    return "the database" if used else None


def _has_administrators(connection: Connection) -> bool:
    """Nothing comes into a database before its first administrator, and the last owner's row stays."""
    if not inspect(connection).has_table(AdminKey.__tablename__):
        return False
    return connection.scalar(select(AdminKey.id).limit(1)) is not None


async def _first_owner(settings: Settings, ring: KeyRing) -> None:
    engine = create_engine(settings.resolved_database_url())
    try:
        async with sessions_of(engine).begin() as session:
            if await _has_owner(session):
                return
            await session.scalar(select(Counter).where(Counter.name == "store").with_for_update())  # one start mints
            if await _has_owner(session):
                return
            _, key = await mint(session, ring, Act("local", "local", system_clock), "owner of this machine", Role.OWNER)
            await session.flush()
            # Before the commit: killed in between, the next start mints again, and nobody is locked out.
            _keep_aside(owner_key_path(settings))
            write_private(owner_key_path(settings), key.text + "\n")
    finally:
        await engine.dispose()


def _keep_aside(key: Path) -> None:
    """A key that is here already is of another database: SIGNET_DATABASE_URL may have been a slip."""
    if key.exists():
        key.rename(key.with_name(f"{key.name}.{secrets.token_hex(4)}"))


async def _has_owner(session: AsyncSession) -> bool:
    """Also one whose key file was moved off this machine, as it should be."""
    return await session.scalar(select(AdminKey.id).where(AdminKey.role == Role.OWNER).limit(1)) is not None
