"""A secret that is shown once has a file before it is made."""

import sqlite3
from pathlib import Path

import pytest

from service.cli.api import Api
from tests.service.signet import Signet


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "secret"


def administrators(signet: Signet) -> int:
    with sqlite3.connect(signet.home / "signet.db") as database:
        (count,) = database.execute("SELECT count(*) FROM admin_keys").fetchone()
    database.close()
    return int(count)


def test_an_admin_key_that_cannot_be_written_is_not_minted(at_home: Signet, unwritable: Path) -> None:
    assert str(unwritable) in at_home.refused("keys", "admin", "add", "Ada", "--out", unwritable)
    assert administrators(at_home) == 1


def test_a_license_that_cannot_be_written_is_not_issued(
    at_home: Signet, unwritable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Api, "call", lambda *_, **__: pytest.fail("the gateway was asked"))
    assert str(unwritable) in at_home.refused("license", "issue", "cus_1", "digits", "--out", unwritable)


def test_a_file_that_exists_is_left_alone(at_home: Signet, tmp_path: Path) -> None:
    (tmp_path / "old.key").write_text("old")
    assert "exists" in at_home.refused("keys", "admin", "add", "Ada", "--out", tmp_path / "old.key")
    assert (tmp_path / "old.key").read_text() == "old"
    assert administrators(at_home) == 1


def test_a_refusal_leaves_no_file(at_home: Signet, tmp_path: Path) -> None:
    at_home.refused("keys", "admin", "add", "Ada", "--role", "king", "--out", tmp_path / "new.key")
    assert not (tmp_path / "new.key").exists()


def test_the_key_is_for_its_owner_alone(at_home: Signet, tmp_path: Path) -> None:
    at_home.said("keys", "admin", "add", "Ada", "--out", tmp_path / "new.key")
    assert (tmp_path / "new.key").stat().st_mode & 0o777 == 0o600
    assert at_home("--admin-key-file", tmp_path / "new.key", "customer", "list").exit_code == 0
