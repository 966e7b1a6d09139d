"""Who is asking, before anything is decoded: a session token, a license key, or nobody we know."""

from starlette.datastructures import Headers

from service.control.book import LicenseRecord, ModelRecord
from service.errors import NotFound, SessionInvalid
from service.gateway import Gateway
from service.keys import Key
from service.licenses.credentials import find_key, held, holder

STRANGERS = "strangers"  # their lane in the batcher: one for all of them, whichever the model
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
    """The token or key in `Authorization: Bearer` or `X-API-Key`."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if secret and scheme.lower() == "bearer":
        return secret.strip()
    return headers.get("x-api-key")


def identify(gateway: Gateway, model: ModelRecord, headers: Headers) -> LicenseRecord | None:
    """The license of the token or key shown; None for a stranger, who may hold a stranger's token or none.

    Raises:
        SessionInvalid: a token that does not open, for whatever reason.
    """
    secret = shown_secret(headers)
    if secret is None:
        secret = _NOBODYS_KEY  # who shows nothing is looked up too: the same work
    if secret.startswith("sgn_"):
        return license_of_key(gateway, secret)
    opened = gateway.tokens.open(secret, model.id, gateway.clock())
    if opened is None:
        raise SessionInvalid
    return held(gateway.book, *opened, gateway.clock())


def license_of_key(gateway: Gateway, text: str) -> LicenseRecord | None:
    """The license that a license key proves."""
    return holder(gateway.book, find_key(gateway.ring, gateway.book, text), gateway.clock())
