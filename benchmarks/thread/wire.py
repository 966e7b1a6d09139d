"""A lean HTTP/1.1 client for measuring time: requests are bytes made beforehand, a connection is kept open."""

import asyncio
import time
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.asking import npy

Floats = NDArray[np.float64]


def prediction(model: str, image: NDArray[np.uint8], bearer: str | None = None) -> bytes:
    """The bytes of a request about one image."""
    body = npy(image)
    credential = f"Authorization: Bearer {bearer}\r\n" if bearer else ""
    head = (
        f"POST /v1/models/{model}/predict HTTP/1.1\r\nHost: gateway\r\n{credential}"
        f"Content-Type: application/x-npy\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Refused(Exception):
    """Another answer than 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"the gateway answered {status}: {body!r}")
        self.status = status


class Connection:
    """One kept-alive connection; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, source: str = "127.0.0.1") -> Self:
        """Connect, from another loopback address if need be."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)))

    async def ask(self, request: bytes) -> tuple[float, bytes, bytes]:
        """Seconds until the whole answer was there, its head and its body.

        Raises:
            Refused: it is not a 200.
        """
        began = time.perf_counter()
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        took = time.perf_counter() - began
        if head[9:12] != b"200":
            raise Refused(int(head[9:12]), body)
        return took, head, body

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def connect(port: int, count: int, source: str = "127.0.0.1") -> list[Connection]:
    """So many connections from one address."""
    return [await Connection.open(port, source) for _ in range(count)]


async def block(connections: Sequence[Connection], request: bytes, counted: int) -> Floats:
    """Seconds of `counted` requests with every connection busy; one a connection goes before and is not counted."""
    left = counted + len(connections)
    seconds: list[float] = []

    async def keep_asking(connection: Connection) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            took, _, _ = await connection.ask(request)
            seconds.append(took)

    await asyncio.gather(*(keep_asking(connection) for connection in connections))
    return np.array(seconds[len(connections) :])


async def until(connections: Sequence[Connection], requests: Sequence[bytes], end: float) -> Floats:
    """Seconds of all requests that each connection makes, one after the other, until the loop's clock says `end`."""
    seconds: list[float] = []
    clock = asyncio.get_running_loop().time

    async def keep_asking(connection: Connection, request: bytes) -> None:
        while clock() < end:
            took, _, _ = await connection.ask(request)
            seconds.append(took)

    pairs = zip(connections, requests, strict=True)
    await asyncio.gather(*(keep_asking(connection, request) for connection, request in pairs))
    return np.array(seconds)


async def ask_each(port: int, requests: Sequence[bytes], callers: int) -> list[tuple[bytes, bytes]]:
    """Head and body of the answer to each request, so many asked at a time."""
    answers: list[tuple[bytes, bytes]] = [(b"", b"")] * len(requests)
    connections = await connect(port, callers)

    async def ask_share(caller: int) -> None:
        for row in range(caller, len(requests), callers):
            _, *answer = await connections[caller].ask(requests[row])
            answers[row] = (answer[0], answer[1])

    await asyncio.gather(*(ask_share(caller) for caller in range(callers)))
    for connection in connections:
        connection.close()
    return answers
