"""How the CLI reaches a gateway: over HTTP with `--server`, else in process over the local store. One API, two ways."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import typer
from rich.console import Console
from rich.table import Column
from rich.text import Text
from signet_client import InsecureServer
from signet_client.servers import checked_server, is_loopback

from service.settings import Settings

console = Console()
errors = Console(stderr=True)
_LOCAL = "http://127.0.0.1"


@dataclass(slots=True)
class Options:
    """What stands before the command's noun."""

    settings: Settings
    server: str | None
    admin_key_file: Path | None
    as_json: bool


def fail(message: str, code: int = 1) -> typer.Exit:
    """Say it on standard error; `raise fail(...)`. Nothing in it is markup: it may quote anybody."""
    errors.print(Text.assemble(("error", "bold red"), " ", message), highlight=False, soft_wrap=True)
    return typer.Exit(code)


def say(line: str) -> None:
    """A line on standard output as it is: nothing in it is markup, and it is not wrapped."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def id_column() -> Column:
    """Ids are to be copied: never cut or folded, however narrow the terminal."""
    return Column("id", no_wrap=True, min_width=36)


class Api:
    """The admin API, with the administrator's key."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._headers = {"Authorization": f"Bearer {self._key()}"}

    def call(self, method: str, path: str, **parameters: Any) -> Any:
        """The answer's JSON; a problem document ends the command with its words."""
        return self._answer(method, path, **parameters).json()

    def text(self, path: str) -> str:
        """A document as it is."""
        return self._answer("GET", path).text

    def binary(self, path: str) -> bytes:
        """A document that is no text."""
        return self._answer("GET", path).content

    def _answer(self, method: str, path: str, **parameters: Any) -> httpx.Response:
        try:
            response = self._send(method, path, **parameters)
        except httpx.HTTPError as error:
            raise fail(f"no answer from {self._options.server}: {error}") from None
        if response.is_success:
            return response
        try:
            problem = response.json()
        except ValueError:
            raise fail(
                f"{self._options.server} answered {response.status_code}, not as a Signet gateway does"
            ) from None
        raise fail(_words(problem))

    def every(self, path: str, **parameters: Any) -> list[Any]:
        """All items of a list, page by page."""
        items, cursor = [], None
        while True:
            query = {**parameters, "limit": 200, **({"cursor": cursor} if cursor else {})}
            page = self.call("GET", path, params=query)
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items

    def _send(self, method: str, path: str, **parameters: Any) -> httpx.Response:
        if self._options.server:
            https = self._options.server.startswith("https:")  # what is for loopback goes through no proxy
            with httpx.Client(
                base_url=self._options.server, headers=self._headers, timeout=120, trust_env=https
            ) as client:
                return client.request(method, path, **parameters)
        return asyncio.run(self._in_process(method, path, **parameters))

    async def _in_process(self, method: str, path: str, **parameters: Any) -> httpx.Response:
        from service.app import create_app  # imports torch: not for `--help`

        app = create_app(self._options.settings, serving=False)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url=_LOCAL, headers=self._headers, timeout=None) as client,  # noqa: S113
        ):
            return await client.request(method, path, **parameters)

    def _key(self) -> str:
        from service.cli.home import owner_key_path

        if self._options.server is None:
            require_home(self._options.settings)
        else:
            host = check_server(self._options.server, "the admin key")
            if self._options.admin_key_file is None and not is_loopback(host):
                raise fail(
                    f"this home's owner key is not sent to {self._options.server}: "
                    "name that gateway's key with --admin-key-file",
                    2,
                )
        return _key_in(self._options.admin_key_file or owner_key_path(self._options.settings))


def require_home(settings: Settings) -> None:
    """Only what sets up a home makes one; anything else that finds none was pointed at the wrong place."""
    from service.cli.home import exists

    if not exists(settings):
        raise fail(f"no home at {settings.home}: run `signet serve` to make one, or name yours with --home")


def check_server(server: str, what: str) -> str:
    """The host of a server that may be told `what`: over TLS, or on this machine."""
    try:
        return httpx.URL(checked_server(server, what)).host
    except InsecureServer as error:
        raise fail(f"--server: {error}", 2) from None


def _key_in(path: Path) -> str:
    from service.keys import Key

    try:
        text = path.read_bytes().decode(errors="replace").strip()
    except OSError as error:
        raise fail(f"cannot read the admin key {path}: {error.strerror}; name it with --admin-key-file") from None
    key = Key.parse(text)
    if key is None or key.kind != "sga":
        raise fail(f"{path} holds no admin key, or not all of one (sga_...); name its file with --admin-key-file")
    return key.text


def _words(problem: dict[str, Any]) -> str:
    lines = [f"{problem.get('detail', problem.get('title', 'refused'))}"]
    lines += [f"  {item['field']}: {item['message']}" for item in problem.get("errors", [])[1:]]
    return "\n".join(lines)
