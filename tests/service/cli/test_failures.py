"""What a command cannot help is said in words that help; what it prints is never read as markup."""

from pathlib import Path

import pytest

from service.cli.failures import explained
from tests.service.signet import Signet

COMMANDS = [("customer", "list"), ("keys", "show"), ("model", "list"), ("keys", "rotate")]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
class TestEveryCommand:
    def test_says_who_may_read_the_ring(self, at_home: Signet, command: tuple[str, ...]) -> None:
        (at_home.home / "keys" / "ring.json").chmod(0o644)
        assert "chmod 600" in at_home.refused(*command)

    def test_says_that_the_ring_is_truncated(self, at_home: Signet, command: tuple[str, ...]) -> None:
        ring = at_home.home / "keys" / "ring.json"
        ring.write_text(ring.read_text()[:60])
        said = at_home.refused(*command)
        assert str(ring) in said
        assert "signet keys restore" in said


class TestDatabase:
    def test_that_is_damaged_is_said(self, at_home: Signet) -> None:
        (at_home.home / "signet.db").write_bytes(b"not a database" * 500)
        for left in at_home.home.glob("signet.db-*"):
            left.unlink()
        assert "backup" in at_home.refused("customer", "list")
        assert "backup" in at_home.refused("model", "protect", "digits")

    def test_that_is_unmigrated_is_said(self, at_home: Signet) -> None:
        for left in at_home.home.glob("signet.db*"):
            left.unlink()
        assert "signet serve" in at_home.refused("customer", "list")

    @pytest.mark.parametrize(
        "url", ["postgresql://signet:s3cret@127.0.0.1:1/x", "postgresql://signet:s3cret@127.0.0.1:x/x"]
    )
    def test_that_does_not_answer_is_said_without_its_password(
        self, at_home: Signet, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SIGNET_DATABASE_URL", url)
        said = at_home.refused("customer", "list")
        assert "SIGNET_DATABASE_URL" in said
        assert "s3cret" not in said


class TestSettings:
    def test_that_are_not_json_are_named(self, signet: Signet, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIGNET_NETWORKS", "{")
        assert "SIGNET_NETWORKS" in signet.refused("customer", "list")

    def test_a_folder_that_is_none_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "home").write_text("a file")
        assert str(tmp_path / "home") in Signet(tmp_path / "home").refused("keys", "show")


def test_a_bug_keeps_its_traceback() -> None:
    assert explained(AssertionError()) is None


NAMES = ["[/red]x", "[bold]Acme[/]", "[link=https://evil.example]Acme[/link]"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_printed_as_they_are(at_home: Signet, name: str, tmp_path: Path) -> None:
    assert name in at_home.said("customer", "add", name)
    assert name[:12] in at_home.said("customer", "list")
    at_home.said("keys", "admin", "add", name, "--out", tmp_path / name.replace("/", "") / "a.key")
    assert name[:6] in at_home.said("keys", "admin", "list")
    taken = tmp_path / name.replace("/", "")
    assert str(taken) in at_home.refused("keys", "backup", taken)


def test_ids_are_whole_in_a_narrow_terminal(at_home: Signet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    administrator = at_home.said("keys", "admin", "add", "the administrator of the south", "-o", tmp_path / "a").split()
    customer = at_home.said("customer", "add", "Acme Optics and their many subsidiaries").split()
    assert administrator[0] in at_home.said("keys", "admin", "list")
    assert customer[0] in at_home.said("customer", "list")
