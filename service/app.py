"""All the wiring on one screen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from models import networks
from service import api, openapi, problems
from service.clock import Clock, system_clock
from service.gateway import Gateway
from service.keyring import open_ring
from service.middleware import DOCS_ASSETS, Guard
from service.oip.infer import HotPath
from service.settings import Settings

TITLE = "Signet"


class Application(FastAPI):
    """What the server calls goes through ours first: the framework's own layers cost more than a small answer."""

    outermost: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Past the guard, or not at all."""
        await self.outermost(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """Without the framework's own answer to a bug, which would leave before the guard's."""
        outer = super().build_middleware_stack()
        return outer.app if isinstance(outer, ServerErrorMiddleware) else outer

    async def framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application behind ours."""
        await super().__call__(scope, receive, send)


def create_app(settings: Settings, *, clock: Clock = system_clock, serving: bool = True) -> Application:
    """The gateway over a home that `service.cli.home.prepare` has made ready and a migrated database.

    With `serving=False` nothing is loaded ahead and nothing is counted: what the CLI uses on the owner's machine.

    Raises:
        KeyRingError: no readable key ring.
    """
    for name, target in settings.networks.items():
        networks.allow(name, target)
    gateway = Gateway.build(settings, open_ring(settings.home / "keys" / "ring.json", create=False), clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await gateway.start(serving=serving)
            yield
        finally:  # also where a command ends with an error
            await gateway.stop()

    documented = settings.environment != "production"
    app = Application(
        title=TITLE,
        description="Licensees get the model, strangers get plausible random labels.",
        version="1",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if documented else None,
        # The guard's spans instead: the framework's hold what callers sent, and looking for a provider costs more.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    if documented:  # the page's scripts come from here, not from somebody's server
        pages = FastAPIOffline(title=TITLE, docs_url="/docs", redoc_url=None, static_url=DOCS_ASSETS)
        app.router.routes.extend(pages.routes)
    app.state.gateway = gateway
    app.include_router(api.router)
    problems.install(app)
    openapi.document(app)
    app.outermost = Guard(HotPath(app.framework, gateway), gateway)  # nothing goes past the guard
    return app
