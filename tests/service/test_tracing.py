"""Requests carry their callers' traces into log and spans, and nothing else that callers wrote."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from models import data
from service.gateway import Gateway
from service.tracing import Tracing, TracingUnavailable, tracing
from tests.service.asking import Caller, on_sqlite, sample
from tests.service.conftest import Issue
from tests.service.serving import Served

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
PREDICT = "/v1/models/digits/predict"


@pytest.fixture
def spans(gateway: Gateway) -> Iterator[InMemorySpanExporter]:
    """Of this gateway, as they end."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    gateway.tracing = Tracing(provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def lines(logged: io.StringIO) -> list[dict[str, Any]]:
    await asyncio.sleep(0)  # those of one turn are written together
    return [json.loads(line) for line in logged.getvalue().splitlines()]


@on_sqlite
class TestTheLog:
    async def test_has_the_callers_trace(self, stranger: httpx.AsyncClient, logged: io.StringIO) -> None:
        await stranger.get("/v1/health/live", headers={"traceparent": TRACEPARENT})
        assert [line["trace_id"] for line in await lines(logged)] == [TRACE]

    @pytest.mark.parametrize(
        "given",
        [
            "",
            "garbage",
            f"00-{TRACE}-{PARENT}",
            f"00-{'0' * 32}-{PARENT}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"00-{TRACE.upper()}-{PARENT}-01",
            f"{TRACEPARENT}\u00e9",
        ],
    )
    async def test_has_none_of_what_is_no_trace(
        self, given: str, stranger: httpx.AsyncClient, logged: io.StringIO
    ) -> None:
        answer = await stranger.get("/v1/health/live", headers={"traceparent": given.encode()})  # type: ignore[dict-item]
        assert answer.status_code == 200
        assert not any("trace_id" in line for line in await lines(logged))


@on_sqlite
class TestSpans:
    async def test_a_request_is_a_span_of_its_callers_trace(
        self, app: FastAPI, issue: Issue, spans: InMemorySpanExporter, digits: data.Dataset, logged: io.StringIO
    ) -> None:
        issued = await issue("key")
        spans.clear()
        headers = {"traceparent": TRACEPARENT, "X-Request-Id": "ticket-4711", **issued.bearer}
        answer = await Caller(app).http.post(
            PREDICT, files=[("images", ("x", sample(digits)))], headers=headers, params={"version": 1}
        )
        assert answer.status_code == 200
        (span,) = spans.get_finished_spans()
        assert (span.name, span.kind) == ("POST /v1/models/{model}/predict", SpanKind.SERVER)
        assert span.context is not None
        assert f"{span.context.trace_id:032x}" == TRACE
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == PARENT
        assert attributes(span) == {
            "http.request.method": "POST",
            "http.route": "/v1/models/{model}/predict",
            "http.response.status_code": 200,
            "signet.request_id": "ticket-4711",
        }
        assert issued.secret not in span.to_json()
        assert (await lines(logged))[-1]["trace_id"] == TRACE

    async def test_infer_requests_are_too(self, app: FastAPI, model: str, spans: InMemorySpanExporter) -> None:
        spans.clear()
        assert (await Caller(app).http.post("/v2/models/digits/infer", content=b"{}")).status_code == 400
        (span,) = spans.get_finished_spans()
        assert span.name == "POST /v2/models/{model}/infer"
        assert span.parent is None, "a trace of its own"
        assert span.status.status_code == StatusCode.UNSET, "the caller's mistake"

    async def test_a_bug_is_an_error(
        self, app: FastAPI, model: str, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> bytes:
            raise RuntimeError("a bug")

        monkeypatch.setattr("service.predictions.service.encode", broken)
        spans.clear()
        answer = await Caller(app).http.post(PREDICT, json={"inputs": [[0.5] * 28] * 28})
        assert answer.status_code == 500
        (span,) = spans.get_finished_spans()
        assert span.status.status_code == StatusCode.ERROR
        assert not span.events, "what went wrong is in the log alone"


def test_without_the_packages_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(TracingUnavailable, match=r"signet-gateway\[otel\]"):
        tracing(wanted=True)


class Collector(ThreadingHTTPServer):
    """Takes what exporters send, as OpenTelemetry's own collector does."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Taking)


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        self.server.paths.append(self.path)
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_spans_arrive_at_a_collector(tmp_path: Path) -> None:
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        served = Served(
            tmp_path / "home",
            SIGNET_TRACING="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_COMPRESSION="none",
        ).start()
        try:
            httpx.get(f"{served.url}/v1/health/live", headers={"traceparent": TRACEPARENT}, trust_env=False)
        finally:
            code, _ = served.stop()  # what is left is sent
        assert code == 0
        collector.shutdown()
    assert set(collector.paths) == {"/v1/traces"}
    assert any(bytes.fromhex(TRACE) in body for body in collector.bodies)
