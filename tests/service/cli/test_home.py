"""A home is made once: no second owner, no second ring, whatever is moved away and whoever starts at the same time."""

import json
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from service.cli.home import prepare
from service.keyring import KeyRingError
from service.migrating import migrate
from service.settings import Settings
from tests.service.serving import ROOT, SIGNET
from tests.service.signet import Signet

COMMANDS = [
    ("customer", "list"),
    ("license", "list"),
    ("model", "list"),
    ("keys", "admin", "list"),
    ("keys", "rotate"),
    ("keys", "backup", "backup.json"),
    ("predict", "picture.png", "--model", "digits"),
]


def owners(signet: Signet) -> int:
    with sqlite3.connect(signet.home / "signet.db") as database:
        (count,) = database.execute("SELECT count(*) FROM admin_keys WHERE role = 'owner'").fetchone()
    database.close()
    return int(count)


class TestNoHome:
    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_a_command_says_so_and_makes_none(self, signet: Signet, command: tuple[str, ...]) -> None:
        assert "signet serve" in signet.refused(*command)
        assert not signet.home.exists()


class TestOwner:
    def test_one_is_made_with_the_home(self, at_home: Signet) -> None:
        assert (at_home.home / "keys" / "owner.key").stat().st_mode & 0o777 == 0o600
        assert owners(at_home) == 1
        assert at_home("customer", "list").exit_code == 0

    def test_one_whose_key_was_moved_away_stays_the_only_one(self, at_home: Signet, tmp_path: Path) -> None:
        (at_home.home / "keys" / "owner.key").rename(tmp_path / "safe.key")
        assert "--admin-key-file" in at_home.refused("customer", "list")
        prepare(Settings(home=at_home.home))  # what `serve` does
        assert not (at_home.home / "keys" / "owner.key").exists()
        assert owners(at_home) == 1
        assert at_home("--admin-key-file", tmp_path / "safe.key", "customer", "list").exit_code == 0

    def test_one_is_made_in_a_home_whose_first_start_was_interrupted(self, signet: Signet) -> None:
        prepare(Settings(home=signet.home))
        with sqlite3.connect(signet.home / "signet.db") as database:
            database.execute("DELETE FROM admin_keys")
        database.close()
        before = (signet.home / "keys" / "owner.key").read_text()
        prepare(Settings(home=signet.home))
        assert owners(signet) == 1
        assert signet("customer", "list").exit_code == 0
        (aside,) = (signet.home / "keys").glob("owner.key.*")
        assert aside.read_text() == before


class TestLostRing:
    @pytest.mark.parametrize("left", ["keys/owner.key", "models", "signet.db"])
    def test_is_not_replaced(self, at_home: Signet, tmp_path: Path, left: str) -> None:
        backup = tmp_path / "backup.json"
        at_home.said("keys", "backup", backup)
        (at_home.home / "keys" / "ring.json").unlink()
        if left != "signet.db":
            (at_home.home / "signet.db").unlink()
        if left != "keys/owner.key":
            (at_home.home / "keys" / "owner.key").unlink()
        if left == "models":
            (at_home.home / "models" / "digits").mkdir(parents=True)
        with pytest.raises(KeyRingError, match="signet keys restore"):
            prepare(Settings(home=at_home.home))
        assert "signet keys restore" in at_home.refused("keys", "show")
        assert not (at_home.home / "keys" / "ring.json").exists()
        at_home.said("keys", "restore", backup)
        prepare(Settings(home=at_home.home))

    def test_an_empty_database_hangs_on_none(self, signet: Signet, tmp_path: Path) -> None:
        migrate(f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}")
        prepare(Settings(home=signet.home, database_url=f"sqlite:///{tmp_path / 'empty.db'}"))
        assert (signet.home / "keys" / "ring.json").exists()


class TestTwoFirstStarts:
    def test_at_once_make_one_ring_and_one_owner(self, signet: Signet) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "client"), os.environ.get("PYTHONPATH", "")])
        command = [*SIGNET, "--json", "--home", str(signet.home), "keys", "show"]
        starts = [
            subprocess.Popen(  # noqa: S603 - our own command
                command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for _ in range(2)
        ]
        said = [start.communicate(timeout=60) for start in starts]
        assert [start.returncode for start in starts] == [0, 0], said
        first, second = (json.loads(out)["roots"] for out, _ in said)
        assert first == second
        assert owners(signet) == 1
        assert signet("customer", "list").exit_code == 0
