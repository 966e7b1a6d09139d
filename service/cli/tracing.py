"""`signet ownership trace` and `traces`."""

from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.markup import escape
from rich.table import Table

from service.cli.api import Api, Options, console, fail, id_column, say

PATH = "/v1/ownership/traces"
_PATIENCE = httpx.Timeout(3600, connect=10)  # a large suspect is sent, and checked, before there is a job


def trace(
    context: typer.Context,
    suspect: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="safetensors")],
    model: Annotated[str, typer.Option(help="Whose student it may be.")],
    version: Annotated[int | None, typer.Option(min=1, help="Default: the one that is served.")] = None,
    probe: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="safetensors with `inputs`, and `labels` or the teacher's. Default: the version's calibration inputs.",
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=100, help="Random numbers to hold the registered ones against.")] = 10_000,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A folder; default: the suspect's.")] = None,
) -> None:
    """Find out whose student a weights file is; writes the signed evidence and a report to read.

    A worker does it, in a minute or so for a small network. Whom the evidence names, his number it gives away: reissue
    that license. Exit code 0: somebody is named, 1: nobody is.
    """
    from service.cli.job import follow
    from service.cli.working import working

    options: Options = context.obj
    api, form = Api(options), {"model": model, "draws": str(draws)}
    if version is not None:
        form["version"] = str(version)
    files = {"suspect": (suspect.name, suspect.read_bytes(), "application/octet-stream")}
    if probe is not None:
        files["probe"] = (probe.name, probe.read_bytes(), "application/octet-stream")
    asked = api.call("POST", PATH, data=form, files=files, timeout=_PATIENCE)
    with working(options):
        job = follow(api, asked["job_id"])
    if job["state"] != "succeeded":
        raise fail(f"the trace has {job['state']}" + (f": {job['failure']}" if job["failure"] else ""))
    _show(options, api, asked["id"], out or suspect.parent, suspect.stem)


def traces(
    context: typer.Context,
    trace_id: Annotated[str | None, typer.Argument(help="trc_...; writes its evidence and report again.")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model alone.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A folder; default: this one.")] = None,
) -> None:
    """Traces that were asked for, oldest first; with an id, one of them."""
    options: Options = context.obj
    api = Api(options)
    if trace_id is not None:
        _show(options, api, trace_id, out or Path(), "trace")
        return
    found = api.every(PATH, **({"model": model} if model else {}))
    if options.as_json:
        console.print_json(data=found)
        return
    table = Table(id_column(), "students of", "state", "asked for", "named")
    for each in found:
        named = [_who(one) for one in each["found"] or [] if one["finding"] == "named"]
        about, asked = f"{each['model']}/{each['version']}", each["created_at"][:16].replace("T", " ")
        said = ", ".join(named) or ("" if each["found"] is None else "nobody")
        table.add_row(*map(escape, (each["id"], about, each["state"], asked, said)))
    console.print(table)


def _show(options: Options, api: Api, trace_id: str, folder: Path, stem: str) -> None:
    from service.keyring import write_private

    found = api.call("GET", f"{PATH}/{trace_id}")
    beside = folder / f"{stem}-{trace_id.removeprefix('trc_')[:8]}"
    paths = {"evidence": f"{beside}.json", "report": f"{beside}.html"}
    for what, path in paths.items():  # both may hold a customer's number
        write_private(Path(path), api.text(f"{PATH}/{trace_id}/{what}"))
    if options.as_json:
        console.print_json(data={**found, "files": paths})
    else:
        _print(found, paths)
    raise typer.Exit(0 if any(each["finding"] == "named" for each in found["found"]) else 1)


def _print(found: dict[str, Any], paths: dict[str, str]) -> None:
    named = [each for each in found["found"] if each["finding"] == "named"]
    about = f"{escape(found['model'])}/{found['version']}"
    if named:
        who = " and ".join(escape(_who(each)) for each in named)
        console.print(f"[bold green]TRACED[/] to {who}: the suspect was made from a student of {about}")
    else:
        console.print(f"[bold yellow]NOBODY IS NAMED[/] among {found['students']} students of {about}")
    table = Table(
        "customer", "license", "finding", "right with its stamp", "p of the stamp", "p of the mark", "adjusted"
    )
    for each in found["found"]:
        powers = (f"10^{each[name]:.1f}" for name in ("log10_p_stamp", "log10_p_mark", "log10_adjusted_p"))
        license = each["license_id"] or each["student_id"]
        table.add_row(*map(escape, (_who(each), license, each["finding"])), f"{each['accuracy']:.0%}", *powers)
    if found["found"]:
        console.print(table)
    for name, path in paths.items():
        say(f"{name}: {path}")
    for each in named:
        say(f"{_who(each)}: {each['advice']}")


def _who(each: dict[str, Any]) -> str:
    name: str = each["customer_name"] or "the student that customers share"
    return name
