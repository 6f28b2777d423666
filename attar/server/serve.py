"""Running the server: `attar serve DIR…`."""

import ipaddress
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import uvicorn

import attar
from attar.server.app import create_app
from attar.server.settings import Settings
from attar.stores.shards import ShardGroup, local_copy

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


CACHE = Path.home() / ".cache" / "attar" / "stores"


def serve(
    path: Path | str | Sequence[Path | str],
    host: str = "127.0.0.1",
    port: int = 8600,
    *,
    writable: bool = False,
    encoder: str | None = None,
    settings: Settings | None = None,
    cache: Path = CACHE,
) -> None:
    """Serve stores until a signal comes; requests under way are finished first.

    path: folders, or fsspec URLs, which are copied to `cache` first. Several are searched as one
    and only read. Raises ValueError for an address that others can reach while there are no API
    keys.
    """
    settings = settings or Settings()
    if not settings.api_keys and not _is_loopback(host):
        raise ValueError(
            f"A server without keys stays on this machine; {host} is reachable from others. Give "
            "keys, or bind to 127.0.0.1."
        )
    if not settings.api_keys and not settings.hosts:
        settings = replace(settings, hosts=LOOPBACK)
    paths = [path] if isinstance(path, Path | str) else list(path)
    if writable and len(paths) > 1:
        raise ValueError(f"One store can be changed by a server, got {len(paths)}.")
    with ExitStack() as opened:
        stores = [
            opened.enter_context(
                attar.open(_local(one, cache), "w" if writable else "r", encoder=encoder)
            )
            for one in paths
        ]
        store = stores[0] if len(stores) == 1 else ShardGroup(stores)
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


def _local(path: Path | str, cache: Path) -> Path:
    return local_copy(str(path), cache) if "://" in str(path) else Path(path)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
