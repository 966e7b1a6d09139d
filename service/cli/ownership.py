"""`signet ownership`."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from service.cli.api import Api, Options, console, fail, id_column, say

if TYPE_CHECKING:  # importing them imports torch: not for `--help`
    from models.watermarks.registered import Commitment
    from service.catalogue.artefacts import Artefact
    from service.cli.marking import Marked, Wish
    from service.cli.owner_secret import OwnerSecret

app = typer.Typer(help="Prove whose network it is.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The model's name.")]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        envvar="SIGNET_OWNERSHIP_SECRET",
        help="The owner's secret, which never leaves this machine.",
        show_default="keys/ownership.secret in the home",
    ),
]


@app.command()
def commit(
    context: typer.Context,
    model: Name,
    version: Annotated[int | None, typer.Option(min=1, help="Default: the one that is served.")] = None,
    marks: Annotated[int, typer.Option(min=1, help="Independent marks; one is opened in each dispute.")] = 3,
    layer: Annotated[str | None, typer.Option(help="A weight's name, as conv2.weight; default: chosen.")] = None,
    digits: Annotated[
        int | None, typer.Option(min=64, help="Of each mark; default: by the layer, 256 at least.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="digits or mnist; default: the network's own answers to its calibration set.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: by the size of the data.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="The version's artefact, where it is not in this home.", show_default="the home's"),
    ] = None,
    secret_file: SecretFile = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: in `ownership/` of the home.")] = None,
) -> None:
    """Write secret marks into a version, add the result as a new one, and register the commitment to it."""
    from models.errors import ModelError
    from service.cli.marking import Wish

    options: Options = context.obj
    wish = Wish(marks, digits, layer, dataset, epochs)
    try:
        committed = commit_version(options, Api(options), model, version, wish, folder, secret_file, out)
    except ModelError as error:
        raise fail(str(error)) from None
    if options.as_json:
        console.print_json(data=committed.registered)
    else:
        _tell(model, committed)


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
    secret = _secret(options, secret_file, create=True)
    marked = mark(artefact, f"{name}/{next_number}", secret.value, wish, options.settings.data_dir)
    added = upload(api, marked.artefact, serve=False)["versions"][-1]["version"]
    if added != next_number:
        raise fail(
            f"another version was added meanwhile, so that the marked one became {added} and not {next_number}: retire "
            f"it with `signet model retire {name} {added}`, and commit again"
        )
    registered = api.call("POST", "/v1/ownership/commitments", json=_signed(secret, marked.commitment))
    file = out or options.settings.home / "ownership" / f"{name}-{added}.json"
    _write(file, registered)
    api.call("POST", f"/v1/models/{name}/versions/{added}/serve")
    return Committed(registered, marked, chosen["version"], added, file)


@app.command()
def verify(
    context: typer.Context,
    suspect: Annotated[Path, typer.Argument(help="safetensors")],
    model: Annotated[str, typer.Option(help="Whose it may be.")],
    commitment: Annotated[str | None, typer.Option(help="com_...; default: the model's latest.")] = None,
    mark: Annotated[int | None, typer.Option(min=0, help="Default: the first that was not opened before.")] = None,
    secret_file: SecretFile = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A folder; default: the suspect's.")] = None,
) -> None:
    """Look for a mark in a suspect's weights; writes the signed evidence and a report to read."""
    from signet_client.canonical import to_base64url

    from service.keyring import write_private

    options: Options = context.obj
    weights, api = suspect.read_bytes(), Api(options)
    secret = _secret(options, secret_file, create=False)
    chosen = _commitment(api, model, commitment)
    index = mark if mark is not None else _next_mark(api, chosen, weights)
    form = {"commitment_id": chosen["id"], "mark": str(index), "mark_key": to_base64url(_key(secret, chosen, index))}
    file = {"suspect": (suspect.name, weights, "application/octet-stream")}
    found = api.call("POST", "/v1/ownership/verifications", data=form, files=file)
    report = api.text(f"/v1/ownership/verifications/{found['id']}/report")
    beside = (out or suspect.parent) / f"{suspect.stem}-{found['id'].removeprefix('vfy_')[:8]}"
    paths = {"evidence": f"{beside}.json", "report": f"{beside}.html"}
    # Both hold the opened key. While the suspect is not verified the mark counts as fresh, and nobody else may read it.
    write_private(Path(paths["evidence"]), found.pop("evidence"))
    write_private(Path(paths["report"]), report)
    if options.as_json:
        console.print_json(data={**found, "files": paths})
    else:
        _print_verdict(suspect, chosen, found, paths)


@app.command("list")
def list_(context: typer.Context) -> None:
    """Commitments, and which of their marks were opened."""
    options: Options = context.obj
    found = Api(options).every("/v1/ownership/commitments")
    if options.as_json:
        console.print_json(data=found)
        return
    table = Table(id_column(), "network", "registered", "opened")
    for commitment in found:
        opened = f"{', '.join(map(str, commitment['opened_marks'])) or 'none'} of {len(_marks(commitment))}"
        about = f"{commitment['model']}/{commitment['version']}"
        table.add_row(*map(escape, (commitment["id"], about, commitment["receipt"]["registered_at"][:10], opened)))
    console.print(table)


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


