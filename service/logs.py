"""Structured logs: a constant event, data as keywords, ids bound once a request; no secret gets through."""

import asyncio
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import orjson
import structlog

from service.redaction import blank, blank_all


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank out whatever looks like a secret that a caller put where none belongs."""
    return {
        name: value if name in ("_record", "_from_structlog") else blank_all(value) for name, value in event.items()
    }


class AccessLog:
    """A line for each request. In production by hand, and those of one turn of the event loop in one write: on the way
    of all other lines it would cost as much as a small answer. What looks like a secret is blanked here too.
    """

    def __init__(self) -> None:
        self._stream: TextIO | None = None
        self._lines: list[bytes] = []

    def write_to(self, stream: TextIO | None) -> None:
        """JSON to this stream; None: to the log, with everything else."""
        self._stream = stream

    def note(
        self, method: str, path: str, status: int, ms: float, request_id: str, trace_id: str | None = None
    ) -> None:
        """One request, answered; `path` as `redaction.shown_path` has it."""
        said: dict[str, Any] = {"method": blank(method), "path": blank(path), "status": status, "ms": ms}
        if self._stream is None:
            structlog.get_logger(__name__).info("http.request", **said)
            return
        now = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
        said |= {"event": "http.request", "request_id": request_id, "level": "info", "timestamp": f"{now}Z"}
        if trace_id is not None:
            said["trace_id"] = trace_id
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE))

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if self._stream is not None:
            self._stream.write(b"".join(lines).decode())
            self._stream.flush()


access = AccessLog()


def configure(environment: Literal["development", "production"], level: int = logging.INFO) -> None:
    """Columns in development, one JSON object a line in production; both on standard error."""
    renderer: Any = structlog.processors.JSONRenderer()
    if environment == "development":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the rich one prints locals, and so secrets
        )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    _take_over_the_others(shared, renderer)
    access.write_to(sys.stderr if environment == "production" and level <= logging.INFO else None)
    structlog.configure(
        processors=[*shared, redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Ours among the root logger's handlers."""


def _take_over_the_others(shared: list[Any], renderer: Any) -> None:
    """Warnings of uvicorn, Pillow and whoever else logs the standard way: in the same form, through the same net."""
    handler = _Handler(sys.stderr)
    handler.setLevel(logging.WARNING)
    last = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers = [known for known in root.handlers if not isinstance(known, _Handler)] + [handler]
