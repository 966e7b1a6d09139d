"""Public identifiers: a prefix that says what a thing is, and 128 random bits."""

import re
import secrets
from typing import Annotated

from pydantic import StringConstraints

_BODY = r"[0-9a-f]{32}"


def new_id(prefix: str) -> str:
    """`lic_3f2a...`: prefix and 32 hexadecimal digits."""
    return f"{prefix}_{secrets.token_hex(16)}"


def id_bytes(identifier: str) -> bytes:
    """The 16 random bytes behind an identifier's prefix."""
    return bytes.fromhex(identifier.rpartition("_")[2])


CustomerId = Annotated[str, StringConstraints(pattern=rf"^cus_{_BODY}$")]
LicenseId = Annotated[str, StringConstraints(pattern=rf"^lic_{_BODY}$")]
CommitmentId = Annotated[str, StringConstraints(pattern=rf"^com_{_BODY}$")]
VerificationId = Annotated[str, StringConstraints(pattern=rf"^vfy_{_BODY}$")]
TraceId = Annotated[str, StringConstraints(pattern=rf"^trc_{_BODY}$")]
JobId = Annotated[str, StringConstraints(pattern=rf"^job_{_BODY}$")]
AdminKeyId = Annotated[str, StringConstraints(pattern=rf"^adm_{_BODY}$")]
MODEL_NAME_BODY = r"[a-z0-9][a-z0-9._-]{0,62}"
MODEL_NAME = rf"^{MODEL_NAME_BODY}$"
ModelName = Annotated[str, StringConstraints(pattern=MODEL_NAME)]


def is_model_name(text: str) -> bool:
    """Whether `text` can name a model in a URL."""
    return re.fullmatch(MODEL_NAME, text) is not None
