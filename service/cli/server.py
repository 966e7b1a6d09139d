"""uvicorn, with the gateway's life in our hands: it would turn a start that fails into a traceback in the log."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from socket import socket

import uvicorn
from fastapi import FastAPI

from service.cli.api import fail
from service.cli.supervisor import Supervisor


class Server(uvicorn.Server):
    """Starts the gateway before it listens and stops it after the last answer; what goes wrong is raised as it is."""

    def __init__(
        self, config: uvicorn.Config, app: FastAPI, announce: Callable[[], None], supervisor: Supervisor | None
    ) -> None:
        super().__init__(config)
        self._app, self._announce, self._supervisor = app, announce, supervisor
        self._alive = AsyncExitStack()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start the gateway, then listen."""
        await self._alive.enter_async_context(self._app.router.lifespan_context(self._app))
        try:
            if self._supervisor is not None:
                await self._alive.enter_async_context(self._supervisor)
            await super().startup(sockets)
            self._announce()
        except BaseException as error:
            await self._alive.aclose()
            if isinstance(error, SystemExit):  # somebody took the port since it was looked at; the log has the reason
                where = f"{self.config.host}:{self.config.port}"
                raise fail(f"cannot listen on {where}; choose another with --port") from None
            raise

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Answer what is under way, then stop the gateway."""
        await super().shutdown(sockets)
        if not self.force_exit:
            await self._alive.aclose()
