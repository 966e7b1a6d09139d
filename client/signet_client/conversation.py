"""What is said to a gateway and what its answers mean, without a socket; both clients speak through this.

    live() ── a session that will do ──────────────────────────────┐
      │ none, or about to end                                      v
    opening() -> Post ... Response -> opened(): receipt verified -> prediction() -> Post ... Response -> predictions()
      ^                                                                                                    │
      └───────────────────────── forget() and once more, if the gateway answers 401 ──────────────────────┘

No image is put into a request before a receipt has opened.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx

from signet_client.canonical import from_json, from_time, to_base64url
from signet_client.errors import GatewayUnavailable, InvalidInput, SessionUnproved
from signet_client.images import EncodedImage
from signet_client.license_file import FingerprintCredential, KeyCredential, LicenseFile, SerialNumberCredential
from signet_client.problems import error_from
from signet_client.receipts import NONCE_BYTES, open_receipt
from signet_client.stamping import Stamper

RENEW_BEFORE = 30.0  # seconds before a session ends, or a tenth of its life if that is less


@dataclass(frozen=True)
class Prediction:
    """The model's answer to one image: `label` is the name of class `index`, `scores` has one entry a class."""

    index: int
    label: str
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Post:
    """A request to be sent. Its body and headers hold secrets, so only the path is shown."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    data: Mapping[str, str] | None = field(default=None, repr=False)
    files: Sequence[tuple[str, tuple[str, bytes, str]]] | None = field(default=None, repr=False)
    json: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Opening:
    """A session that was asked for; `asked_at` in seconds of the conversation's clock."""

    post: Post
    nonce: bytes = field(repr=False)
    asked_at: float


@dataclass(frozen=True, eq=False)
class Session:
    """A proved session; `renew_at` in seconds of the conversation's clock."""

    token: str = field(repr=False)
    renew_at: float


