"""The last net under logs and error documents: what looks like a secret that a caller put in the wrong place."""

import re
from collections.abc import Mapping
from typing import Any

from service.keys import KEY_PATTERN

# Receipt keys are 43 characters in base64 and 64 in hex, tokens 75; our own ids are 36.
_LONG = re.compile(r"[A-Za-z0-9+=_-]{40,}")
_LONG_OR_SLASHED = re.compile(r"[A-Za-z0-9+/=_-]{40,}")
_SEGMENT = re.compile(r"[a-z0-9.][a-z0-9._-]{0,39}")
BLANK = "[redacted]"


def blank(text: str, *, slashes: bool = False) -> str:
    """`text` without keys and without long runs of base64 or hex.

    With `slashes`, a run may hold them, as standard base64 does and the file names of a traceback do too.
    """
    text = text.encode("utf-8", "replace").decode()  # JSON can carry half a surrogate pair, which no encoder takes
    return (_LONG_OR_SLASHED if slashes else _LONG).sub(BLANK, KEY_PATTERN.sub("sg?_[redacted]", text))


def blank_all(value: Any, *, slashes: bool = False) -> Any:
    """`blank` for every text in a value of mappings and lists, names included."""
    if isinstance(value, str):
        return blank(value, slashes=slashes)
    if isinstance(value, Mapping):
        return {blank_all(name, slashes=slashes): blank_all(item, slashes=slashes) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [blank_all(item, slashes=slashes) for item in value]
    return value


def shown_path(path: str) -> str:
    """A request's path with whatever is neither a word of ours, an id nor a plain name left out."""
    return "/".join("…" if segment and not _SEGMENT.fullmatch(segment) else segment for segment in path.split("/"))
