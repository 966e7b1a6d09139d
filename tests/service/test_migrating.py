"""Migrations run from any path, and wait for one another."""

import asyncio
import shutil
from pathlib import Path

import asyncpg
import pytest

from service import migrating


def test_a_percent_sign_in_the_path_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "100%" / "migrations"
    shutil.copytree(migrating.migrations_folder(), folder)
    monkeypatch.setattr(migrating, "migrations_folder", lambda: folder)
    migrating.migrate(f"sqlite+aiosqlite:///{tmp_path / '50%' / 'x.db'}".replace("/50%", ""))
    assert (tmp_path / "x.db").exists()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_one_waits_for_another_as_long_as_it_takes(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(migrating.migrations_folder(), tmp_path / "migrations")
    impatient = (folder / "env.py").read_text().replace('LOCK_TIMEOUT = "5s"', 'LOCK_TIMEOUT = "200ms"')
    (folder / "env.py").write_text(impatient)
    assert "200ms" in impatient
    monkeypatch.setattr(migrating, "migrations_folder", lambda: folder)
    other = await asyncpg.connect(database_url)
    await other.execute("SELECT pg_advisory_lock(hashtext('signet migrations'))")
    url = database_url.replace("postgresql", "postgresql+asyncpg", 1)
    waiting = asyncio.create_task(asyncio.to_thread(migrating.migrate, url))
    try:
        await asyncio.sleep(1)  # longer than it would wait for a table
        assert not waiting.done()
    finally:
        await other.close()
        await waiting
