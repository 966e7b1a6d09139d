"""What each kind of job leaves to others when it ends without success. How it is done: `service.jobs.running`."""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.service import Act
from service.jobs.tables import Job, JobKind
from service.students import service as students

Ended = Callable[[AsyncSession, Act, Job], Awaitable[None]]


async def _nothing(session: AsyncSession, act: Act, job: Job) -> None:
    """A trace says of its job how it ended."""


# In the transaction that ends the job as failed or cancelled.
ENDED: dict[JobKind, Ended] = {JobKind.DISTILLATION: students.given_up, JobKind.TRACE: _nothing}
