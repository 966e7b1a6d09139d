"""A first start of the demonstration that was interrupted is taken up where it ended."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from signet_client import license_file, trust

from service.catalogue.artefacts import Artefact
from service.cli import demo
from service.cli.api import Api, Options
from service.cli.home import prepare
from service.settings import Settings

Start = Callable[[], Api]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", database_url="")


@pytest.fixture
def start(settings: Settings, artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Sets up the demonstration, with a network that is trained already, once."""
    trained = [artefact]
    monkeypatch.setattr(demo, "train_artefact", lambda *_: trained.pop())

    def once() -> Api:
        options = Options(settings, None, None, False)
        prepare(settings)
        demo.set_up(settings, options)
        return Api(options)

    return once


def test_each_thing_that_is_missing_is_made_again(settings: Settings, start: Start) -> None:
    api = start()
    home = settings.home
    kept = (home / "licenses" / "acme.lic").read_text()
    (home / "licenses" / "globex.lic").unlink()
    (home / "samples" / "3.png").unlink()
    start()
    assert (home / "licenses" / "acme.lic").read_text() == kept
    assert (home / "samples" / "3.png").exists()
    carried = license_file.decode((home / "licenses" / "globex.lic").read_text(), trust.resolve(home / "issuer.pub"))
    assert isinstance(carried.credential, license_file.KeyCredential)
    assert (home / "licenses" / "globex.key").read_text().strip() == carried.credential.key

    (home / "licenses" / "globex.key").unlink()
    (home / "licenses" / "acme.lic").unlink()
    shutil.rmtree(home / "samples")
    start()
    assert (home / "licenses" / "acme.lic").exists()
    assert (home / "licenses" / "globex.key").read_text().strip() == carried.credential.key
    assert len(list((home / "samples").iterdir())) == demo.SAMPLES
    assert sorted(customer["name"] for customer in api.every("/v1/customers")) == ["Acme Optics", "Globex Robotics"]


class TestPasteLines:
    def test_the_usual_ones_are_not_quoted(self) -> None:
        lines = demo.paste_lines(Settings(home=Path(".signet")), "lic_1")
        assert "'.signet/" not in str([line for heading, line in lines.items() if "Python" not in heading])
        url = "server='http://127.0.0.1:8000'"
        assert f"client = Client('.signet/licenses/acme.lic', trust='.signet/issuer.pub', {url})" in str(
            "\n".join(lines["the Python client"])
        )

    @pytest.mark.parametrize("name", ["my home", "it's", 'a "b" $HOME `c`'])
    def test_any_folder_comes_through_the_shell(self, tmp_path: Path, name: str) -> None:
        home = tmp_path / name
        (home / "samples").mkdir(parents=True)
        (home / "licenses").mkdir()
        (home / "licenses" / "globex.key").write_text("the key")
        for digit in range(demo.SAMPLES):
            (home / "samples" / f"{digit}.png").write_text("")
        sections = demo.paste_lines(Settings(home=home), "lic_1")
        (signet,) = next(lines for heading, lines in sections.items() if "Acme" in heading)
        images = [str(home / "samples" / f"{digit}.png") for digit in range(demo.SAMPLES)]
        assert _words(signet)[-10:] == [*images, "--license", str(home / "licenses" / "acme.lic")]
        (curl,) = next(lines for heading, lines in sections.items() if "Globex's license key" in heading)
        words = _words(curl.partition(" | ")[0])
        assert "Authorization: Bearer the key" in words
        assert [word for word in words if word.startswith("-Fimages")] == [f"-Fimages=@{image}" for image in images]
        python = _words("\n".join(sections["the Python client"]))[-1]
        assert repr(str(home / "licenses" / "acme.lic")) in python


def _words(line: str) -> list[str]:
    """What the shell makes of the line."""
    command = f"printf '%s\\0' {line}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)  # noqa: S603, S607 - our own line
    return done.stdout.decode().split("\0")[:-1]
