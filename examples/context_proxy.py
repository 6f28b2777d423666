"""The proxy in front of an endpoint: here an echo on this machine, to see what it forwards.

    python examples/context_proxy.py

In front of a real one: `serve(ProxySettings("https://api.openai.com", budget=32_000))`, then
OPENAI_BASE_URL=http://127.0.0.1:8788/v1 for the client.
"""

import http.server
import json
import threading

from starlette.testclient import TestClient

from attar.context.proxy import ProxySettings, create_app


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what it was sent."""

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        """Send the body back."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Send one long conversation through the proxy and print what arrived."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = ProxySettings(f"http://127.0.0.1:{server.server_port}", budget=1000)
    messages = [
        {"role": "user", "content": "Pump seven is fine today. " * 300 + "The code is QX-4471."},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "What was the code?"},
    ]
    with TestClient(create_app(settings)) as client:
        response = client.post("/v1/chat/completions", json={"model": "m", "messages": messages})
    arrived = json.loads(response.content)["messages"]
    print({k: v for k, v in response.headers.items() if k.startswith("x-attar")})
    print(f"{len(messages[0]['content'])} characters arrived as {len(arrived[0]['content'])}:")
    print(arrived[0]["content"][-60:])
    server.shutdown()


if __name__ == "__main__":
    main()
