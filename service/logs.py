"""Structured logs: a constant event, data as keywords, ids bound once a request; no secret gets through."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

from service.redaction import blank_all


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank out whatever looks like a secret that a caller put where none belongs."""
    return {
        name: value if name in ("_record", "_from_structlog") else blank_all(value) for name, value in event.items()
    }


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
