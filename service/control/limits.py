"""Concurrency and rate of a license, rate of an address: counted in memory, given back when something else refuses."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field

from service.control.book import LicenseRecord
from service.control.verdict import Code, Verdict

_SWEEP_EVERY_S = 10.0
_CLOCK_STEP_S = 1.0


@dataclass(slots=True)
class Throttle:
    """The generic cell rate algorithm (ITU-T I.371): evenly spaced requests, with a burst; one number a key."""

    _arrivals: dict[Hashable, float] = field(default_factory=dict)
    _swept_at: float = 0.0

    def wait(self, key: Hashable, rate_per_s: float, burst: int, now: float) -> int:
        """The whole seconds until there is one to take; 0 when there is. Takes nothing."""
        wait = self._expected(key, rate_per_s, burst, now) - now - (burst - 1) / rate_per_s
        return max(1, math.ceil(wait)) if wait > 1e-9 else 0

    def take(self, key: Hashable, rate_per_s: float, burst: int, now: float) -> int:
        """Take one; 0 when it was free, else the whole seconds to wait (and nothing is taken)."""
        if wait := self.wait(key, rate_per_s, burst, now):
            return wait
        self._arrivals[key] = self._expected(key, rate_per_s, burst, now) + 1 / rate_per_s
        if abs(now - self._swept_at) >= _SWEEP_EVERY_S:  # whoever has been away long enough is as good as new
            self._arrivals = {key: arrival for key, arrival in self._arrivals.items() if arrival > now}
            self._swept_at = now
        return 0

    def _expected(self, key: Hashable, rate_per_s: float, burst: int, now: float) -> float:
        arrival = self._arrivals.get(key, now)
        if arrival > now + burst / rate_per_s + _CLOCK_STEP_S:
            return now  # the clock was set back: nobody waits for that time to come round again
        return max(arrival, now)

    def give_back(self, key: Hashable, rate_per_s: float) -> None:
        """Undo one `take`."""
        if key in self._arrivals:
            self._arrivals[key] -= 1 / rate_per_s


@dataclass(slots=True)
class Limits:
    """What the licenses of this process have under way."""

    _under_way: dict[str, int] = field(default_factory=dict)
    _throttle: Throttle = field(default_factory=Throttle)

    def acquire(self, license: LicenseRecord, now: float) -> Verdict | None:
        """Take a place and a turn, or say which of the two is not to be had (and take neither)."""
        under_way = self._under_way.get(license.id, 0)
        if license.terms.max_concurrency is not None and under_way >= license.terms.max_concurrency:
            return Verdict(Code.CONCURRENCY_EXCEEDED, limit=license.terms.max_concurrency, retry_after=1)
        rate = license.terms.rate_per_minute
        if rate is not None and (wait := self._throttle.take(license.id, rate / 60, rate, now)):
            return Verdict(Code.RATE_LIMITED, limit=rate, retry_after=wait)
        self._under_way[license.id] = under_way + 1
        return None

    def leave(self, license: LicenseRecord, *, unused: bool) -> None:
        """Give the place back; with `unused`, the turn too."""
        under_way = self._under_way.get(license.id, 0) - 1
        if under_way > 0:
            self._under_way[license.id] = under_way
        else:
            self._under_way.pop(license.id, None)
        if unused and license.terms.rate_per_minute is not None:
            self._throttle.give_back(license.id, license.terms.rate_per_minute / 60)
