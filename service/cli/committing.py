"""`signet ownership commit`, step by step: a marked copy of a version, registered and then served.

(1) mark a copy of the version; (2) add it, not served; (3) register the statement about it; (4) serve it; (5) keep the
statement and its receipt. What fails before (3) is done leaves no version behind that bears marks nobody stated.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from signet_client.canonical import to_base64url, to_json
from signet_client.evidence import STATEMENT, signed_bytes

from service.cli.api import Api, Options, errors, fail
from service.cli.owner_secret import OwnerSecret, secret_of

if TYPE_CHECKING:  # importing them imports torch: not for `--help`
    from models.watermarks.registered import Commitment
    from service.catalogue.artefacts import Artefact
    from service.cli.marking import Marked, Wish


@dataclass(frozen=True, slots=True)
class Committed:
    """A commitment in the registry, the version it is about, the one that was marked, and where the statement lies."""

    registered: dict[str, Any]
    marked: "Marked"
    before: int
    after: int
    file: Path


def commit_version(
    options: Options,
    api: Api,
    name: str,
    number: int | None,
    wish: "Wish",
    folder: Path | None = None,
    secret_file: Path | None = None,
    out: Path | None = None,
) -> Committed:
    """Mark a version and register the commitment. The new version is served only once that is done.

    Raises:
        ModelError: the marks cannot be written.
    """
    from service.cli.marking import mark
    from service.cli.model import upload

    model = api.call("GET", f"/v1/models/{name}")
    chosen, next_number = _version(model, number), model["versions"][-1]["version"] + 1
    artefact = _artefact(options, name, chosen, folder)
    secret = secret_of(options, secret_file, create=True)
    marked = mark(artefact, f"{name}/{next_number}", secret, wish, options.settings.data_dir)  # (1)
    with _nothing_left(api, name, marked):
        added = upload(api, marked.artefact, serve=False)["versions"][-1]["version"]  # (2)
        if added != next_number:
            raise fail(f"another version was added meanwhile: the marked one became {added}, not {next_number}")
        statement = _signed(secret, marked.commitment)
        registered = api.call("POST", "/v1/ownership/commitments", json=statement)  # (3)
    with _said(f"{registered['id']} is registered and version {added} bears its marks, but it is not served yet"):
        api.call("POST", f"/v1/models/{name}/versions/{added}/serve")  # (4)
    file = out or options.settings.home / "ownership" / f"{name}-{added}.json"
    with _said(f"{registered['id']} is registered and version {added} is served, but its statement was not written"):
        _write(file, registered)  # (5)
    return Committed(registered, marked, chosen["version"], added, file)


@contextmanager
def _nothing_left(api: Api, name: str, marked: "Marked") -> Iterator[None]:
    """Whatever fails in here, an interruption too, takes the marked version out of use again, or names it."""
    try:
        yield
    except BaseException:
        try:
            _retire(api, name, marked.artefact.manifest.weights_sha256)
        except typer.Exit:
            words = f"a version with marks that nobody committed to may be left: look with `signet model show {name}`"
            errors.print(f"{words}, and retire it with `signet model retire {name} VERSION`", markup=False)
        raise


def _retire(api: Api, name: str, weights_sha256: str) -> None:
    """Found by its weights: a version whose number was never answered may be there all the same."""
    for version in api.call("GET", f"/v1/models/{name}")["versions"]:
        if version["weights_sha256"] == weights_sha256 and version["state"] != "retired":
            number = version["version"]
            api.call("POST", f"/v1/models/{name}/versions/{number}/retire")
            words = f"version {number} of {name}, whose commitment was not finished, is retired"
            errors.print(f"{words}; it was never served, and the one before still is", markup=False)


@contextmanager
def _said(state: str) -> Iterator[None]:
    """What stays as it is when the last steps fail."""
    try:
        yield
    except BaseException:
        errors.print(f"{state}: see `signet ownership list` and `signet model serve`", markup=False)
        raise


def _version(model: dict[str, Any], number: int | None) -> dict[str, Any]:
    for version in model["versions"]:
        if version["version"] == number or (number is None and version["state"] == "serving"):
            found: dict[str, Any] = version
            return found
    raise fail(f"{model['name']} has no version {number}" if number else f"no version of {model['name']} is served")


def _artefact(options: Options, name: str, version: dict[str, Any], folder: Path | None) -> "Artefact":
    """The version's files, as the gateway has them."""
    from service.catalogue.artefacts import read_folder

    place = folder or options.settings.home / "models" / name / str(version["version"])
    if not place.is_dir():
        raise fail(f"{place} is not there: name the folder with version {version['version']} with --folder")
    artefact = read_folder(place)
    if artefact.manifest.weights_sha256 != version["weights_sha256"]:
        raise fail(f"{place} holds other weights than version {version['version']} of {name}; see --folder")
    return artefact


def _signed(secret: OwnerSecret, commitment: "Commitment") -> dict[str, str]:
    signature = secret.signing_key.sign(signed_bytes(STATEMENT, secret.public_key, commitment.to_dict()))
    statement = commitment.to_bytes().decode()
    return {"statement": statement, "public_key": secret.public_key, "signature": to_base64url(signature)}


def _write(path: Path, registered: dict[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = ("id", "statement", "public_key", "signature", "receipt")
    path.write_bytes(to_json({name: registered[name] for name in names}))
