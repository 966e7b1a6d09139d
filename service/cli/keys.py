"""`signet keys`: the key ring of this machine, and who may administer."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from service.cli.api import Api, Options, console, fail, id_column, require_home, say
from service.cli.secrets import reserved

app = typer.Typer(help="The key ring, and administrators' keys.", no_args_is_help=True)
admin = typer.Typer(help="Administrators' keys.", no_args_is_help=True)
app.add_typer(admin, name="admin")


def _own_machine(options: Options) -> None:
    if options.server is not None:
        raise fail("the key ring lies on the gateway's own machine: run this there, without --server", 2)


@app.command()
def show(context: typer.Context) -> None:
    """Key ids and public keys of this machine's ring; no secret."""
    from service.cli.home import exists, prepare, ring_path
    from service.keyring import open_ring, public_key_document

    options: Options = context.obj
    _own_machine(options)
    if not exists(options.settings):
        prepare(options.settings)
    ring = open_ring(ring_path(options.settings), create=False)
    document = public_key_document(ring.public_keys())
    if options.as_json:
        console.print_json(data={**document, "roots": list(ring.roots), "active_issuer": ring.active_issuer})
        return
    table = Table("id", "kind", "active", Column("public key", overflow="fold"))
    for root in ring.roots:
        table.add_row(root, "root", "yes" if root == ring.active_root else "", "")
    for key in document["keys"]:
        table.add_row(key["kid"], "issuer", "yes" if key["kid"] == ring.active_issuer else "", key["public_key"])
    console.print(table)


@app.command()
def rotate(context: typer.Context) -> None:
    """Add a root and an issuer key and make them active; what exists stays valid. Restart the gateway afterwards."""
    from service.cli.home import ring_path, write_public_keys
    from service.keyring import open_ring, write_private

    settings = context.obj.settings
    _own_machine(context.obj)
    require_home(settings)
    ring = open_ring(ring_path(settings), create=False).rotated()
    write_private(ring_path(settings), ring.to_json())
    write_public_keys(settings, ring)
    say(f"active now: {ring.active_root}, {ring.active_issuer}. Restart the gateway, and give licensees the new")
    say(f"{settings.home / 'issuer.pub'} before they get files signed with it.")


@app.command()
def backup(
    context: typer.Context, to: Annotated[Path, typer.Argument(help="A new file; it will hold every secret.")]
) -> None:
    """Copy the key ring. Without it licenses, tokens and evidence cannot be checked."""
    from service.cli.home import ring_path
    from service.keyring import open_ring

    _own_machine(context.obj)
    require_home(context.obj.settings)
    ring = open_ring(ring_path(context.obj.settings), create=False)
    with reserved(to) as write:
        write(ring.to_json())
    say(f"backed up to {to} (0600); keep it apart from the database")


@app.command()
def restore(context: typer.Context, source: Annotated[Path, typer.Argument(help="A backup.")]) -> None:
    """Put a backed-up ring into a home that has none."""
    from service.cli.home import ring_path, write_public_keys
    from service.keyring import open_ring, write_private

    settings = context.obj.settings
    _own_machine(context.obj)
    if ring_path(settings).exists():
        raise fail(f"{ring_path(settings)} exists; move it away first")
    ring = open_ring(source, create=False)
    write_private(ring_path(settings), ring.to_json())
    write_public_keys(settings, ring)
    console.print(f"restored {len(ring.roots)} root(s) and {len(ring.issuers)} issuer key(s)")


@admin.command("add")
def admin_add(
    context: typer.Context,
    name: str,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the key goes (0600); it is never shown again.")],
    role: Annotated[str, typer.Option(help="owner, issuer or auditor")] = "issuer",
) -> None:
    """Mint an admin key into a file."""
    api = Api(context.obj)
    with reserved(out) as write:
        minted = api.call("POST", "/v1/admin-keys", json={"name": name, "role": role})
        write(minted["key"] + "\n")
    say(f"{minted['id']}  {minted['role']}  {out}")


@admin.command("list")
def admin_list(context: typer.Context) -> None:
    """Every admin key, without secrets."""
    options: Options = context.obj
    items = Api(options).call("GET", "/v1/admin-keys")["items"]
    if options.as_json:
        console.print_json(data=items)
        return
    table = Table(id_column(), "name", "role", "since", "revoked")
    for key in items:
        cells = (key["id"], key["name"], key["role"], key["created_at"][:10], (key["revoked_at"] or "")[:10])
        table.add_row(*map(escape, cells))
    console.print(table)


@admin.command("revoke")
def admin_revoke(context: typer.Context, admin_key_id: Annotated[str, typer.Argument(help="adm_...")]) -> None:
    """End an admin key at once."""
    revoked = Api(context.obj).call("POST", f"/v1/admin-keys/{admin_key_id}/revoke")
    say(f"{revoked['id']} revoked")
