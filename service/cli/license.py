"""`signet license`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from service.cli.api import Api, Options, console, fail, id_column, say
from service.cli.secrets import reserved
from service.cli.working import working

app = typer.Typer(help="What customers may do.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="lic_...")]
_COLOURS = {"active": "green", "pending": "cyan", "suspended": "yellow", "revoked": "red"}


@app.command()
def issue(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="cus_...")],
    model: Annotated[str, typer.Argument(help="The model's name.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the license file goes; it is never shown again.")],
    credential: Annotated[str, typer.Option(help="fingerprint, key or serial_number")] = "fingerprint",
    student: Annotated[
        str | None, typer.Option(help="Of a serial number: own, which is the default, or shared.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Of a serial number: until its student is ready.")] = False,
    not_before: Annotated[datetime | None, typer.Option(help="UTC")] = None,
    expires: Annotated[datetime | None, typer.Option(help="UTC")] = None,
    grace_days: Annotated[int | None, typer.Option()] = None,
    check_in_days: Annotated[int | None, typer.Option()] = None,
    quota: Annotated[int | None, typer.Option(help="Images in all.")] = None,
    max_images: Annotated[int | None, typer.Option(help="Images in one request.")] = None,
    max_concurrency: Annotated[int | None, typer.Option()] = None,
    rate_per_minute: Annotated[int | None, typer.Option()] = None,
    network: Annotated[list[str] | None, typer.Option(help="CIDR; repeatable")] = None,
) -> None:
    """Issue a license and write its file (0600)."""
    terms: dict[str, Any] = {
        "not_before": _utc(not_before),
        "expires_at": _utc(expires),
        "grace_days": grace_days,
        "check_in_days": check_in_days,
        "quota": quota,
        "max_images_per_request": max_images,
        "max_concurrency": max_concurrency,
        "rate_per_minute": rate_per_minute,
        "networks": network,
    }
    body: dict[str, Any] = {"customer_id": customer, "model": model, "credential": credential}
    if student is not None:
        body["student"] = student
    body["terms"] = {name: value for name, value in terms.items() if value is not None}
    _issue(context.obj, "/v1/licenses", body, out, wait=wait)


@app.command()
def reissue(
    context: typer.Context,
    license_id: Id,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the fresh license file goes.")],
    overlap_hours: Annotated[int, typer.Option(min=0, help="How long the file before this one goes on.")] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Of a serial number: until its student is ready.")] = False,
) -> None:
    """Replace a license's credential: a fresh file, other bytes for the same answers."""
    _issue(context.obj, f"/v1/licenses/{license_id}/reissue", {"overlap_hours": overlap_hours}, out, wait=wait)


@app.command("file")
def file_(
    context: typer.Context,
    license_id: Id,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the license file goes.")],
) -> None:
    """Write the license file of a serial number (0600), once its student is ready."""
    api = Api(context.obj)
    with reserved(out) as write:
        write(api.text(f"/v1/licenses/{license_id}/file"))
    say(f"license file: {out}")


@app.command()
def bundle(
    context: typer.Context,
    license_id: Id,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the zip goes.")],
) -> None:
    """Write the bundle of a license with a student of its own (0600): what its customer runs without the gateway."""
    api = Api(context.obj)
    with reserved(out) as write:
        write(api.binary(f"/v1/licenses/{license_id}/bundle"))
    say(f"bundle: {out}")


def _issue(options: Options, path: str, body: dict[str, Any], out: Path, *, wait: bool) -> None:
    api = Api(options)
    with reserved(out) as write:
        issued = api.call("POST", path, json=body)
        text = issued.pop("license_file")
        if text is None and wait:
            with working(options):
                text = _awaited(api, issued)
            issued = api.call("GET", f"/v1/licenses/{issued['id']}")
        if text is not None:
            write(text)
    _print(options, issued)
    if options.as_json:
        return
    if text is not None:
        say(f"license file: {out}")
    else:
        say(
            f"pending until {issued['student']['job_id']} is done; then: signet license file {issued['id']} --out {out}"
        )


