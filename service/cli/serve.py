"""`signet serve`: run the gateway."""

import contextlib
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text
from signet_client.servers import is_loopback

from service.cli.api import Options, console, fail
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
    demo: Annotated[bool, typer.Option(help="Set up a demonstration first and print lines to paste.")] = False,
) -> None:
    """Serve the models of this home."""
    options: Options = context.obj
    proxies = behind_proxy or [str(network) for network in options.settings.behind_proxy]
    if not is_loopback(host) and not (tls_cert and tls_key) and not proxies:
        raise fail(f"{host} is reachable from outside: give --tls-cert and --tls-key, or --behind-proxy CIDR", 2)
    settings = options.settings.model_copy(update=_reached_at(options.settings, host, port, tls=tls_cert is not None))
    _check_free(host, port)
    import structlog

    from service import logs
    from service.cli.home import prepare

    prepare(settings)
    announce: Callable[[], None] = _plain_words(settings.server_url)
    if demo:
        from service.cli.demo import set_up

        announce = set_up(settings, options)
    logs.configure(settings.environment)
    _run(settings, host, port, tls_cert, tls_key, proxies, announce)
    structlog.get_logger(__name__).info("gateway.stopped")


def _run(
    settings: Settings,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    proxies: list[str],
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
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=10,
    )
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how one stops it
        Server(config).run()


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


def _reached_at(settings: Settings, host: str, port: int, *, tls: bool) -> dict[str, str]:
    """The address that license files will name."""
    if "server_url" in settings.model_fields_set:
        return {}
    if not is_loopback(host) and (not tls or _is_any(host)):  # nobody can be reached there, or not safely
        raise fail("set SIGNET_SERVER_URL to where licensees reach this gateway; it goes into their license files", 2)
    return {"server_url": f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"}


def _is_any(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return not host


def _plain_words(url: str) -> Callable[[], None]:
    words = Text.assemble((f"Signet serves at {url}", "bold green"), "  (Ctrl-C stops it)")
    return lambda: console.print(words, highlight=False, soft_wrap=True)
