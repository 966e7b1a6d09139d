"""From a verdict to what happens: the truth, a decoy, or a refusal in plain words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from service.catalogue.tables import UnauthorizedPolicy
from service.control.book import LicenseRecord, ModelRecord
from service.control.counting import Tally, counted
from service.control.verdict import VALID, Ask, Code, Verdict, judge, refusal
from service.errors import Unlicensed
from service.gateway import Gateway

log = structlog.get_logger(__name__)


class Decision:
    """Whether the truth may be told, and what was taken for it."""

    def __init__(self, verdict: Verdict, tally: Tally) -> None:
        self.verdict = verdict
        self.authorized = verdict.code == Code.VALID
        self.settle = tally.settle


@asynccontextmanager
async def decide(
    gateway: Gateway, model: ModelRecord, license: LicenseRecord | None, ask: Ask, verdict: Verdict
) -> AsyncIterator[Decision]:
    """The decision on one request that was judged; leaving without `settle` gives back what was taken.

    Strangers go through the same rules and the same statements, on their model's account.

    Raises:
        Refused: proved, but not allowed now. Unlicensed: unproved, and the model's policy is to deny.
    """
    stand_in = model.strangers
    # Who holds a file that was replaced may be a paying customer who has not put the new one in place yet.
    hidden = verdict.code == Code.REVOKED and not verdict.replaced and model.revoked_policy == UnauthorizedPolicy.DECOY
    if verdict.code not in (Code.VALID, Code.NOT_FOUND) and not hidden:
        _tell(gateway, model, ask, verdict)
    account = license if license is not None and verdict.code == Code.VALID else stand_in
    async with counted(gateway.ledger, gateway.limits, account, ask.images, ask.now.timestamp()) as tally:
        if tally.verdict != VALID:
            _tell(gateway, model, ask, tally.verdict)
        _note(gateway, model, ask, verdict)
        if account is stand_in and model.unauthorized_policy == UnauthorizedPolicy.DENY and not hidden:
            raise Unlicensed
        yield Decision(verdict, tally)


def stands(model: ModelRecord, license: LicenseRecord | None, ask: Ask) -> bool:
    """Whether a caller's license would allow `ask`, counting aside: who goes through the licensees' gate and lane."""
    return judge(license, ask, model.strangers).code == Code.VALID


def _note(gateway: Gateway, model: ModelRecord, ask: Ask, verdict: Verdict) -> None:
    gateway.metrics.verdict(model.name, ask.operation, verdict.code)
    if verdict.code != Code.VALID:
        gateway.refusals.count(model.name, verdict.code, ask.address)


def _tell(gateway: Gateway, model: ModelRecord, ask: Ask, verdict: Verdict) -> None:
    _note(gateway, model, ask, verdict)
    raise refusal(verdict)
