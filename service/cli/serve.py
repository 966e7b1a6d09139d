"""`signet serve`: run the gateway."""

import contextlib
import socket
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

import typer

from service.addresses import is_loopback
from service.cli.api import Options, console, fail
from service.cli.failing import prepared
from service.settings import Settings


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Beyond loopback only with TLS or behind a proxy.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="PORT", min=1, max=65535)] = 8000,
    tls_cert: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="PEM certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="PEM private key.")] = None,
    behind_proxy: Annotated[list[str] | None, typer.Option(help="CIDR of proxies that end TLS; repeatable.")] = None,
    demo: Annotated[bool, typer.Option(help="Set up a demonstration first and print lines to paste.")] = False,
) -> None:
    """Serve the models of this home."""
    if not is_loopback(host) and not (tls_cert and tls_key) and not behind_proxy:
        raise fail(f"{host} is reachable from outside: give --tls-cert and --tls-key, or --behind-proxy CIDR", 2)
    for cidr in behind_proxy or ():
        _check_network(cidr)
    _check_free(host, port)
    import structlog

    from service import logs

    options: Options = context.obj
    settings = options.settings.model_copy(update=_reached_at(options, host, port, tls=tls_cert is not None))
    prepared(settings)
    announce: Callable[[], None] = _plain_words(settings.server_url)
    if demo:
        from service.cli.demo import set_up

        announce = set_up(settings, options)
    logs.configure(settings.environment)
    _run(settings, host, port, tls_cert, tls_key, behind_proxy, announce)
    structlog.get_logger(__name__).info("gateway.stopped")


def _run(
    settings: Settings,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: list[str] | None,
    announce: Callable[[], None],
) -> None:
    import uvicorn

    from service.app import create_app

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                announce()

    config = uvicorn.Config(
        create_app(settings),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
        proxy_headers=bool(behind_proxy),
        forwarded_allow_ips=behind_proxy or [],
        timeout_graceful_shutdown=10,
    )
    try:
        config.load()
    except OSError as error:
        raise fail(f"cannot use the certificate {tls_cert} with the key {tls_key}: {error}") from None
    server = Server(config)
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how one stops it
        server.run()
    if not server.started:
        raise fail("the gateway could not start; the log above says why", 3)


def _check_network(cidr: str) -> None:
    try:
        ip_network(cidr)
    except ValueError as error:
        raise fail(f"--behind-proxy {cidr}: {error}", 2) from None


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise fail(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another: make run PORT={port + 1}"
            ) from None


def _reached_at(options: Options, host: str, port: int, *, tls: bool) -> dict[str, str]:
    if "server_url" in options.settings.model_fields_set:
        return {}
    return {"server_url": f"{'https' if tls else 'http'}://{host}:{port}"}


def _plain_words(url: str) -> Callable[[], None]:
    return lambda: console.print(f"[bold green]Signet serves at {url}[/]  (Ctrl-C stops it)", highlight=False)
