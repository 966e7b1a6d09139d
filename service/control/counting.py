"""The counted half of a verdict: quota, concurrency and rate, taken together or not at all."""

from typing import Self

from service.control.book import LicenseRecord
from service.control.limits import Limits
from service.control.verdict import VALID, Code, Verdict
from service.errors import Overloaded
from service.usage.ledger import Ledger


class Tally:
    """What is taken for one request: place, turn and `images` units of a license; with 0 images (a session) it is only
    looked whether one would fit. Leaving the context without `settle` gives the units back.

    Precedence is quota, concurrency, rate, though place and turn are taken first: they are free to give back.
    """

    def __init__(self, ledger: Ledger, limits: Limits, license: LicenseRecord, images: int, now: float) -> None:
        self.verdict = VALID
        self._ledger = ledger
        self._limits = limits
        self._license = license
        self._images = images
        self._now = now
        self._placed = False
        self._reserved = 0

    async def __aenter__(self) -> Self:
        license, images = self._license, self._images
        limited = self._limits.acquire(license, self._now)
        if limited is not None:
            fits = await self._ledger.fits(license.id, max(images, 1))
            self.verdict = limited if fits else over_quota(license)
            return self
        try:
            took = await (self._ledger.reserve(license.id, images) if images else self._ledger.fits(license.id, 1))
        except BaseException:
            self._limits.leave(license, unused=True)
            raise
        self._placed, self._reserved = True, images if took else 0
        if not took:
            self.verdict = over_quota(license)
        return self

    async def __aexit__(self, failed: object, *_: object) -> None:
        try:
            if self._reserved:
                await self._ledger.release(self._license.id, self._reserved)
        finally:
            if self._placed:
                self._limits.leave(self._license, unused=failed is not None or self.verdict != VALID)

    async def settle(self) -> None:
        """The images are answered.

        Raises:
            Overloaded: the reservation is gone (this worker was taken for dead); the answer must not leave.
        """
        units, self._reserved = self._reserved, 0
        if units and not await self._ledger.settle(self._license.id, units):
            raise Overloaded("the answer could not be counted; nothing was charged, try again")


def over_quota(license: LicenseRecord) -> Verdict:
    """The verdict on a request that the quota has no room for."""
    return Verdict(Code.QUOTA_EXCEEDED, limit=license.terms.quota)
