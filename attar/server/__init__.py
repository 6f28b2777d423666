"""A store over HTTP: `attar serve DIR`, or `create_app(store)` inside another ASGI server."""

from attar.server.app import create_app as create_app
from attar.server.serve import serve as serve
from attar.server.settings import Settings as Settings
