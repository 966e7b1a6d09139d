"""`signet`: the gateway and its administration. Commands on nouns live in one file each."""

import logging
import re
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from service import logs
from service.cli import customer, evidence, job, keys, license, model, ownership, predict, serve, worker
from service.cli.api import Options, fail
from service.cli.failures import Group
from service.settings import Settings, complaint

app = typer.Typer(
    cls=Group,
    help="Signet, a license gateway for PyTorch models.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)
app.add_typer(model.app, name="model")
app.add_typer(customer.app, name="customer")
app.add_typer(license.app, name="license")
app.add_typer(job.app, name="job")
app.add_typer(ownership.app, name="ownership")
app.add_typer(evidence.app, name="evidence")
app.add_typer(keys.app, name="keys")
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
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
        raise fail(complaint(error), 2) from None
    except SettingsError as error:  # a list or a mapping that is not JSON
        field = re.search(r'field "(\w+)"', str(error))
        raise fail(f"SIGNET_{field[1].upper()}: not valid JSON" if field else str(error), 2) from None
    logs.configure(settings.environment, logging.WARNING)
    context.obj = Options(settings, server.rstrip("/") if server else None, admin_key_file, as_json)
