"""Structured logs: a constant event, data as keywords, ids bound once a request; no secret gets through."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from service.redaction import blank


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank out whatever looks like a secret that a caller put where none belongs."""
    return {name: blank(value) if isinstance(value, str) else value for name, value in event.items()}


def configure(environment: Literal["development", "production"], level: int = logging.INFO) -> None:
    """Columns in development, one JSON object a line in production; both on standard error."""
    renderer: Any = structlog.processors.JSONRenderer()
    if environment == "development":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the rich one prints locals, and so secrets
        )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
