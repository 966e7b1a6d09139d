"""Saying no at the command line: a sentence on standard error and an exit code, whatever went wrong underneath."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from service.settings import Settings

errors = Console(stderr=True)


def fail(message: str, code: int = 1) -> typer.Exit:
    """Say it on standard error; `raise fail(...)`."""
    errors.print(f"[bold red]error[/] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(code)


def prepared(settings: Settings) -> None:
    """Make the home ready, or say why it cannot be."""
    from sqlalchemy.exc import SQLAlchemyError

    from service.cli.home import prepare
    from service.keyring import KeyRingError

    try:
        prepare(settings)
    except KeyRingError as error:
        raise fail(str(error)) from None
    except OSError as error:
        if error.filename is not None:
            raise fail(f"cannot use the home {settings.home}: {error.strerror}") from None
        raise fail(f"the database does not answer: {error.strerror}") from None
    except SQLAlchemyError as error:  # its text may hold the URL, and so a password
        raise fail(f"the database cannot be used: {type(getattr(error, 'orig', None) or error).__name__}") from None


@contextmanager
def new_private_file(path: Path) -> Iterator[Callable[[str], None]]:
    """A 0600 file that can be written, before there is what it will hold: a secret that is shown once is not lost."""
    from service.keyring import write_private

    if path.exists():
        raise fail(f"{path} exists; choose another file")
    try:
        write_private(path, "")
    except OSError as error:
        raise fail(f"cannot write {path}: {error.strerror}") from None
    try:
        yield lambda text: write_private(path, text)
    finally:
        if not path.stat().st_size:
            path.unlink()
