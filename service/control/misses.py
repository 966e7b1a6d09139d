"""Requests with stamps that nobody has: how many an address may send.

Counted when the work is done and looked at before the next request is decoded. A session or a key passes by: whoever
shares an address with somebody who guesses opens a session, which no guesses of others hold up.
"""

from service.addresses import throttled_as
from service.control.limits import Throttle
from service.errors import TooManyRequests


class Misses:
    """Unproved stamped requests by address, IPv6 by /64: `per_minute`, evenly spread, a minute's worth at once."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._throttle = Throttle()

    def check(self, address: str, now: float) -> None:
        """Whether an address may send another request without session or key; `now` in seconds.

        Raises:
            TooManyRequests: it has sent too many wrong stamps.
        """
        wait = self._throttle.wait(throttled_as(address), self._per_minute / 60, self._per_minute, now)
        if wait:
            raise TooManyRequests(wait, "too many requests with unknown stamps from this address; open a session")

    def note(self, address: str, now: float) -> None:
        """One more."""
        self._throttle.take(throttled_as(address), self._per_minute / 60, self._per_minute, now)
