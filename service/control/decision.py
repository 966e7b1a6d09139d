"""From a verdict to what happens: the truth, a decoy, or a refusal in plain words."""

from typing import Self

from service.catalogue.tables import UnauthorizedPolicy
from service.control.book import LicenseRecord, ModelRecord
from service.control.counting import Tally
from service.control.verdict import VALID, Ask, Code, Verdict, judge, refusal
from service.errors import Unlicensed
from service.gateway import Gateway


class Decision:
    """What a judged request gets, for as long as the context; leaving without `settle` gives back what was taken.

    Strangers go through the same rules and the same statements, on their model's account.
    """

    def __init__(
        self, gateway: Gateway, model: ModelRecord, license: LicenseRecord | None, ask: Ask, verdict: Verdict
    ) -> None:
        self.verdict = verdict
        self.authorized = verdict.code == Code.VALID
        self._gateway = gateway
        self._model = model
        self._ask = ask
        # Who holds a file that was replaced may be a paying customer who has not put the new one in place yet.
        revoked = verdict.code == Code.REVOKED and not verdict.replaced
        self._hidden = revoked and model.revoked_policy == UnauthorizedPolicy.DECOY
        account = license if license is not None and self.authorized else model.strangers
        self._denied = account is model.strangers and model.unauthorized_policy == UnauthorizedPolicy.DENY
        self._tally = Tally(gateway.ledger, gateway.limits, account, ask.images, ask.now.timestamp())

    async def __aenter__(self) -> Self:
        """Take what the request costs.

        Raises:
            Refused: proved, but not allowed now. Unlicensed: unproved, and the model's policy is to deny.
        """
        if self.verdict.code not in (Code.VALID, Code.NOT_FOUND) and not self._hidden:
            self._tell(self.verdict)
        await self._tally.__aenter__()
        try:
            if self._tally.verdict != VALID:
                self._tell(self._tally.verdict)
            self._note(self.verdict)
            if self._denied and not self._hidden:
                raise Unlicensed
        except BaseException as error:
            await self._tally.__aexit__(type(error))
            raise
        return self

    async def __aexit__(self, *why: object) -> None:
        await self._tally.__aexit__(*why)

    async def settle(self) -> None:
        """The images are answered.

        Raises:
            Overloaded: they could not be counted; the answer must not leave.
        """
        await self._tally.settle()

    def _note(self, verdict: Verdict) -> None:
        model, ask = self._model, self._ask
        self._gateway.metrics.verdict(model.name, ask.operation, verdict.code)
        if verdict.code != Code.VALID:
            self._gateway.refusals.count(model.name, verdict.code, ask.address)

    def _tell(self, verdict: Verdict) -> None:
        self._note(verdict)
        raise refusal(verdict)


def stands(model: ModelRecord, license: LicenseRecord | None, ask: Ask) -> bool:
    """Whether a caller's license would allow `ask`, counting aside: who goes through the licensees' gate and lane."""
    return judge(license, ask, model.strangers).code == Code.VALID
