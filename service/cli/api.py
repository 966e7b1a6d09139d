"""How the CLI reaches a gateway: over HTTP with `--server`, else in process over the local store. One API, two ways."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from service.cli.failing import errors, fail, prepared
from service.settings import Settings

__all__ = ["Api", "Options", "console", "errors", "fail", "json_of"]

console = Console()
_LOCAL = "http://127.0.0.1"


@dataclass(slots=True)
class Options:
    """What stands before the command's noun."""

    settings: Settings
    server: str | None
    admin_key_file: Path | None
    as_json: bool


def json_of(response: httpx.Response) -> Any:
    """What a gateway answered; a problem document, or somebody else's answer, ends the command."""
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise fail(f"{response.url.host} answered {response.status_code}, not as a Signet gateway does")
    if not response.is_success:
        raise fail(_words(answer))
    return answer


class Api:
    """The admin API, with the administrator's key."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._headers = {"Authorization": f"Bearer {self._key()}"}

    def call(self, method: str, path: str, **parameters: Any) -> Any:
        """The answer's JSON; a problem document ends the command with its words."""
        try:
            response = self._send(method, path, **parameters)
        except httpx.HTTPError as error:
            raise fail(f"no answer from {self._options.server}: {error}") from None
        return json_of(response)

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
        from service.keys import Key

        if self._options.server is None:
            prepared(self._options.settings)
        path = self._options.admin_key_file or owner_key_path(self._options.settings)
        try:
            key = Key.parse(path.read_text().strip())
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", "not text")
            raise fail(f"cannot read the admin key {path}: {reason}; name it with --admin-key-file") from None
        if key is None or key.kind != "sga":
            raise fail(f"{path} holds no admin key; name the right file with --admin-key-file")
        return key.text


def _words(problem: dict[str, Any]) -> str:
    lines = [f"{problem.get('detail', problem.get('title', 'refused'))}"]
    lines += [f"  {item['field']}: {item['message']}" for item in problem.get("errors", [])[1:]]
    return "\n".join(lines)
