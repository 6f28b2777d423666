"""A proxy in front of any endpoint that keeps conversations within a budget."""

from attar.context.proxy.app import caller as caller
from attar.context.proxy.app import caller_from as caller_from
from attar.context.proxy.app import create_app as create_app
from attar.context.proxy.serve import serve as serve
from attar.context.proxy.settings import ProxySettings as ProxySettings
from attar.context.proxy.splice import splice as splice
