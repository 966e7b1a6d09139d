"""Licenses at the command line."""

import asyncio

import pytest

from service.gateway import Gateway
from service.keyring import write_private
from service.settings import Settings
from tests.service.asking import on_sqlite
from tests.service.cli.conftest import Signet
from tests.service.conftest import Issue
from tests.service.licenses.test_unreadable import overwrite


@on_sqlite
async def test_one_that_this_release_cannot_read_is_listed_as_such(
    settings: Settings, gateway: Gateway, admin_key: str, issue: Issue, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange, plain = await issue(), await issue(quota=77)
    await overwrite(gateway, strange, "terms", '{"moon_phase": "full"}')
    write_private(settings.home / "keys" / "owner.key", admin_key)
    monkeypatch.setenv("SIGNET_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("COLUMNS", "200")
    signet = Signet(settings.home)
    listed = (await asyncio.to_thread(signet.said, "license", "list")).splitlines()
    assert "unreadable: terms.moon_phase" in next(line for line in listed if strange.id in line)
    assert "77" in next(line for line in listed if plain.id in line)
    assert "unreadable" in await asyncio.to_thread(signet.said, "license", "show", strange.id)
