"""`signet ownership commit` that fails after its version was added: none stays behind that bears unstated marks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from signet_client.canonical import from_json

from service.catalogue.artefacts import Artefact
from service.cli import marking
from service.cli.api import Api, Options, fail
from service.cli.committing import Committed, commit_version
from service.cli.home import prepare
from service.cli.marking import Wish
from service.cli.model import upload
from service.settings import Settings

WISH = Wish(marks=1, digits=64, layer="conv2.weight", dataset=None, epochs=1)


class Unlucky(Api):
    """A gateway that cannot be reached at some point: `before` the call is carried out, or only its answer is lost."""

    def __init__(self, options: Options, at: str, *, before: bool, error: Callable[[], BaseException]) -> None:
        super().__init__(options)
        self._at, self._before, self._error = at, before, error

    def call(self, method: str, path: str, **parameters: Any) -> Any:
        unlucky = method == "POST" and path.endswith(self._at)
        if unlucky and self._before:
            raise self._error()
        answer = super().call(method, path, **parameters)
        if unlucky:
            raise self._error()
        return answer


def no_answer() -> BaseException:
    return fail("no answer")


@pytest.fixture
def options(tmp_path: Path, artefact: Artefact) -> Options:
    """A home with the digits model."""
    settings = Settings(home=tmp_path / "home", database_url="")
    prepare(settings)
    options = Options(settings, None, None, False)
    upload(Api(options), artefact)
    return options


def states(options: Options) -> list[str]:
    return [version["state"] for version in Api(options).call("GET", "/v1/models/digits")["versions"]]


def committed(options: Options) -> list[Any]:
    return Api(options).every("/v1/ownership/commitments")


class TestWhatStaysBehind:
    @pytest.mark.parametrize(
        ("at", "before", "error"),
        [
            ("/v1/ownership/commitments", True, no_answer),
            ("/v1/ownership/commitments", True, KeyboardInterrupt),
            ("/v1/ownership/commitments", False, no_answer),
            ("/v1/models", False, no_answer),
        ],
    )
    def test_a_version_without_a_commitment_is_retired(
        self, at: str, before: bool, error: Callable[[], BaseException], options: Options, capfd: Any
    ) -> None:
        with pytest.raises((typer.Exit, KeyboardInterrupt)):
            commit_version(options, Unlucky(options, at, before=before, error=error), "digits", None, WISH)
        assert states(options) == ["serving", "retired"]
        said = " ".join(capfd.readouterr().err.split())
        assert "version 2 of digits, whose commitment was not finished, is retired" in said
        again = commit_version(options, Api(options), "digits", None, WISH)
        assert (again.after, states(options)) == (3, ["ready", "retired", "serving"])

    def test_an_upload_that_failed_leaves_nothing_to_retire(self, options: Options) -> None:
        api = Unlucky(options, "/v1/models", before=True, error=no_answer)
        with pytest.raises(typer.Exit):
            commit_version(options, api, "digits", None, WISH)
        assert states(options) == ["serving"]

    def test_where_it_cannot_be_retired_either_it_is_said_what_to_do(self, options: Options, capfd: Any) -> None:
        class Gone(Unlucky):
            def call(self, method: str, path: str, **parameters: Any) -> Any:
                if path.endswith("/retire"):
                    raise fail("no answer")
                return super().call(method, path, **parameters)

        api = Gone(options, "/v1/ownership/commitments", before=True, error=no_answer)
        with pytest.raises(typer.Exit):
            commit_version(options, api, "digits", None, WISH)
        said = " ".join(capfd.readouterr().err.split())
        assert "signet model show digits" in said
        assert "signet model retire digits VERSION" in said
        assert states(options) == ["serving", "ready"]

    def test_another_version_that_was_added_meanwhile(
        self, options: Options, artefact: Artefact, monkeypatch: pytest.MonkeyPatch, capfd: Any
    ) -> None:
        plain = marking.mark

        def slow(*arguments: Any) -> Any:
            upload(Api(options), artefact, serve=False)
            return plain(*arguments)

        monkeypatch.setattr(marking, "mark", slow)
        with pytest.raises(typer.Exit):
            commit_version(options, Api(options), "digits", None, WISH)
        assert states(options) == ["serving", "ready", "retired"]
        assert "became 3, not 2" in " ".join(capfd.readouterr().err.split())
        assert committed(options) == []


class TestWhatIsDoneStays:
    def test_a_version_that_is_committed_to_but_could_not_be_served(self, options: Options, capfd: Any) -> None:
        with pytest.raises(typer.Exit):
            commit_version(options, Unlucky(options, "/serve", before=True, error=no_answer), "digits", None, WISH)
        assert states(options) == ["serving", "ready"]
        (commitment,) = committed(options)
        said = " ".join(capfd.readouterr().err.split())
        assert f"{commitment['id']} is registered and version 2 bears its marks, but it is not served yet" in said
        assert "signet model serve" in said

    def test_a_statement_that_could_not_be_written(self, options: Options, tmp_path: Path, capfd: Any) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="file"):
            commit_version(options, Api(options), "digits", None, WISH, out=tmp_path / "file" / "s.json")
        assert states(options) == ["ready", "serving"]
        assert "its statement was not written" in " ".join(capfd.readouterr().err.split())


def test_the_same_secret_marks_the_same_model_otherwise_in_another_home(
    options: Options, artefact: Artefact, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "other", database_url="")
    prepare(settings)
    other = Options(settings, None, None, False)
    upload(Api(other), artefact)
    secret = tmp_path / "owner.secret"
    one, two = (
        commit_version(place, Api(place), "digits", None, WISH, secret_file=secret) for place in (options, other)
    )
    assert hashes(one) != hashes(two)
    assert [one.after, two.after] == [2, 2]


def hashes(committed: Committed) -> object:
    content = from_json(committed.registered["statement"].encode())
    assert isinstance(content, dict)
    return content["mark_hashes"]
