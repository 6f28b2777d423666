"""Running the server: `attar serve DIR`."""

import ipaddress
from dataclasses import replace
from pathlib import Path

import uvicorn

import attar
from attar.server.app import create_app
from attar.server.settings import Settings

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def serve(
    path: Path,
    host: str = "127.0.0.1",
    port: int = 8600,
    *,
    writable: bool = False,
    encoder: str | None = None,
    settings: Settings | None = None,
) -> None:
    """Serve a store until a signal comes; requests under way are finished first.

    Raises ValueError for an address that others can reach while there are no API keys.
    """
    settings = settings or Settings()
    if not settings.api_keys and not _is_loopback(host):
        raise ValueError(
            f"A server without keys stays on this machine; {host} is reachable from others. Give "
            "keys, or bind to 127.0.0.1."
        )
    if not settings.api_keys and not settings.hosts:
        settings = replace(settings, hosts=LOOPBACK)
    with attar.open(path, "w" if writable else "r", encoder=encoder) as store:
        config = uvicorn.Config(
            create_app(store, settings),
            host=host,
            port=port,
            log_level="warning",
            timeout_keep_alive=5,
            timeout_graceful_shutdown=int(settings.timeout) + 1,
            limit_concurrency=1024,
            h11_max_incomplete_event_size=64 << 10,
        )
        uvicorn.Server(config).run()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
