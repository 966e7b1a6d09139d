"""A licensee may ask for one version of the model, and gets an answer by that one or none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import signet_client
from signet_client import AsyncClient, Client
from signet_client.trust import TrustAnchor

from tests.client.gateway import Gateway
from tests.client.test_images import PNG

ANSWER: dict[str, Any] = {"model": "digits", "predictions": [{"index": 0, "label": "zero", "scores": [1.0]}]}


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, license_path: Path, trust: TrustAnchor) -> Callable[..., Any]:
    """`ask(version=2)`: the answer to one image; in both flavours."""

    def blocking(**asked: Any) -> Any:
        with Client(license_path, trust=trust) as client:
            return client.predict(PNG, **asked)

    async def waiting(**asked: Any) -> Any:
        async with AsyncClient(license_path, trust=trust) as client:
            return await client.predict(PNG, **asked)

    return blocking if request.param == "sync" else lambda **asked: asyncio.run(waiting(**asked))


@pytest.mark.parametrize(
    ("asked", "query"),
    [({}, ""), ({"version": None}, ""), ({"version": 1}, "version=1"), ({"version": 12}, "version=12")],
)
def test_the_version_asked_for_is_the_one_in_the_request(
    ask: Callable[..., Any], gateway: Gateway, asked: dict[str, Any], query: str
) -> None:
    assert ask(**asked).label == "three"
    assert [seen.query for seen in gateway.seen] == ["", query], "a session is for the model, whatever the version"


def test_it_is_asked_again_after_a_lapsed_session(ask: Callable[..., Any], gateway: Gateway) -> None:
    gateway.refuse_next("predict", 401, "SESSION_INVALID")
    ask(version=2)
    assert [seen.query for seen in gateway.seen_at("predict")] == ["version=2", "version=2"]


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", b"1", "1&version=2"])
def test_what_is_no_version_is_refused_before_anything_is_sent(
    ask: Callable[..., Any], gateway: Gateway, version: Any
) -> None:
    with pytest.raises(signet_client.InvalidInput, match="1 or more") as caught:
        ask(version=version)
    assert caught.value.field == "version"
    assert gateway.seen == []


def test_one_that_is_not_there_is_named(ask: Callable[..., Any], gateway: Gateway) -> None:
    gateway.refuse_next(
        "predict", 404, "UNKNOWN_RESOURCE", errors=[{"field": "version", "message": "no such version is available"}]
    )
    with pytest.raises(signet_client.InvalidInput, match="no such version") as caught:
        ask(version=9)
    assert caught.value.field == "version"


@pytest.mark.parametrize("answered", [{"version": 4}, {"version": "2"}, {}])
def test_an_answer_by_another_version_is_not_returned(
    ask: Callable[..., Any], gateway: Gateway, answered: dict[str, Any]
) -> None:
    gateway.next_answers["predict"].append((200, ANSWER | answered))
    with pytest.raises(signet_client.GatewayUnavailable, match="version 2"):
        ask(version=2)
