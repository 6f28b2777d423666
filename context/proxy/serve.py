"""The proxy as a server."""

from attar.context.proxy.app import create_app
from attar.context.proxy.settings import ProxySettings


def serve(settings: ProxySettings, host: str = "127.0.0.1", port: int = 8788) -> None:
    """Serve until interrupted. The default address is reachable from this machine only.

    Point clients at it: OPENAI_BASE_URL=http://127.0.0.1:8788/v1, or
    ANTHROPIC_BASE_URL=http://127.0.0.1:8788.
    """
    import uvicorn

    if not 0 <= port < 65536:
        raise ValueError(f"A port is in [0, 65535], got {port}.")
    uvicorn.run(
        create_app(settings),
        host=host,
        port=port,
        server_header=False,
        date_header=False,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
    )
