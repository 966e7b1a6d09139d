"""Files for secrets that are shown once."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.cli.api import fail
from service.keyring import make_private


@contextmanager
def reserved(path: Path) -> Iterator[Callable[[str | bytes], None]]:
    """A new file (0600), open before the secret is made: one that cannot be written costs no license and no key.

    Gives what writes it. If nothing was written, the file goes again.
    """
    written = False
    try:
        make_private(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise fail(f"{path} exists; choose another file") from None
    except OSError as error:
        raise fail(f"cannot write {path}: {error.strerror}; choose another file") from None

    def write(content: str | bytes) -> None:
        nonlocal written
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
        written = True

    with os.fdopen(descriptor, "wb") as file:
        try:
            yield write
        finally:
            if not written:
                path.unlink(missing_ok=True)