def _secret(options: Options, path: Path | None, *, create: bool) -> "OwnerSecret":
    from service.cli.owner_secret import open_secret

    return open_secret(path or options.settings.home / "keys" / "ownership.secret", create=create)


def _signed(secret: "OwnerSecret", commitment: "Commitment") -> dict[str, str]:
    from signet_client.canonical import to_base64url
    from signet_client.evidence import STATEMENT, signed_bytes

    signature = secret.signing_key.sign(signed_bytes(STATEMENT, secret.public_key, commitment.to_dict()))
    statement = commitment.to_bytes().decode()
    return {"statement": statement, "public_key": secret.public_key, "signature": to_base64url(signature)}


def _write(path: Path, registered: dict[str, Any]) -> None:
    from signet_client.canonical import to_json

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = ("id", "statement", "public_key", "signature", "receipt")
    path.write_bytes(to_json({name: registered[name] for name in names}))


def _statement(commitment: dict[str, Any]) -> "Commitment":
    from models.watermarks.registered import Commitment

    return Commitment.from_bytes(commitment["statement"].encode())


def _marks(commitment: dict[str, Any]) -> range:
    return range(len(_statement(commitment).mark_hashes))


def _commitment(api: Api, model: str, commitment_id: str | None) -> dict[str, Any]:
    found: list[dict[str, Any]] = api.every("/v1/ownership/commitments", model=model)
    wanted = [one for one in found if commitment_id in (None, one["id"])]
    if not wanted:
        what = f"no commitment {commitment_id} to {model}" if commitment_id else f"nothing is committed to {model} yet"
        raise fail(f"{what}; see `signet ownership list` and `signet ownership commit`")
    return wanted[-1]


def _next_mark(api: Api, commitment: dict[str, Any], suspect: bytes) -> int:
    """The mark that this suspect was verified with before, or else the first that no verified suspect has seen."""
    import hashlib

    before = api.every("/v1/ownership/verifications", commitment_id=commitment["id"])
    digest = hashlib.sha256(suspect).hexdigest()
    for verification in before:
        if verification["suspect_sha256"] == digest and verification["verdict"] == "verified":
            mark: int = verification["mark"]
            return mark
    fresh = [mark for mark in _marks(commitment) if mark not in commitment["opened_marks"]]
    if not fresh:
        raise fail(
            f"all marks of {commitment['id']} are opened: commit a new version, or choose one again with "
            "--mark, which whoever saw its evidence could have removed or copied"
        )
    return fresh[0]


def _key(secret: "OwnerSecret", commitment: dict[str, Any], index: int) -> bytes:
    """The mark's key; looked at here, so that another secret's is sent nowhere."""
    from models.errors import WatermarkError
    from models.watermarks.registered import mark_key

    statement = _statement(commitment)
    key = mark_key(secret.value, statement.parameters, index)
    try:
        statement.open(index, key)
    except WatermarkError as error:
        hint = "; is it another owner's secret? See --secret-file" if error.field == "mark_key" else ""
        raise fail(f"{error}{hint}") from None
    return key


def _tell(name: str, done: Committed) -> None:
    parameters, report = done.marked.commitment.parameters, done.marked.report
    marks = f"{parameters.marks} marks of {parameters.digits} digits in {parameters.layer}"
    say(f"committed: {done.registered['id']}, {marks}")
    say(f"{name} version {done.after} bears them and is served; retire version {done.before}, which does not, in time")
    accuracy = f"{report.accuracy_before:.2%} before, {report.validation_accuracy:.2%} now"
    say(f"validation accuracy: {accuracy}; same answer to {done.marked.agreement:.2%} of the calibration set")
    say(f"statement and receipt: {shlex.quote(str(done.file))}")


def _print_verdict(suspect: Path, commitment: dict[str, Any], found: dict[str, Any], paths: dict[str, str]) -> None:
    parameters = _statement(commitment).parameters
    if found["verdict"] == "verified":
        console.print(f"[bold green]VERIFIED[/]: {escape(suspect.name)} was made from {escape(parameters.model)}")
    else:
        words = f"nothing shows that {escape(suspect.name)} was made from {escape(parameters.model)}"
        console.print(f"[bold yellow]NOT VERIFIED[/]: {words}")
    table = Table(show_header=False)
    table.add_row("digits that match", f"{found['matches']} of {parameters.digits}")
    table.add_row("adjusted p-value", f"{_power(found['log10_adjusted_p'])} (verified at 10^-9)")
    table.add_row("mark opened", f"{found['mark']} of {parameters.marks}, {escape(commitment['id'])}")
    for name, path in paths.items():
        table.add_row(name, escape(path))
    console.print(table)


def _power(log10: float) -> str:
    return f"{10**log10:.2g}" if log10 > -3 else f"10^{log10:.1f}"
