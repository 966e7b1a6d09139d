"""`signet ownership`."""

import json
import math
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from service.cli import tracing
from service.cli.api import Api, Options, console, errors, fail, id_column, say
from service.clock import rfc3339

if TYPE_CHECKING:  # importing it imports torch: not for `--help`
    from service.cli.committing import Committed

_PATIENCE = httpx.Timeout(3600, connect=10)  # a large suspect takes minutes, and one is read at a time
app = typer.Typer(help="Prove whose network it is, and whose student was leaked.", no_args_is_help=True)
app.command("trace")(tracing.trace)
app.command("traces")(tracing.traces)
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
    from service.cli.committing import commit_version
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


@app.command()
def verify(
    context: typer.Context,
    suspect: Annotated[Path, typer.Argument(help="safetensors")],
    model: Annotated[str, typer.Option(help="Whose it may be.")],
    commitment: Annotated[str | None, typer.Option(help="com_...; default: the model's latest.")] = None,
    mark: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Which of the commitment's marks to open, counted from 0. Default: the one that this very file was "
            "verified with before, or else the first with which no suspect was verified.",
        ),
    ] = None,
    known_since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"],
            metavar="DATE",
            help="UTC; when the suspect first appeared, if that is known and was after the commitment. Default: it may "
            "be older, and what could have been tried on it before is paid for.",
        ),
    ] = None,
    secret_file: SecretFile = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A folder; default: the suspect's.")] = None,
) -> None:
    """Look for a mark in a suspect's weights; writes the signed evidence and a report to read."""
    from signet_client.canonical import to_base64url

    from service.cli.opening import chosen_commitment, next_mark, opening_key
    from service.cli.owner_secret import secret_of
    from service.keyring import write_private

    options: Options = context.obj
    weights, api = suspect.read_bytes(), Api(options)
    secret = secret_of(options, secret_file, create=False)
    chosen = chosen_commitment(api, model, commitment)
    index = mark if mark is not None else next_mark(api, chosen, weights)
    key = opening_key(secret, chosen, index)
    form = {"commitment_id": chosen["id"], "mark": str(index), "mark_key": to_base64url(key)}
    if known_since is not None:
        form["suspect_known_since"] = rfc3339(known_since.replace(tzinfo=UTC))
    file = {"suspect": (suspect.name, weights, "application/octet-stream")}
    with _waiting(f"looking for mark {index} in {suspect.name}"):
        found = api.call("POST", "/v1/ownership/verifications", data=form, files=file, timeout=_PATIENCE)
    report = api.text(f"/v1/ownership/verifications/{found['id']}/report")
    beside = (out or suspect.parent) / f"{suspect.stem}-{found['id'].removeprefix('vfy_')[:8]}"
    paths = {"evidence": f"{beside}.json", "report": f"{beside}.html"}
    evidence = found.pop("evidence")
    # Both hold the opened key. While the suspect is not verified the mark counts as fresh, and nobody else may read it.
    write_private(Path(paths["evidence"]), evidence)
    write_private(Path(paths["report"]), report)
    if options.as_json:
        console.print_json(data={**found, "files": paths})
    else:
        _print_verdict(suspect, chosen, json.loads(evidence), paths)


@contextmanager
def _waiting(what: str) -> Iterator[None]:
    """That something is going on, and for how long, on standard error."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        progress.add_task(what, total=None)
        yield


@app.command("list")
def list_(context: typer.Context) -> None:
    """Commitments, and which of their marks were opened."""
    from service.cli.opening import marks_of

    options: Options = context.obj
    found = Api(options).every("/v1/ownership/commitments")
    if options.as_json:
        console.print_json(data=found)
        return
    table = Table(id_column(), "network", "registered", "opened")
    for commitment in found:
        opened = f"{', '.join(map(str, commitment['opened_marks'])) or 'none'} of {len(marks_of(commitment))}"
        about = f"{commitment['model']}/{commitment['version']}"
        table.add_row(*map(escape, (commitment["id"], about, commitment["receipt"]["registered_at"][:10], opened)))
    console.print(table)


def _tell(name: str, done: "Committed") -> None:
    parameters, report = done.marked.commitment.parameters, done.marked.report
    marks = f"{parameters.marks} marks of {parameters.digits} digits in {parameters.layer}"
    say(f"committed: {done.registered['id']}, {marks}")
    say(f"{name} version {done.after} bears them and is served; retire version {done.before}, which does not, in time")
    accuracy = f"{report.accuracy_before:.2%} before, {report.validation_accuracy:.2%} now"
    say(f"validation accuracy: {accuracy}; same answer to {done.marked.agreement:.2%} of the calibration set")
    say(f"statement and receipt: {shlex.quote(str(done.file))}")


def _print_verdict(suspect: Path, commitment: dict[str, Any], e: dict[str, Any], paths: dict[str, str]) -> None:
    from models.evaluation.ownership import LOG10_TRIES
    from models.evaluation.rank_correlation import rank_correlation

    terms, registered_at = e["commitment"]["statement"]["parameters"], e["commitment"]["receipt"]["registered_at"]
    about, since = escape(terms["model"]), e["suspect_known_since"]
    if e["verdict"] == "verified":
        console.print(f"[bold green]VERIFIED[/]: {escape(suspect.name)} was made from {about}")
    else:
        console.print(f"[bold yellow]NOT VERIFIED[/]: nothing shows that {escape(suspect.name)} was made from {about}")
    table = Table(show_header=False)
    table.add_row("digits that match", f"{e['matches']} of {terms['digits']}; the suspect {e['reading']}")
    table.add_row("rank correlation", f"{rank_correlation(e['ranks'], e['expected']):.2f} of weights with their digits")
    table.add_row("adjusted p-value", f"{_power(e['log10_adjusted_p'])} (verified at 10^-9)")
    table.add_row("mark opened", f"{e['mark']} (there are 0 to {terms['marks'] - 1})")
    table.add_row("commitment", f"{escape(commitment['id'])}, registered {registered_at}")
    table.add_row("suspect known since", f"{since}, as you say" if since else "not said: 2^112 tries are paid for")
    for name, path in paths.items():
        table.add_row(name, escape(path))
    console.print(table)
    tries_short = e["log10_adjusted_p"] + LOG10_TRIES > e["log10_threshold"]
    if e["verdict"] == "verified" and not e["adjustments"]["log10_tries"] and tries_short:
        say(f"This rests on your word that the suspect was not there before {since}: an examiner will check it.")
    if e["verdict"] != "verified" and _would_be_verified(e):
        say(
            f"It would be verified if the suspect is known not to have been there before {registered_at}: --known-since"
        )


def _would_be_verified(e: dict[str, Any]) -> bool:
    """If no tries were to be paid for."""
    paid = e["adjustments"]
    least = min(
        min(reading["log10_p_digits"], reading["log10_p_ranks"]) + reading["log10_alignments"]
        for reading in e["readings"]
    )
    choices = paid["readings"] * paid["marks"] * paid["commitments"]
    return bool(least + math.log10(choices) <= e["log10_threshold"])


def _power(log10: float) -> str:
    return f"{10**log10:.2g}" if log10 > -3 else f"10^{log10:.1f}"
