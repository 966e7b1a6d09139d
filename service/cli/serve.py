"""`signet serve`: run the gateway."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from service.cli.api import Options, console
from service.settings import Settings


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Beyond loopback only with TLS or behind a proxy.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="PORT", min=1, max=65535)] = 8000,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key.")] = None,
    behind_proxy: Annotated[
        list[str] | None, typer.Option(help="CIDR of proxies that end TLS; repeatable. Default: SIGNET_BEHIND_PROXY.")
    ] = None,
    worker: Annotated[
        bool, typer.Option(help="Start a `signet worker` whenever there is a job, such as distilling a student.")
    ] = True,
    demo: Annotated[bool, typer.Option(help="Set up a demonstration first and print lines to paste.")] = False,
) -> None:
    """Serve the models of this home."""
    from service.cli import listening

    options: Options = context.obj
    proxies = behind_proxy or [str(network) for network in options.settings.behind_proxy]
    listening.check_proxies(proxies)
    listening.check_tls(tls_cert, tls_key)
    listening.check_reach(host, tls=tls_cert is not None, proxies=proxies)
    reached_at = listening.reached_at(options.settings, host, port, tls=tls_cert is not None)
    settings = options.settings.model_copy(update=reached_at)
    listening.check_free(host, port)
    import structlog

    from service import logs
    from service.cli.home import prepare

    prepare(settings)
    announce: Callable[[], None] = _plain_words(settings.server_url)
    if demo:
        from service.cli.demo import set_up

        announce = set_up(settings, options)
    logs.configure(settings.environment)
    _run(settings, host, port, tls_cert, tls_key, proxies, announce, worker=worker)
    structlog.get_logger(__name__).info("gateway.stopped")


def _run(
    settings: Settings,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    proxies: list[str],
    announce: Callable[[], None],
    *,
    worker: bool,
) -> None:
    import uvicorn

    from service.app import create_app
    from service.cli.server import Server
    from service.cli.supervisor import Supervisor

    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        lifespan="off",  # the server's own
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=10,
    )
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how one stops it
        Server(config, app, announce, Supervisor(app.state.gateway) if worker else None).run()


def _plain_words(url: str) -> Callable[[], None]:
    words = Text.assemble((f"Signet serves at {url}", "bold green"), "  (Ctrl-C stops it)")
    return lambda: console.print(words, highlight=False, soft_wrap=True)
