"""The parts that a request meets, made once and handed to every feature."""

import asyncio
from dataclasses import dataclass

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from service.catalogue.artefacts import ArtefactStore
from service.clock import Clock
from service.control.admission import Admission
from service.control.book import Book
from service.control.limits import Limits, Throttle
from service.control.misses import Misses
from service.control.sync import Sync
from service.database import Transactions, create_engine, sessions_of
from service.inference.batcher import Batcher
from service.inference.collector import InferenceCollector
from service.inference.engine import Engine
from service.inference.lifecycle import Lifecycle
from service.inference.statistics import Statistics
from service.inference.students import StudentCache
from service.inference.tuning import Tuner
from service.inputs.body import Decoder
from service.keyring import KeyRing
from service.licenses.allotted import Allotted
from service.metrics import Metrics
from service.ownership.verifier import Verifier
from service.sessions.tokens import TokenSealer
from service.settings import Settings
from service.students.store import StudentStore
from service.tracing import Tracing, tracing
from service.usage.ledger import Ledger
from service.usage.refusals import Refusals

_BEHIND_S = 10.0  # how old the book may be before others should answer


@dataclass(slots=True)
class Gateway:
    """One running gateway. `start` and `stop` are the lifespan's."""

    settings: Settings
    ring: KeyRing
    clock: Clock
    metrics: Metrics
    tracing: Tracing
    statistics: Statistics
    database: AsyncEngine
    counting: AsyncEngine  # connections of its own for what licensees wait for: administrators cannot use them up
    sessions: async_sessionmaker[AsyncSession]
    book: Book
    sync: Sync
    store: ArtefactStore
    students: StudentStore
    engine: Engine
    student_cache: StudentCache
    lifecycle: Lifecycle
    tuner: Tuner
    batcher: Batcher
    transactions: Transactions
    ledger: Ledger
    limits: Limits
    refusals: Refusals
    admission: Admission
    address_throttle: Throttle
    misses: Misses
    tokens: TokenSealer
    allotted: Allotted
    decoder: Decoder
    recognising: asyncio.Semaphore
    verifier: Verifier
    ready: bool
    tasks: list[asyncio.Task[None]]

    @classmethod
    def build(cls, settings: Settings, ring: KeyRing, clock: Clock) -> "Gateway":
        """Wire the parts; nothing is opened yet."""
        url, book = settings.resolved_database_url(), Book()
        metrics, statistics = Metrics(), Statistics()
        database, counting = create_engine(url), create_engine(url, pool_size=3)
        transactions = Transactions(counting)
        store = ArtefactStore(settings.home / "models", ring.public_keys())
        engine = Engine(store, ring, settings.loaded_bytes)
        students = StudentStore(settings.home / "students", ring.public_keys())
        student_cache = StudentCache(engine, ring, students, settings.students_kept)
        engine.on_gone = student_cache.forget
        metrics.registry.register(InferenceCollector(book, statistics, engine))
        lifecycle = Lifecycle(book, engine)
        return cls(
            settings=settings,
            ring=ring,
            clock=clock,
            metrics=metrics,
            tracing=tracing(wanted=settings.tracing),
            statistics=statistics,
            database=database,
            counting=counting,
            sessions=sessions_of(database),
            book=book,
            sync=Sync(counting, book, settings.poll_interval_s, lifecycle.follow),
            store=store,
            students=students,
            engine=engine,
            student_cache=student_cache,
            lifecycle=lifecycle,
            tuner=Tuner(engine, settings.home / "engines", settings.engines, settings.networks),
            batcher=Batcher(engine, metrics, statistics, settings.max_batch, settings.max_queued),
            transactions=transactions,
            ledger=Ledger(transactions, clock, settings.worker_lease_s, metrics),
            limits=Limits(),
            refusals=Refusals(counting, clock, settings.refusal_flush_s),
            admission=Admission(settings.stranger_share, settings.max_batch, settings.max_queued),
            address_throttle=Throttle(),
            misses=Misses(settings.stamp_misses_per_minute),
            tokens=TokenSealer(ring),
            allotted=Allotted(ring),
            decoder=Decoder(settings.max_image_pixels, settings.max_images_per_request),
            recognising=asyncio.Semaphore(1),
            verifier=Verifier(),
            ready=False,
            tasks=[],
        )

    async def start(self, *, serving: bool) -> None:
        """Read the book; when serving, also load what is served and begin to count."""
        await self.sync.refresh()
        self.batcher.start()
        if serving:
            await asyncio.to_thread(self.store.sweep)
            await self.ledger.start()
            self.tuner.start()
            await self.lifecycle.warm_served()
            self.tasks += [asyncio.create_task(self.sync.watch()), asyncio.create_task(self.refusals.keep_flushing())]
            self.ready = True

    async def stop(self) -> None:
        """Finish what is under way and write down what was counted."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.batcher.stop()
        if self.ready:
            self.ready = False
            await self.refusals.flush()
            await self.ledger.stop()
        await self.lifecycle.stop()
        await self.tuner.stop()
        await self.student_cache.stop()
        await self.engine.stop()
        await self.verifier.stop()
        await self.database.dispose()
        await self.transactions.dispose()
        await self.counting.dispose()

    def ailing(self) -> str | None:
        """What keeps this gateway from being ready; None when nothing does."""
        if not self.ready:
            return "not ready yet"
        if any(task.done() for task in (*self.tasks, *self.ledger.tasks, *self.batcher.tasks)):
            return "a task that runs for good has ended; restart this process"
        if self.sync.behind_s > max(_BEHIND_S, 5 * self.settings.poll_interval_s):
            return "changes to licenses have not been seen for a while"
        return None


def gateway_of(request: Request) -> Gateway:
    """The gateway behind a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