class Conversation:
    """The state of one license's dealings with one gateway: at most one session.

    Args:
        clock: seconds that only go forward. Lifetimes are the gateway's, counted from here, so that a licensee's wrong
            wall clock does no harm.
    """

    def __init__(self, license_file: LicenseFile, clock: Callable[[], float] = time.monotonic) -> None:
        self._license_file = license_file
        self._clock = clock
        self._session: Session | None = None
        self._model = f"/v1/models/{quote(license_file.model, safe='')}"

    def live(self) -> Session | None:
        """The session at hand, if there is one that need not be renewed."""
        session = self._session
        return session if session and self._clock() < session.renew_at else None

    def forget(self, session: Session | None) -> None:
        """Drop this session, and not one that was opened in its place meanwhile."""
        if session is self._session:
            self._session = None

    def opening(self) -> Opening:
        """Ask for a session with the license's credential and a fresh nonce."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        credential, fields = self._license_file.credential, {"nonce": to_base64url(nonce)}
        path = f"{self._model}/sessions"
        if isinstance(credential, FingerprintCredential):
            files = [("fingerprint", ("fingerprint", image, "application/octet-stream")) for image in credential.images]
            post = Post(path, data=fields, files=files)
        elif isinstance(credential, KeyCredential):
            post = Post(path, headers=_bearer(credential.key), json=fields)
        else:  # a blank image with the stamp: no image of the licensee's goes out before the receipt has opened
            files = [("stamped", ("stamped", Stamper(credential).probe(), "application/x-npy"))]
            post = Post(path, data=fields, files=files)
        return Opening(post, nonce, self._clock())

    def opened(self, opening: Opening, response: httpx.Response) -> Session:
        """The session, now at hand, if the gateway proved that it knows the license.

        Raises:
            SessionUnproved: the receipt is missing, does not open, or is for something else.
            Refused, NotLicensed, InvalidInput, GatewayUnavailable: the gateway answered so.
        """
        answer = self._document(response, 201)
        token, receipt, expires_at = answer.get("token"), answer.get("receipt"), answer.get("expires_at")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():  # it will be a header
            raise GatewayUnavailable("the gateway's answer holds no token", status=response.status_code)
        if not isinstance(receipt, str):
            raise SessionUnproved("it came without a receipt")
        key, model = self._license_file.receipt_key, self._license_file.model
        claims = open_receipt(key, opening.nonce, model, token, receipt)
        if claims["license"] != self._license_file.license or claims["expires_at"] != expires_at:
            raise SessionUnproved("its receipt is for another session")
        lifetime = _lifetime(claims)
        self._session = Session(token, opening.asked_at + lifetime - min(RENEW_BEFORE, lifetime / 10))
        return self._session

    def prediction(self, session: Session, images: Sequence[EncodedImage], version: int | None = None) -> Post:
        """Ask for the predictions of these images, of one version of the model or of the one being served."""
        files = [("images", (image.filename, image.data, image.media_type)) for image in images]
        version = self._asked(version)
        query = "" if version is None else f"?version={version}"
        return Post(f"{self._model}/predict{query}", headers=_bearer(session.token), files=files)

    def predictions(self, response: httpx.Response, count: int, version: int | None = None) -> list[Prediction]:
        """The answers, one an image and in their order, by the version that was asked.

        Raises:
            SessionLapsed: the token is not accepted any more.
            Refused, NotLicensed, InvalidInput, GatewayUnavailable: the gateway answered so, or not in a way that can be
                understood.
        """
        answer = self._document(response, 200)
        entries = answer.get("predictions")
        if answer.get("model") != self._license_file.model or not isinstance(entries, list) or len(entries) != count:
            raise GatewayUnavailable(f"the gateway's answer is not one to {count} images for this model", status=200)
        if (version := self._asked(version)) is not None and answer.get("version") != version:
            raise GatewayUnavailable(f"the gateway's answer is not one by version {version}", status=200)
        return [_prediction(entry) for entry in entries]

    def _asked(self, version: int | None) -> int | None:
        """The version to name: a serial number belongs to one, whatever is being served."""
        by_number = isinstance(self._license_file.credential, SerialNumberCredential)
        return self._license_file.version if version is None and by_number else version

    def _document(self, response: httpx.Response, expected: int) -> Mapping[str, object]:
        if response.status_code != expected:
            raise error_from(response.status_code, response.headers, response.content, self._license_file)
        try:
            document = from_json(response.content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise GatewayUnavailable("the gateway's answer is not a JSON object", status=response.status_code)
        return document


def check_version(version: int | None) -> None:
    """Before anything is sent.

    Raises:
        InvalidInput: no number that a version may have.
    """
    if version is not None and (type(version) is not int or version < 1):
        raise InvalidInput("version", "must be a whole number, 1 or more; leave it out for the version being served")


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def _lifetime(claims: Mapping[str, object]) -> float:
    try:
        ends, begins = from_time(str(claims["expires_at"])), from_time(str(claims["issued_at"]))
    except ValueError:
        raise SessionUnproved("its receipt holds no times that can be read") from None
    return max(0.0, (ends - begins).total_seconds())


def _prediction(entry: object) -> Prediction:
    fields = entry if isinstance(entry, dict) else {}
    index, label, scores = fields.get("index"), fields.get("label"), _scores(fields.get("scores"))
    if type(index) is not int or not isinstance(label, str) or not 0 <= index < len(scores):
        raise GatewayUnavailable("the gateway's answer holds a prediction that cannot be read", status=200)
    return Prediction(index, label, scores)


def _scores(listed: object) -> tuple[float, ...]:
    """Empty, which no index fits, where something else than finite numbers is listed."""
    try:
        scores = tuple(float(score) for score in listed) if isinstance(listed, list) else ()
    except (TypeError, ValueError, OverflowError):
        return ()
    return scores if all(map(math.isfinite, scores)) else ()
