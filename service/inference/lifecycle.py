"""Which versions are in memory and which of them answer, as the catalogue changes.

A version that is chosen to be served is warmed first: until then the one before goes on answering, and for good if the
new one does not load.
"""

import asyncio

import structlog

from service.control.book import Book, ModelRecord, VersionRecord
from service.inference.engine import Engine

log = structlog.get_logger(__name__)


class Lifecycle:
    """Follows the book; what takes time happens in tasks of its own.

    Until `warm_served` nothing is warmed: who only administers waits for no network.
    """

    def __init__(self, book: Book, engine: Engine) -> None:
        self._book = book
        self._engine = engine
        self._warming: dict[str, asyncio.Task[None]] = {}  # by version
        self._in: dict[str, str] = {}  # by model, the chosen version that has been warm
        self._serving = False

    def follow(self) -> None:
        """Let what is warm answer, warm what was chosen, let go of what was unloaded; twice does nothing more."""
        for model in list(self._book.models.values()):
            if model.unloaded:
                self._in.pop(model.name, None)
                self._engine.forget({version.id for version in model.versions.values()})
            elif model.chosen is not None and self._in.get(model.name) != model.chosen.id:
                self._bring_in(model, model.chosen)

    async def settled(self, model: str) -> None:
        """When the version that this model is to serve answers, or has failed to load."""
        record = self._book.models.get(model)
        task = self._warming.get(record.chosen.id) if record and record.chosen else None
        if task is not None:
            await asyncio.wait([task])

    async def warm_served(self) -> None:
        """Before the first request: one that does not load is logged, and the others are served."""
        self._serving = True
        for model in list(self._book.models.values()):
            if model.chosen is not None and not model.unloaded:
                await self._engine.try_load(model.chosen)
                self._bring_in(model, model.chosen)

    async def stop(self) -> None:
        """Give up what is being warmed."""
        tasks = list(self._warming.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _bring_in(self, model: ModelRecord, chosen: VersionRecord) -> None:
        if not self._serving:
            self._book.swap(model)
        elif self._engine.is_warm(chosen):
            self._book.swap(model)
            self._in[model.name] = chosen.id
            log.info("lifecycle.version.answers", model=model.name, version=chosen.number)
        elif chosen.id not in self._warming and not self._engine.failed_lately(chosen):
            self._warming[chosen.id] = asyncio.create_task(self._warm(chosen))

    async def _warm(self, version: VersionRecord) -> None:
        try:
            await self._engine.try_load(version)
            self.follow()
        finally:
            del self._warming[version.id]
