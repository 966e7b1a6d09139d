"""Parts of Triton's protocol that are not spoken here."""

import re

_PARTS = {
    "shared memory": r"(system|cuda)sharedmemory/.*",
    "trace settings": r"(models/[^/]+/)?trace/setting",
    "log settings": r"logging",
    "generation": r"models/[^/]+(/versions/[0-9]+)?/generate(_stream)?",
}


def extension_of(path: str) -> str | None:
    """What a path belongs to; None for one that is no part of the protocol."""
    return next((name for name, part in _PARTS.items() if re.fullmatch(rf"/v2/{part}", path)), None)
