"""What a row of the verdict table is made of: routes, what may happen to a license, and a licensee who asks."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

import httpx
import signet_client
from signet_client import AsyncClient, license_file

from service.clock import rfc3339
from service.control.verdict import Code
from service.keys import Key
from tests.service.asking import HOME, Caller, used
from tests.service.conftest import NOW, Issue, Issued
from tests.service.control.conftest import World


class Route(StrEnum):
    """Where a licensee can be told."""

    SESSION_BY_KEY = "session-by-key"
    SESSION_BY_FINGERPRINT = "session-by-fingerprint"
    PREDICT_BY_KEY = "predict-by-key"
    PREDICT_BY_TOKEN = "predict-by-token"
    CLIENT_OPENS = "client-opens-its-session"
    CLIENT_ASKS = "client-asks-in-its-session"


SESSIONS = {Route.SESSION_BY_KEY, Route.SESSION_BY_FINGERPRINT, Route.CLIENT_OPENS}
Happening = Callable[[World, Issued], Awaitable[None]]


def operations_other_than(route: Route) -> Mapping[str, Any]:
    """Terms for everything but what this route is for."""
    return {"operations": ["predict" if route in SESSIONS else "session"]}


def later(**delta: float) -> Happening:
    async def advance(world: World, _: Issued) -> None:
        world.clock.advance(**delta)

    return advance


async def nothing(world: World, issued: Issued) -> None:
    """All stays as it was."""


async def suspended(world: World, issued: Issued) -> None:
    await world.act(issued, "suspend")


async def revoked(world: World, issued: Issued) -> None:
    await world.act(issued, "suspend")
    await world.act(issued, "revoke")


async def another_model(world: World, issued: Issued) -> None:
    await world.add_version("letters")


async def a_new_version(world: World, issued: Issued) -> None:
    await world.add_version("digits")


async def the_quota_is_used_up(world: World, issued: Issued) -> None:
    left = 3 - await used(world.admin, issued)
    answer = await world.predict(issued, left)
    assert answer.status_code == 200, answer.text


async def the_rate_is_used_up(world: World, issued: Issued) -> None:
    secret = await world.secret(issued)
    while (await Caller(world.app).predict([world.picture], secret)).status_code == 200:
        pass


async def one_is_under_way(world: World, issued: Issued) -> None:
    world.one_under_way(issued)


@dataclass(frozen=True)
class Row:
    """A verdict and how it comes about. `on`, `limit`, `retry_after` are what is said beside the code."""

    code: Code
    terms: Mapping[str, Any] | Callable[[Route], Mapping[str, Any]]
    then: Happening
    status: int = 403
    raises: type[signet_client.Refused] = signet_client.Refused
    on: str | None = None
    limit: int | None = None
    retry_after: int | None = None
    wait: timedelta = timedelta()  # between the license's issue and its first use
    images: int = 1
    model: str = "digits"
    asked_from: str = HOME
    dry_run: Code | None = None  # what the issuer is told, where it is not the same
    asks_dry: Mapping[str, str] = field(default_factory=dict)

    def terms_for(self, route: Route) -> Mapping[str, Any]:
        return self.terms(route) if callable(self.terms) else self.terms

    def said(self) -> dict[str, Any]:
        return {"code": self.code, "on": self.on, "limit": self.limit, "retry_after": self.retry_after}


def at(**delta: float) -> str:
    return rfc3339(NOW + timedelta(**delta))


class Licensee:
    """Asks by one route: first `opens` while all is well, then `asks`."""

    def __init__(self, world: World, route: Route, issued: Issued) -> None:
        self.world, self.route, self.issued = world, route, issued
        self.caller = Caller(world.app)
        self.token: str | None = None

    async def opens(self) -> None:
        if self.route == Route.PREDICT_BY_TOKEN:
            answer = await self.caller.show_key(self.issued.secret)
            assert answer.status_code == 201, answer.text
            self.token = answer.json()["token"]

    async def asks(self, row: Row) -> httpx.Response:
        self.caller.transport.client = (row.asked_from, 4711)
        if self.route == Route.SESSION_BY_KEY:
            return await self.caller.show_key(self.issued.secret, model=row.model)
        if self.route == Route.SESSION_BY_FINGERPRINT:
            return await self.caller.show_fingerprint(self.issued.png, model=row.model)
        images = [self.world.picture] * row.images
        return await self.caller.predict(images, self.token or self.issued.secret, model=row.model)


async def licensed(row: Row, route: Route, world: World, issue: Issue) -> Issued:
    """The row's license, at the time of its first use."""
    issued = await issue("fingerprint" if route == Route.SESSION_BY_FINGERPRINT else "key", **row.terms_for(route))
    world.clock.now += row.wait
    return issued


HTTP = [route for route in Route if not route.startswith("client")]


def client_of(world: World, text: str, transport: httpx.ASGITransport | None = None) -> AsyncClient:
    """The client of whoever holds this license file."""
    transport = transport or httpx.ASGITransport(world.app, client=(HOME, 4711))
    return AsyncClient(text, trust=world.gateway.ring.public_keys(), transport=transport, server="https://gateway.test")


def other_model_file(world: World, issued: Issued) -> str:
    """The license file as if it were for `letters`, with a key that nobody was given."""
    forged = replace(issued.file, model="letters", credential=license_file.KeyCredential(Key.mint("sgn").text))
    return license_file.encode(forged, world.gateway.ring.active_issuer, world.gateway.ring.issuer)
