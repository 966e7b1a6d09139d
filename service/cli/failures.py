"""What a command could not help, in words that say what to do; anything else is a bug and keeps its traceback."""

import os
import shlex
from typing import Any

import typer
from typer.core import TyperGroup

from service.cli.api import fail


class Group(TyperGroup):
    """`signet` itself: every command runs within its `invoke`."""

    def invoke(self, context: typer.Context) -> Any:  # type: ignore[override]  # typer's own click
        """Run the command named on the line."""
        try:
            return super().invoke(context)
        except BrokenPipeError:  # `signet ... | head`: click ends quietly
            raise
        except Exception as error:
            words = explained(error)
            if words is None:
                raise
            failure = fail(words)
        raise failure


def explained(error: Exception) -> str | None:
    """What `error` means to whoever typed the command; None for a bug."""
    from alembic.util import CommandError
    from asyncpg import PostgresError
    from sqlalchemy.exc import SQLAlchemyError

    from service.keyring import KeyRingError
    from service.tracing import TracingUnavailable

    if isinstance(error, KeyRingError | TracingUnavailable):
        return str(error)
    if isinstance(error, OSError):
        return _of_the_system(error)
    if isinstance(error, SQLAlchemyError | PostgresError | CommandError):
        said = str(getattr(error, "orig", None) or error).partition("\n")[0].strip()
        return (
            f"the database cannot be used: {said}\n"
            "  look at SIGNET_DATABASE_URL, or at signet.db in the home: if it is damaged, put a backup in its place; "
            "if it is of an older release, `signet serve` brings it up to date"
        )
    return None


def _of_the_system(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return f"{reason}; is the database of SIGNET_DATABASE_URL running?" if _is_of_the_net(error) else reason
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    return f"{path}: {reason}; look at it with: ls -ld {shlex.quote(path)}"


def _is_of_the_net(error: OSError) -> bool:
    return isinstance(error, ConnectionError | TimeoutError) or type(error).__module__ == "socket"
