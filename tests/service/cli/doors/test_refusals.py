"""What goes wrong at the command line: an exit code, a sentence on standard error, and nothing half done."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from service.keyring import KeyRing
from service.keys import Key
from tests.service.serving import Served, free_port
from tests.service.signet import Signet

UNKNOWN = "lic_" + "0" * 32
NOBODY = "cus_" + "0" * 32

# What is refused is refused before the database has a say.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

ROWS: dict[str, tuple[tuple[str, ...], str]] = {
    "a customer without a name": (("customer", "add", ""), "name"),
    "a customer with no address": (("customer", "add", "Acme", "--email", "acme"), "email"),
    "an unknown model": (("model", "show", "letters"), "no model of this name"),
    "a version there is not": (("model", "retire", "digits", "99"), "no such version"),
    "a folder there is not": (("model", "add", "{tmp}/nothing"), "cannot be read"),
    "an unknown network": (("model", "protect", "x", "--network", "resnet999"), "resnet999"),
    "an unknown data set": (("model", "protect", "x", "--dataset", "imagenet"), "imagenet"),
    "a model name that is none": (("model", "protect", "No Name", "--epochs", "1"), "NAME: lower-case"),
    "a model name that is none, before it is packed": (
        ("model", "pack", "No Name", "-o", "{tmp}/x", "--network", "lenet5", "--weights", "{tmp}/w", "--calibration",
         "{tmp}/c.npy", "--labels", "a,b"),
        "NAME: lower-case",
    ),
    "a policy there is not": (("model", "protect", "x", "--unauthorized-policy", "shout"), "--unauthorized-policy"),
    "weights that are not there": (
        ("model", "pack", "x", "-o", "{tmp}/x", "--network", "lenet5", "--weights", "{tmp}/w", "--calibration",
         "{tmp}/c.npy", "--labels", "a,b"),
        "c.npy",
    ),
    "a license for nobody": (("license", "issue", NOBODY, "digits", "-o", "{tmp}/a.lic"), "no customer of this id"),
    "a license for no customer's id": (("license", "issue", "acme", "digits", "-o", "{tmp}/a.lic"), "customer_id"),
    "a license for another model": (("license", "issue", "{customer}", "letters", "-o", "{tmp}/a.lic"), "no model"),
    "a credential there is not": (
        ("license", "issue", "{customer}", "digits", "-o", "{tmp}/a.lic", "--credential", "password"), "credential",
    ),
    "a quota of nothing": (
        ("license", "issue", "{customer}", "digits", "-o", "{tmp}/a.lic", "--quota", "0"), "quota",
    ),
    "a network that is none": (
        ("license", "issue", "{customer}", "digits", "-o", "{tmp}/a.lic", "--network", "acme"), "networks",
    ),
    "a date that is none": (
        ("license", "issue", "{customer}", "digits", "-o", "{tmp}/a.lic", "--expires", "soon"), "--expires",
    ),
    "an unknown license": (("license", "show", UNKNOWN), "no license of this id"),
    "a license id that is none": (("license", "suspend", "acme"), "license_id"),
    "reinstating what is not there": (("license", "reinstate", UNKNOWN), "no license of this id"),
    "revoking what is not there": (("license", "revoke", UNKNOWN), "no license of this id"),
    "checking in what is not there": (("license", "check-in", UNKNOWN), "no license of this id"),
    "a status there is not": (("license", "list", "--status", "gone"), "status"),
    "neither license nor model": (("predict", "{picture}"), "--license"),
    "a picture that is not there": (("predict", "{tmp}/0.png", "--model", "digits"), "0.png"),
    "a picture that is none": (("predict", "{rubbish}", "--model", "digits"), "not a picture"),
    "a stranger to no model": (("predict", "{picture}", "--model", "letters"), "no model of this name"),
    "a license file that is not there": (("predict", "{picture}", "--license", "{tmp}/x.lic"), "x.lic"),
    "a license file that is none": (("predict", "{picture}", "--license", "{rubbish}"), "LicenseFileInvalid"),
    "a license file that was altered": (("predict", "{picture}", "--license", "{altered}"), "LicenseFileInvalid"),
    "no trust anchor": (("predict", "{picture}", "--license", "{license}", "--trust", "{tmp}/none"), "NoTrustAnchor"),
    "an admin role there is not": (("keys", "admin", "add", "x", "-o", "{tmp}/k", "--role", "king"), "role"),
    "an admin key there is not": (("keys", "admin", "revoke", "adm_" + "0" * 32), "no admin key of this id"),
    "a command there is not": (("license", "steal"), "No such command"),
}  # fmt: skip


@on_sqlite
@pytest.mark.parametrize(("words", "said"), ROWS.values(), ids=ROWS.keys())
def test_each_is_said(
    words: tuple[str, ...], said: str, signet: Signet, pictures: list[Path], tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    made: dict[str, Callable[[], str]] = {
        "tmp": lambda: str(tmp_path),
        "picture": lambda: str(pictures[0]),
        "customer": lambda: signet.json("customer", "add", "Acme")["id"],
        "rubbish": lambda: _written(tmp_path / "rubbish", "no license and no picture"),
        "license": lambda: _licensed(signet, tmp_path),
        "altered": lambda: _altered(_licensed(signet, tmp_path)),
    }
    used = {name: make() for name, make in made.items() if any("{" + name + "}" in word for word in words)}
    before = set(tmp_path.iterdir())
    assert said in signet.refused(*(word.format(**used) for word in words))
    assert set(tmp_path.iterdir()) == before, "nothing is left behind"


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def _licensed(signet: Signet, folder: Path) -> str:
    customer = signet.json("customer", "add", "Acme")["id"]
    signet.said("license", "issue", customer, "digits", "-o", folder / "acme.lic", "--credential", "key")
    return str(folder / "acme.lic")


def _altered(path: str) -> str:
    text = Path(path).read_text()
    return _written(Path(path).with_suffix(".altered"), text[:200] + ("A" if text[200] != "A" else "B") + text[201:])


@on_sqlite
class TestFilesAreNeverOverwrittenNorLost:
    def test_a_file_that_is_there_stays(self, local: Signet, tmp_path: Path) -> None:
        there = tmp_path / "there"
        there.write_text("precious")
        customer = local.json("customer", "add", "Acme")["id"]
        for words in (
            ("license", "issue", customer, "digits", "-o", there),
            ("keys", "admin", "add", "x", "-o", there),
            ("keys", "backup", there),
        ):
            assert "exists" in local.refused(*words)
        assert there.read_text() == "precious"
        assert local.json("license", "list", "--customer", customer) == []

    def test_nothing_is_issued_that_cannot_be_written_down(self, local: Signet, tmp_path: Path) -> None:
        """A license file is shown once: were it issued first, it would be lost."""
        (tmp_path / "file").write_text("")
        customer = local.json("customer", "add", "Acme")["id"]
        keys = local.json("keys", "admin", "list")
        for words in (
            ("license", "issue", customer, "digits", "-o", tmp_path / "file" / "a.lic", "--credential", "key"),
            ("keys", "admin", "add", "x", "-o", tmp_path / "file" / "x.key"),
            ("keys", "backup", tmp_path / "file" / "ring"),
        ):
            assert "cannot write" in local.refused(*words)
        assert local.json("license", "list", "--customer", customer) == []
        assert local.json("keys", "admin", "list") == keys


class TestKeyRing:
    def test_one_that_others_may_read_is_refused_with_the_remedy(self, tmp_path: Path) -> None:
        signet = Signet(tmp_path / "home")
        signet.said("keys", "show")
        ring = signet.home / "keys" / "ring.json"
        ring.chmod(0o644)
        for words in (("keys", "show"), ("keys", "rotate"), ("customer", "list"), ("keys", "backup", tmp_path / "b")):
            assert f"chmod 600 {ring}" in signet.refused(*words)

    @on_sqlite
    def test_one_that_is_there_is_not_restored_over(self, local: Signet, tmp_path: Path) -> None:
        local.said("keys", "backup", tmp_path / "ring")
        assert "move it away first" in local.refused("keys", "restore", tmp_path / "ring")

    @pytest.mark.parametrize("text", ["", "rubbish", "{}", '{"format": 2}'])
    def test_a_backup_that_is_none(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "backup").write_text(text)
        (tmp_path / "backup").chmod(0o600)
        signet = Signet(tmp_path / "home")
        assert "not a Signet key ring" in signet.refused("keys", "restore", tmp_path / "backup")
        assert not (signet.home / "keys" / "ring.json").exists()

    def test_a_backup_that_is_not_there(self, tmp_path: Path) -> None:
        assert "cannot read" in Signet(tmp_path / "home").refused("keys", "restore", tmp_path / "backup")

    def test_another_homes_ring_does_not_open_this_database(self, tmp_path: Path) -> None:
        signet = Signet(tmp_path / "home")
        signet.said("keys", "show")
        (signet.home / "keys" / "ring.json").unlink()
        (tmp_path / "other").write_text(KeyRing.generate().to_json())
        (tmp_path / "other").chmod(0o600)
        signet.said("keys", "restore", tmp_path / "other")
        assert "admin key" in signet.refused("customer", "list")


@on_sqlite
class TestServer:
    def test_none_there(self, tmp_path: Path, local: Signet) -> None:
        nobody = Signet(local.home, f"http://127.0.0.1:{free_port()}")
        assert "no answer from http://127.0.0.1" in nobody.refused("license", "list")

    def test_none_there_for_predictions(self, local: Signet, pictures: list[Path], tmp_path: Path) -> None:
        nobody = Signet(local.home, f"http://127.0.0.1:{free_port()}")
        assert "ConnectError" in nobody.refused("predict", pictures[0], "--model", "digits")
        license = _licensed(local, tmp_path)
        assert "GatewayUnavailable" in nobody.refused("predict", pictures[0], "--license", license)

    @pytest.mark.parametrize(
        "url",
        ["gateway", "ftp://127.0.0.1", "http://[", "http://127.0.0.1:99999", "https://ada:s3cret@gateway.example"],
    )
    def test_a_url_that_is_none(self, url: str, local: Signet, pictures: list[Path]) -> None:
        wrong = Signet(local.home, url)
        for words in (("license", "list"), ("predict", pictures[0], "--model", "digits")):
            said = wrong.refused(*words)
            assert "--server" in said
            assert "https://host[:port]" in said
            assert "s3cret" not in said

    def test_plain_http_beyond_loopback(self, local: Signet, pictures: list[Path], tmp_path: Path) -> None:
        outside = Signet(local.home, "http://gateway.example")
        license = _licensed(local, tmp_path)
        key = local.home / "keys" / "owner.key"
        for words in (
            ("--admin-key-file", key, "license", "list"),
            ("predict", pictures[0], "--model", "digits"),
            ("predict", pictures[0], "--license", license),
        ):
            said = outside.refused(*words)
            assert "--server" in said
            assert "plain http is for loopback only" in said

    def test_somebody_elses(self, local: Signet, pictures: list[Path], http_server: str) -> None:
        other = Signet(local.home, http_server)
        for words in (("license", "list"), ("predict", pictures[0], "--model", "digits")):
            assert "not as a Signet gateway does" in other.refused(*words)

    def test_a_key_file_that_is_not_there(self, served: Served, tmp_path: Path) -> None:
        signet = Signet(tmp_path / "home", served.url)
        assert "--admin-key-file" in signet.refused("license", "list")
        assert "No such file" in signet.refused("--admin-key-file", tmp_path / "none", "license", "list")

    @pytest.mark.parametrize("text", [b"", b"sga_0", b"s3cret\nlines", "ümlaut".encode(), b"\xff\xfe", b"\x00"])
    def test_a_key_file_that_holds_none(self, text: bytes, signet: Signet, tmp_path: Path) -> None:
        (tmp_path / "key").write_bytes(text)
        said = signet.refused("--admin-key-file", tmp_path / "key", "license", "list")
        assert f"{tmp_path / 'key'} holds no admin key" in said
        assert "--admin-key-file" in said
        assert "s3cret" not in said

    def test_a_key_file_that_holds_part_of_one_or_another_kind(self, signet: Signet, tmp_path: Path) -> None:
        owner = (signet.home / "keys" / "owner.key").read_text().strip()
        for text in (owner[:-1], owner + owner, Key.mint("sgn").text):
            (tmp_path / "key").write_text(text)
            said = signet.refused("--admin-key-file", tmp_path / "key", "license", "list")
            assert "holds no admin key" in said
            assert text.partition(".")[2] not in said

    def test_a_key_of_another_gateway(self, signet: Signet, tmp_path: Path) -> None:
        (tmp_path / "key").write_text(Key.mint("sga").text + "\n")
        assert "admin key" in signet.refused("--admin-key-file", tmp_path / "key", "license", "list")


class TestEnvironment:
    def test_a_setting_that_is_none_names_its_variable(self, tmp_path: Path) -> None:
        said = Signet(tmp_path / "home").refused("license", "list", SIGNET_POLL_INTERVAL_S="soon")
        assert "SIGNET_POLL_INTERVAL_S" in said
        assert "soon" not in said, "a value may be a secret in the wrong place"

    @pytest.mark.parametrize("words", [("serve",), ("keys", "show"), ("model", "protect", "digits")], ids=" ".join)
    def test_a_database_that_does_not_answer(self, words: tuple[str, ...], tmp_path: Path) -> None:
        url = f"postgresql://nobody:secret@127.0.0.1:{free_port()}/nothing"
        said = Signet(tmp_path / "home").refused(*words, SIGNET_DATABASE_URL=url, PORT=str(free_port()))
        assert "SIGNET_DATABASE_URL" in said
        assert "secret" not in said

    @pytest.mark.parametrize("words", [("serve",), ("keys", "show"), ("model", "protect", "digits")], ids=" ".join)
    def test_a_home_that_cannot_be_made(self, words: tuple[str, ...], tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        said = Signet(tmp_path / "file" / "home").refused(*words, PORT=str(free_port()))
        assert f"{tmp_path / 'file' / 'home'}: Not a directory" in said

    def test_help_needs_neither_home_nor_torch(self, tmp_path: Path) -> None:
        for words in (("--help",), ("license", "--help"), ("license", "issue", "--help"), ("serve", "--help")):
            assert "Usage" in Signet(tmp_path / "home").said(*words)
        assert os.listdir(tmp_path) == []
