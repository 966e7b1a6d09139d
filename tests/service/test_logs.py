"""Logs: one JSON object a line in production, columns in development, keys blanked in both."""

import asyncio
import io
import json

import pytest
import structlog
from fastapi import FastAPI

from service import logs
from service.keys import Key
from tests.service.conftest import client_of
from tests.service.plants import PREDICT


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_bug_that_quotes_a_secret_is_blanked_in_the_log(
    app: FastAPI, model: str, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    key = Key.mint("sgn").text

    def broken(*_: object) -> bytes:
        raise RuntimeError(f"cannot encode for {key}")

    monkeypatch.setattr("service.predictions.service.encode", broken)
    async with client_of(app) as client:
        assert (await client.post(PREDICT, json={"inputs": [[0.5] * 28] * 28})).status_code == 500
    assert "cannot encode for sg?_[redacted]" in logged.getvalue()
    assert key.partition(".")[2] not in logged.getvalue()


def test_every_line_is_one_json_object_with_its_request(logged: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        structlog.get_logger().info("thing.happened", key=Key.mint("sga").text, number=5, at="a\nb")
    (line,) = logged.getvalue().splitlines()
    document = json.loads(line)
    assert document["event"] == "thing.happened"
    assert document["request_id"] == "req_1"
    assert document["key"] == "sg?_[redacted]"
    assert document["number"] == 5


def test_development_writes_columns_and_no_locals(logged: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", logged)
    logs.configure("development")
    try:
        local = Key.mint("sgn").text
        raise ValueError("short")
    except ValueError:
        structlog.get_logger().exception("thing.failed")
    assert "thing.failed" in logged.getvalue()
    assert local not in logged.getvalue()


async def test_a_line_for_a_request_is_blanked_too(logged: io.StringIO) -> None:
    secret = "a1" * 20
    logs.access.note("GET", f"/v1/{secret}", 401, 1.0, "req_1")
    await asyncio.sleep(0)  # lines of one turn are written together
    assert json.loads(logged.getvalue())["path"] == "/v1/[redacted]"
