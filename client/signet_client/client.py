"""The two clients: the same conversation with a gateway, over a blocking and over an async connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, overload

import httpx

from signet_client.conversation import Conversation, Post, Prediction, Session, check_version
from signet_client.credentials import SerialNumberCredential
from signet_client.errors import GatewayUnavailable
from signet_client.images import EncodedImage, Image, encode_many
from signet_client.license_file import LicenseSummary
from signet_client.problems import SessionLapsed
from signet_client.servers import checked_server
from signet_client.sources import LicenseSource, read_license
from signet_client.stamped_images import stamped
from signet_client.stamping import Stamper
from signet_client.trust import Trust

TIMEOUT = 30.0  # seconds to connect, and between two pieces of an answer


class _Licensed:
    """What both clients are made from: a license file that was checked, and a server that may be told its secrets."""

    def __init__(self, source: LicenseSource, trusted: Trust | None, server: str | None) -> None:
        self._file = read_license(source, trusted)
        self._server = checked_server(server or self._file.server)
        self._conversation = Conversation(self._file)
        credential = self._file.credential
        self._stamper = Stamper(credential) if isinstance(credential, SerialNumberCredential) else None

    @property
    def license(self) -> LicenseSummary:
        """What the license file says: customer, model, dates, entitlements; no secrets."""
        return self._file.summary()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._file.license} for {self._file.model} at {self._server}>"

    def _encoded(self, image: Image | Sequence[Image]) -> tuple[list[EncodedImage], bool]:
        """`images.encode_many`, with the stamp where the license is by serial number."""
        images, many = encode_many(image)
        if self._stamper is not None:
            images = [stamped(one, index, self._stamper) for index, one in enumerate(images)]
        return images, many

    def _settings(self, timeout: float | httpx.Timeout | None) -> dict[str, Any]:
        return {
            "base_url": self._server,
            "timeout": timeout,
            "headers": {"User-Agent": "signet-client", "Accept": "application/json"},
            # The environment may name a proxy, whom plain http tells everything: what is for loopback stays here.
            "trust_env": self._server.startswith("https:"),
        }


class Client(_Licensed):
    """A licensee's door to one model: `Client("acme.lic").predict("digit.png").label`.

    The first prediction opens a session; it is renewed before it ends. Threads may share a client. Nothing is retried
    but a prediction whose session lapsed, once: after an error nothing was answered.

    Args:
        license: path, text or bytes of the license file.
        trust: the issuer's public key, see `signet_client.trust`; None looks at SIGNET_TRUST and the pinned file.
        server: another URL than the license file's.
        timeout: seconds, or httpx.Timeout; None waits for ever.
        transport: how to reach the server, for a private certificate authority, say, or for tests.

    Raises:
        LicenseFileInvalid, UntrustedIssuer, NoTrustAnchor, InsecureServer: before anything is sent.
        OSError: the license file cannot be read.
    """

    def __init__(
        self,
        license: LicenseSource,
        *,
        trust: Trust | None = None,
        server: str | None = None,
        timeout: float | httpx.Timeout | None = TIMEOUT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(license, trust, server)
        self._opening = threading.Lock()  # one session is opened, however many threads wait for it
        self._http = httpx.Client(transport=transport, **self._settings(timeout))

    @overload
    def predict(  # type: ignore[overload-overlap]  # str is a sequence of str
        self, image: Image, *, version: int | None = None
    ) -> Prediction: ...

    @overload
    def predict(self, image: Sequence[Image], *, version: int | None = None) -> list[Prediction]: ...

    def predict(self, image: Image | Sequence[Image], *, version: int | None = None) -> Prediction | list[Prediction]:
        """What the model says to an image, or to each of a list: a path, bytes, a Pillow image or an array.

        With a license by serial number each image is decoded and stamped first, and has to have the model's size.

        Args:
            version: the model version to ask, 1 or more; None asks the one that the gateway serves just then, or the
                one that a serial number belongs to.

        Raises:
            InvalidInput: an image cannot be sent or was refused, or there is no such version; none was answered or
                counted.
            SessionUnproved: the gateway did not prove that it knows the license; no image was sent.
            Refused: the license does not allow this now; the subclass says why.
            NotLicensed: the gateway denies the request of a caller it does not know.
            GatewayUnavailable: no answer, or none that can be understood.
            OSError: a path cannot be read.
        """
        check_version(version)
        images, many = self._encoded(image)
        session = self._session()
        try:
            answers = self._ask(session, images, version)
        except SessionLapsed:
            answers = self._ask(self._session(lapsed=session), images, version)
        return answers if many else answers[0]

    def _ask(self, session: Session, images: list[EncodedImage], version: int | None) -> list[Prediction]:
        response = self._send(self._conversation.prediction(session, images, version))
        return self._conversation.predictions(response, len(images), version)

    def _session(self, lapsed: Session | None = None) -> Session:
        with self._opening:
            self._conversation.forget(lapsed)
            if session := self._conversation.live():
                return session
            opening = self._conversation.opening()
            return self._conversation.opened(opening, self._send(opening.post))

    def _send(self, post: Post) -> httpx.Response:
        try:
            return self._http.post(post.path, headers=post.headers, data=post.data, files=post.files, json=post.json)
        except httpx.HTTPError as error:
            failure = error
        raise _unavailable(failure, self._server)

    def close(self) -> None:
        """Close the connections; the session ends by itself."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Licensed):
    """`Client` for asyncio: the same arguments, errors and session; `await client.predict(...)`. Tasks may share it."""

    def __init__(
        self,
        license: LicenseSource,
        *,
        trust: Trust | None = None,
        server: str | None = None,
        timeout: float | httpx.Timeout | None = TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(license, trust, server)
        self._opening = asyncio.Lock()
        self._http = httpx.AsyncClient(transport=transport, **self._settings(timeout))

    @overload
    async def predict(  # type: ignore[overload-overlap]  # as above
        self, image: Image, *, version: int | None = None
    ) -> Prediction: ...

    @overload
    async def predict(self, image: Sequence[Image], *, version: int | None = None) -> list[Prediction]: ...

    async def predict(
        self, image: Image | Sequence[Image], *, version: int | None = None
    ) -> Prediction | list[Prediction]:
        """As `Client.predict`, `version` too; images are read and encoded in a thread."""
        check_version(version)
        images, many = await asyncio.to_thread(self._encoded, image)
        session = await self._session()
        try:
            answers = await self._ask(session, images, version)
        except SessionLapsed:
            answers = await self._ask(await self._session(lapsed=session), images, version)
        return answers if many else answers[0]

    async def _ask(self, session: Session, images: list[EncodedImage], version: int | None) -> list[Prediction]:
        response = await self._send(self._conversation.prediction(session, images, version))
        return self._conversation.predictions(response, len(images), version)

    async def _session(self, lapsed: Session | None = None) -> Session:
        async with self._opening:
            self._conversation.forget(lapsed)
            if session := self._conversation.live():
                return session
            opening = self._conversation.opening()
            return self._conversation.opened(opening, await self._send(opening.post))

    async def _send(self, post: Post) -> httpx.Response:
        try:
            return await self._http.post(
                post.path, headers=post.headers, data=post.data, files=post.files, json=post.json
            )
        except httpx.HTTPError as error:
            failure = error
        raise _unavailable(failure, self._server)

    async def aclose(self) -> None:
        """Close the connections; the session ends by itself."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _unavailable(failure: httpx.HTTPError, server: str) -> GatewayUnavailable:
    """To be raised outside of `except`: httpx's error, its context there, holds the request and so the credential."""
    kind = type(failure).__name__
    return GatewayUnavailable(f"{server} did not answer: {kind}{f': {failure}' if str(failure) else ''}")
