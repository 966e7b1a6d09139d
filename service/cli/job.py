"""`signet job`."""

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from service.cli.api import Api, Options, console, errors, fail, id_column

app = typer.Typer(help="What takes long, such as distilling a student.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="job_...")]
_COLOURS = {"queued": "cyan", "running": "yellow", "succeeded": "green", "failed": "red", "cancelled": "dim"}
_OPEN = ("queued", "running")
_LOOK_S = 1.0
_PATIENCE_S = 10.0  # until we say that nobody seems to work


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled")] = None,
) -> None:
    """Jobs, oldest first."""
    options: Options = context.obj
    found = Api(options).every("/v1/jobs", **({"state": state} if state else {}))
    if options.as_json:
        console.print_json(data=found)
        return
    table = Table(id_column(), "kind", "state", "step", "done", "since")
    for job in found:
        table.add_row(*_cells(job))
    console.print(table)


@app.command()
def show(context: typer.Context, job_id: Id) -> None:
    """One job, and how far it is."""
    _print(context.obj, Api(context.obj).call("GET", f"/v1/jobs/{job_id}"))


@app.command()
def watch(context: typer.Context, job_id: Id) -> None:
    """Follow a job until it has ended; exit code 1 unless it succeeded."""
    options: Options = context.obj
    job = follow(Api(options), job_id)
    _print(options, job)
    if job["state"] != "succeeded":
        raise fail(f"the job has {job['state']}" + (f": {job['failure']}" if job["failure"] else ""))


@app.command()
def cancel(context: typer.Context, job_id: Id) -> None:
    """End a job. The licenses that wait for its student are revoked."""
    _print(context.obj, Api(context.obj).call("POST", f"/v1/jobs/{job_id}/cancel"))


def follow(api: Api, job_id: str) -> Any:
    """The job when it has ended; a bar on standard error shows how far it is."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    job: Any = None
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("queued", total=None)
        for job, waited in _looks(api, job_id):
            words = f"{job['kind']}: {job['step'] or job['state']}"
            progress.update(task, description=words, completed=job["done"], total=job["total"] or None)
            if waited:
                progress.console.print("no worker has taken it yet: is `signet serve` or `signet worker` running?")
    return job


def _looks(api: Api, job_id: str) -> Iterator[tuple[Any, bool]]:
    """The job every second until it has ended, and, once, that it has waited for long."""
    began, said = time.monotonic(), False
    while True:
        job = api.call("GET", f"/v1/jobs/{job_id}")
        late = not said and job["state"] == "queued" and time.monotonic() - began > _PATIENCE_S
        said = said or late
        yield job, late
        if job["state"] not in _OPEN:
            return
        time.sleep(_LOOK_S)


def _cells(job: dict[str, Any]) -> list[str]:
    return [
        escape(job["id"]),
        escape(job["kind"]),
        f"[{_COLOURS.get(job['state'], 'default')}]{escape(job['state'])}[/]",
        escape(job["step"] or ""),
        f"{job['done']} of {job['total']}" if job["total"] else "",
        escape(job["created_at"][:16].replace("T", " ")),
    ]


def _print(options: Options, job: dict[str, Any]) -> None:
    if options.as_json:
        console.print_json(data=job)
        return
    table = Table(show_header=False)
    for name, cell in zip(("job", "kind", "state", "step", "done", "since"), _cells(job), strict=True):
        table.add_row(name, cell)
    table.add_row("for", escape(job["subject"]))
    if job["failure"]:
        table.add_row("failure", escape(job["failure"]))
    console.print(table)
