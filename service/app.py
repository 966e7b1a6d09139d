"""All the wiring on one screen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from models import networks
from service import api, openapi, problems
from service.clock import Clock, system_clock
from service.gateway import Gateway
from service.keyring import open_ring
from service.middleware import DOCS_ASSETS, Guard
from service.oip.infer import HotPath
from service.settings import Settings

DESCRIPTION = "Licensees get the model, strangers get plausible random labels."


def create_app(settings: Settings, *, clock: Clock = system_clock, serving: bool = True) -> FastAPI:
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
        await gateway.start(serving=serving)
        yield
        await gateway.stop()

    about: dict[str, Any] = {
        "title": "Signet",
        "description": DESCRIPTION,
        "version": "1",
        "lifespan": lifespan,
        "redirect_slashes": False,
    }
    if settings.environment == "production":
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, **about)
    else:  # the page's scripts come from here, not from somebody's server
        app = FastAPIOffline(docs_url="/docs", redoc_url=None, static_url=DOCS_ASSETS, **about)
    app.state.gateway = gateway
    app.include_router(api.router)
    problems.install(app)
    openapi.document(app)
    app.add_middleware(HotPath, gateway=gateway)
    app.add_middleware(Guard, gateway=gateway)  # outermost: nothing goes past it
    return app