def _awaited(api: Api, issued: dict[str, Any]) -> str:
    """The license file, as soon as the student is ready."""
    from service.cli.job import follow

    job = follow(api, issued["student"]["job_id"])
    if job["state"] != "succeeded":
        raise fail(f"the student's job has {job['state']}: {job['failure'] or 'see the license'}; {issued['id']}")
    return api.text(f"/v1/licenses/{issued['id']}/file")


@app.command("list")
def list_(
    context: typer.Context,
    customer: Annotated[str | None, typer.Option(help="cus_...")] = None,
    model: Annotated[str | None, typer.Option()] = None,
    status: Annotated[str | None, typer.Option(help="pending, active, suspended or revoked")] = None,
) -> None:
    """Licenses, oldest first."""
    options: Options = context.obj
    wanted = {"customer_id": customer, "model": model, "status": status}
    found = Api(options).every("/v1/licenses", **{name: value for name, value in wanted.items() if value is not None})
    if options.as_json:
        console.print_json(data=found)
        return
    table = Table(id_column(), "model", "status", "used", "expires")
    for license in found:
        cells = _cells(license)
        table.add_row(cells["license"], *(cells[name] for name in ("model", "status", "used", "expires")))
    console.print(table)


@app.command()
def show(context: typer.Context, license_id: Id) -> None:
    """One license, and how much of it is used."""
    _print(context.obj, Api(context.obj).call("GET", f"/v1/licenses/{license_id}"))


@app.command()
def suspend(context: typer.Context, license_id: Id) -> None:
    """Refuse it in plain words until it is reinstated."""
    _print(context.obj, Api(context.obj).call("POST", f"/v1/licenses/{license_id}/suspend"))


@app.command()
def reinstate(context: typer.Context, license_id: Id) -> None:
    """End a suspension."""
    _print(context.obj, Api(context.obj).call("POST", f"/v1/licenses/{license_id}/reinstate"))


@app.command()
def revoke(context: typer.Context, license_id: Id) -> None:
    """End a license for good."""
    _print(context.obj, Api(context.obj).call("POST", f"/v1/licenses/{license_id}/revoke"))


@app.command("check-in")
def check_in(context: typer.Context, license_id: Id) -> None:
    """Vouch for a license with a check-in period."""
    _print(context.obj, Api(context.obj).call("POST", f"/v1/licenses/{license_id}/check-in"))


def _utc(moment: datetime | None) -> str | None:
    return moment.replace(tzinfo=UTC).isoformat() if moment else None


def _cells(license: dict[str, Any]) -> dict[str, str]:
    colour = _COLOURS.get(license["status"], "default")
    terms = license["terms"] or {"quota": "?", "expires_at": "?"}
    unreadable = ", ".join(license.get("unreadable", []))  # a newer release's, or damaged
    status = f"[{colour}]{escape(license['status'])}[/]" + (f" unreadable: {escape(unreadable)}" if unreadable else "")
    return {
        "license": escape(license["id"]),
        "customer": escape(license["customer_id"]),
        "model": escape(license["model"]),
        "status": status,
        "proved by": escape("\n".join(map(_credential, filter(_goes_on, license["credentials"])))),
        **_student(license.get("student")),
        "used": f"{license['used']} of {terms.get('quota') or 'any'}",
        "expires": escape((terms.get("expires_at") or "never")[:10]),
    }


def _student(student: dict[str, Any] | None) -> dict[str, str]:
    if student is None:
        return {}
    words = f"{student['kind']}, {student['state']}, {student['job_id']}"
    return {"student": escape(f"{words}: {student['failure']}" if student["failure"] else words)}


def _goes_on(credential: dict[str, Any]) -> bool:
    return not credential["ends_at"] or datetime.fromisoformat(credential["ends_at"]) > datetime.now(UTC)


def _credential(credential: dict[str, Any]) -> str:
    count, code = credential["fingerprints"], credential["code"]
    kind = credential["kind"]
    if code:
        kind = f"{count} {code} fingerprint{'s' if count > 1 else ''}, version {credential['gatekeeper_version']}"
    return f"{kind} until {credential['ends_at'][:16].replace('T', ' ')} UTC" if credential["ends_at"] else kind


def _print(options: Options, license: dict[str, Any]) -> None:
    if options.as_json:
        console.print_json(data=license)
        return
    table = Table(show_header=False)
    for name, cell in _cells(license).items():
        table.add_row(name, cell)
    console.print(table)
