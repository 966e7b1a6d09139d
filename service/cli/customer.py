"""`signet customer`."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from service.cli.api import Api, Options, console, id_column, say

app = typer.Typer(help="Who licenses are issued to.", no_args_is_help=True)


@app.command()
def add(
    context: typer.Context,
    name: str,
    email: Annotated[str | None, typer.Option(help="Where to reach them.")] = None,
) -> None:
    """Add a customer and print the id."""
    options: Options = context.obj
    customer = Api(options).call("POST", "/v1/customers", json={"name": name, "email": email})
    if options.as_json:
        console.print_json(data=customer)
    else:
        say(f"{customer['id']}  {customer['name']}")


@app.command("list")
def list_(context: typer.Context) -> None:
    """Every customer, oldest first."""
    options: Options = context.obj
    customers = Api(options).every("/v1/customers")
    if options.as_json:
        console.print_json(data=customers)
        return
    table = Table(id_column(), "name", "email", "since")
    for customer in customers:
        cells = (customer["id"], customer["name"], customer["email"] or "", customer["created_at"][:10])
        table.add_row(*map(escape, cells))
    console.print(table)
