"""The counted half of a verdict: quota, concurrency and rate, taken together or not at all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.control.book import LicenseRecord
from service.control.limits import Limits
from service.control.verdict import VALID, Code, Verdict
from service.errors import Overloaded
from service.usage.ledger import Ledger


class Tally:
    """What was taken for one request. `settle` it before the answer leaves; otherwise it is given back."""

    def __init__(self, ledger: Ledger, account: str, images: int, verdict: Verdict) -> None:
        self.verdict = verdict
        self._ledger = ledger
        self._account = account
        self._images = images
        self.settled = False

    async def settle(self) -> None:
        """The images are answered.

        Raises:
            Overloaded: the reservation is gone (this worker was taken for dead); the answer must not leave.
        """
        self.settled = True
        if self._images and not await self._ledger.settle(self._account, self._images):
            raise Overloaded("the answer could not be counted; nothing was charged, try again")

    async def give_back(self) -> None:
        """The images were not answered."""
        if self._images and not self.settled:
            await self._ledger.release(self._account, self._images)


@asynccontextmanager
async def counted(
    ledger: Ledger, limits: Limits, license: LicenseRecord, images: int, now: float
) -> AsyncIterator[Tally]:
    """Take place, turn and `images` units of `license`; with 0 images (a session) only look whether one would fit.

    Precedence is quota, concurrency, rate, though place and turn are taken first: they are free to give back.
    """
    limited = limits.acquire(license, now)
    if limited is not None:
        fits = await ledger.fits(license.id, max(images, 1))
        yield Tally(ledger, license.id, 0, limited if fits else over_quota(license))
        return
    unused = True
    try:
        took = await (ledger.reserve(license.id, images) if images else ledger.fits(license.id, 1))
        tally = Tally(ledger, license.id, images if took else 0, VALID if took else over_quota(license))
        try:
            yield tally
            unused = not took
        finally:
            await tally.give_back()
    finally:
        limits.leave(license, unused=unused)


def over_quota(license: LicenseRecord) -> Verdict:
    """The verdict on a request that the quota has no room for."""
    return Verdict(Code.QUOTA_EXCEEDED, limit=license.terms.quota)
