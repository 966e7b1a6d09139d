"""`signet predict`: what a licensee, or a stranger, is told about some pictures."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.markup import escape
from rich.table import Table
from signet_client import AsyncClient, SignetError

from service.cli.api import Options, check_server, console, fail, require_home


def predict(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG or NPY files.")],
    license: Annotated[Path | None, typer.Option(help="A license file; without one you are a stranger.")] = None,
    trust: Annotated[
        Path | None, typer.Option(help="The issuer's public keys; default: the home's issuer.pub.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="For strangers: the model's name.")] = None,
) -> None:
    """Label pictures; with a license by serial number they are stamped first.

    A file called `3.png` or `3-....png` is taken to show class 3, and right answers are counted.
    """
    options: Options = context.obj
    if license is None and model is None:
        raise fail("give --license, or --model to ask as a stranger", 2)
    try:
        answers = asyncio.run(_ask(options, images, license, trust, model or ""))
    except (SignetError, httpx.HTTPError, OSError) as error:
        raise fail(f"{type(error).__name__}: {error}") from None
    if options.as_json:
        console.print_json(data=answers)
        return
    table = Table("image", "label", "score")
    right = known = 0
    for path, answer in zip(images, answers, strict=True):
        truth = path.stem.partition("-")[0]
        known += truth.isdigit()
        hit, label = truth == answer["label"], escape(answer["label"])
        right += hit
        table.add_row(escape(path.name), f"[green]{label}[/]" if hit else label, f"{max(answer['scores']):.3f}")
    console.print(table)
    if known:
        console.print(f"[bold]{right} of {known} right[/]", highlight=False)


async def _ask(
    options: Options, images: Sequence[Path], license: Path | None, trust: Path | None, model: str
) -> list[dict[str, Any]]:
    if options.server:
        check_server(options.server, "the pictures")
        return await _ask_over(options.server, None, options, images, license, trust, model)
    require_home(options.settings)
    from service.app import create_app

    app = create_app(options.settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        return await _ask_over("http://127.0.0.1", transport, options, images, license, trust, model)


async def _ask_over(
    server: str,
    transport: httpx.AsyncBaseTransport | None,
    options: Options,
    images: Sequence[Path],
    license: Path | None,
    trust: Path | None,
    model: str,
) -> list[dict[str, Any]]:
    if license is not None:
        anchor = trust or options.settings.home / "issuer.pub"
        async with AsyncClient(license, trust=anchor, server=server, transport=transport) as client:
            found = await client.predict(list(images))
        return [{"index": one.index, "label": one.label, "scores": list(one.scores)} for one in found]
    files = [("images", (path.name, path.read_bytes())) for path in images]
    https = server.startswith("https:")  # what is for loopback goes through no proxy
    async with httpx.AsyncClient(base_url=server, transport=transport, timeout=60, trust_env=https) as http:
        response = await http.post(f"/v1/models/{model}/predict", files=files)
    try:
        document = response.json()
        predictions: list[dict[str, Any]] = document["predictions"] if response.is_success else []
    except (ValueError, LookupError, TypeError):
        raise fail(f"{server} answered {response.status_code}, not as a Signet gateway does") from None
    if not response.is_success:
        raise fail(str(document.get("detail", response.status_code)))
    return predictions
