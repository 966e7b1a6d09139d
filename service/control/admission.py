"""Strangers pay their way: all of them share one narrow gate while licensees are being served.

The gate stands before the body is decoded, so that a flood of strangers costs a licensee neither decoding nor the
network: strangers under way may be `share` of all requests under way (but always one). Without licensees the gate is
open.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Self

from service.errors import Overloaded

_QUIET_S = 1.0  # how long after its last request a licensee still counts: a closed loop pauses between two


class Turn:
    """A place at the gate, for as long as its context. Whoever turns out to be a licensee on the way leaves the
    strangers' place to another.
    """

    def __init__(self, admission: "Admission", *, proved: bool) -> None:
        self._admission = admission
        self._proved = proved

    async def __aenter__(self) -> Self:
        if self._proved:
            self._admission.enter_as_licensee()
        else:
            await self._admission.enter_as_stranger()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._admission.leave(proved=self._proved)

    def promote(self) -> None:
        """From here on this is a licensee's."""
        if not self._proved:
            self._proved = True
            self._admission.enter_as_licensee()
            self._admission.leave(proved=False)


class Admission:
    """`async with admission.turn(proved=...)` around the work on one request."""

    def __init__(self, share: float, max_open: int, max_waiting: int) -> None:
        self._ratio = share / (1 - share) if share < 1 else max_open
        self._max_open = max_open
        self._max_waiting = max_waiting
        self._licensees = 0
        self._strangers = 0
        self._last_licensee = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def turn(self, *, proved: bool) -> Turn:
        """Wait for a place, and have it while the work goes on.

        Raises, on entering:
            Overloaded: too many strangers wait already.
        """
        return Turn(self, proved=proved)

    def enter_as_licensee(self) -> None:
        """Licensees do not wait."""
        self._licensees += 1

    def leave(self, *, proved: bool) -> None:
        """Give a place back."""
        if proved:
            self._licensees -= 1
            self._last_licensee = asyncio.get_running_loop().time()
        else:
            self._strangers -= 1
        self._admit()

    async def enter_as_stranger(self) -> None:
        """Strangers wait for a place.

        Raises:
            Overloaded: too many wait already.
        """
        if not self._waiting and self._strangers < self._places():
            self._strangers += 1
            return
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._watch_for_quiet()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # admitted and cancelled in the same tick
                self._strangers -= 1
                self._admit()
            else:
                with suppress(ValueError):  # passed over already
                    self._waiting.remove(place)
            raise

    def _places(self) -> int:
        quiet = asyncio.get_running_loop().time() - self._last_licensee > _QUIET_S
        if quiet and not self._licensees:
            return self._max_open
        return max(1, int(max(1, self._licensees) * self._ratio))

    def _admit(self) -> None:
        while self._waiting and self._strangers < self._places():
            place = self._waiting.popleft()
            if not place.done():
                self._strangers += 1
                place.set_result(None)

    def _watch_for_quiet(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_QUIET_S, self._quiet)

    def _quiet(self) -> None:
        self._timer = None
        self._admit()
        if self._waiting:
            self._watch_for_quiet()
