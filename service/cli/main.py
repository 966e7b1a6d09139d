"""`signet`: the gateway and its administration. Commands on nouns live in one file each."""

import logging
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError
from signet_client.license_payload import is_server

from service import logs
from service.addresses import is_loopback
from service.cli import customer, keys, license, model, predict, serve
from service.cli.api import Options, fail
from service.settings import Settings

app = typer.Typer(
    help="Signet, a license gateway for PyTorch models.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)
app.add_typer(model.app, name="model")
app.add_typer(customer.app, name="customer")
app.add_typer(license.app, name="license")
app.add_typer(keys.app, name="keys")
app.command("serve")(serve.serve)
app.command("predict")(predict.predict)


@app.callback()
def options(
    context: typer.Context,
    server: Annotated[
        str | None, typer.Option(envvar="SIGNET_SERVER", help="A gateway's URL; default: the local store.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(envvar="SIGNET_HOME", help="Keys, models and database.", show_default=".signet")
    ] = None,
    admin_key_file: Annotated[
        Path | None,
        typer.Option(envvar="SIGNET_ADMIN_KEY_FILE", help="An admin key's file; default: the owner's in the home."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Signet, a license gateway for PyTorch models."""
    try:
        settings = Settings() if home is None else Settings(home=home)
    except ValidationError as error:
        wrong = "; ".join(f"SIGNET_{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors())
        raise fail(wrong, 2) from None
    if server:
        _check_server(server)
    logs.configure(settings.environment, logging.WARNING)
    context.obj = Options(settings, server.rstrip("/") if server else None, admin_key_file, as_json)


def _check_server(server: str) -> None:
    if not is_server(server):
        raise fail("--server is no URL of the form https://host[:port]", 2)
    if not server.startswith("https:") and not is_loopback(urlsplit(server).hostname or ""):
        raise fail(f"{server} would be told the admin key unencrypted; plain http is for loopback only", 2)
