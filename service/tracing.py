"""W3C trace context, and with OpenTelemetry a span for each request. Nothing that a caller wrote is in a span, but the
ids of his trace.
"""

import re
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_PROPAGATOR = TraceContextTextMapPropagator()
NAME = "signet"


class TracingUnavailable(Exception):
    """Tracing was asked for, and the packages that send spans are not there."""


@dataclass(frozen=True, slots=True)
class Traced:
    """One request's place in a trace; `span` is None where none are sent, `trace_id` where the caller has no trace."""

    trace_id: str | None = None
    span: Span | None = None

    def end(self, method: str, route: str, status: int, request_id: str) -> None:
        """The request is answered."""
        if self.span is None:
            return
        self.span.update_name(f"{method} {route}")
        about: dict[str, str | int] = {"http.request.method": method, "http.route": route}
        self.span.set_attributes({**about, "http.response.status_code": status, "signet.request_id": request_id})
        if status >= 500:
            self.span.set_status(StatusCode.ERROR)
        self.span.end()


_UNTRACED = Traced()


class Tracing:
    """Begins what `Traced.end` ends. Without a tracer it only reads the ids of the callers' traces, for the log."""

    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer

    def begin(self, scope: Scope) -> Traced:
        """A request has come in."""
        shown = {name: value for name, value in scope["headers"] if name in (b"traceparent", b"tracestate")}
        parent = _TRACEPARENT.fullmatch(shown.get(b"traceparent", b"").decode("latin-1")) if shown else None
        if self._tracer is None:
            return Traced(parent[1]) if parent else _UNTRACED
        carrier = {name.decode(): value.decode("latin-1") for name, value in shown.items()} if parent else {}
        span = self._tracer.start_span(scope["method"], _PROPAGATOR.extract(carrier), kind=SpanKind.SERVER)
        return Traced(f"{span.get_span_context().trace_id:032x}", span)


def tracing(*, wanted: bool) -> Tracing:
    """By OTLP to where `OTEL_EXPORTER_OTLP_ENDPOINT` says, unless somebody set up OpenTelemetry before.

    Raises:
        TracingUnavailable: it is wanted, and the extra `otel` is not installed.
    """
    if not wanted:
        return Tracing(None)
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        _set_up()
    return Tracing(trace.get_tracer(NAME))


def _set_up() -> None:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingUnavailable("SIGNET_TRACING: install signet-gateway[otel] for it") from error
    provider = TracerProvider(resource=Resource.create({"service.name": NAME}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
