"""Who is asking, before anything is decoded: a session token, a license key, or nobody we know."""

import base64
from dataclasses import dataclass

from starlette.datastructures import Headers

from service.control.book import LicenseRecord, ModelRecord
from service.errors import NotFound, SessionInvalid
from service.gateway import Gateway
from service.keys import KEY_PATTERN, Key
from service.licenses.credentials import find_key, held, holder, key_digests

STRANGERS = "strangers"  # their lane in the batcher: one for all of them, whichever the model
BASIC_USER = "signet"  # whose password is a token or a key; a key is known by its form whoever the user is
_NOBODYS_KEY = Key.mint("sgn").text


def model_named(gateway: Gateway, name: str) -> ModelRecord:
    """The model of that name.

    Raises:
        NotFound: there is none.
    """
    model = gateway.book.models.get(name)
    if model is None:
        raise NotFound("model", "no model of this name")
    return model


def shown_secret(headers: Headers) -> str | None:
    """The token or key in `Authorization`, as Bearer or as the password of Basic, or in `X-API-Key`."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    if shown and scheme.lower() == "bearer":
        return shown.strip()
    password = _password(shown.strip()) if scheme.lower() == "basic" else None
    return headers.get("x-api-key") if password is None else password


def _password(shown: str) -> str | None:
    """Of Basic's `user:password`, if it is meant for us: a proxy on the way may ask for passwords of its own."""
    try:
        user, _, password = base64.b64decode(shown, validate=True).decode().partition(":")
    except ValueError:
        return None
    return password if user == BASIC_USER or KEY_PATTERN.fullmatch(password) else None


@dataclass(frozen=True, slots=True)
class Proof:
    """What a token or key proves, whatever has become of the license since: the digests that a key may be stored
    under, or a license and the generation of its credential."""

    digests: tuple[bytes, ...] = ()
    held: tuple[bytes, int] | None = None

    def license(self, gateway: Gateway) -> LicenseRecord | None:
        """The license as it is now; None for a stranger."""
        if self.held is not None:
            return held(gateway.book, *self.held, gateway.clock())
        return holder(gateway.book, find_key(gateway.book, self.digests), gateway.clock())


def proof_of(gateway: Gateway, model: ModelRecord, secret: str | None) -> Proof:
    """What the token or key shown proves; a stranger may hold a stranger's token or none.

    Raises:
        SessionInvalid: a token that does not open, for whatever reason.
    """
    if secret is None:
        secret = _NOBODYS_KEY  # who shows nothing is looked up too: the same work
    if secret.startswith("sgn_"):
        return proof_of_key(gateway, secret)
    opened = gateway.tokens.open(secret, model.id, gateway.clock())
    if opened is None:
        raise SessionInvalid
    return Proof(held=opened)


def proof_of_key(gateway: Gateway, text: str) -> Proof:
    """What a license key proves; nothing, if it is none."""
    return Proof(key_digests(gateway.ring, gateway.book, text))
