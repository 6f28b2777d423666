"""A request body in, a request body out, and the headers that tell what was done."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from attar.context.middleware.compaction import BudgetError
from attar.context.middleware.compactor import Compactor, Result
from attar.context.middleware.report import Report
from attar.context.middleware.view import MessageError, Path, dump
from attar.context.proxy.splice import splice


@dataclass(frozen=True)
class Route:
    """Where a format keeps its messages and what surrounds them."""

    messages: str
    system: tuple[str, ...] = ()


ROUTES = {
    "/chat/completions": Route("messages", ("response_format",)),
    "/v1/responses": Route("input", ("instructions", "text")),
    "/v1/messages": Route("messages", ("system",)),
}


def route_of(method: str, path: str) -> Route | None:
    """Return how to read a request, or None for one that passes through."""
    if method != "POST":
        return None
    return next((r for end, r in ROUTES.items() if path.endswith(end)), None)


@dataclass(frozen=True)
class Rewritten:
    """What to send upstream: the body, report headers, and the originals of a conversation."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    originals: Mapping[str, str] = field(default_factory=dict)
    conversation: str = ""
    report: Report | None = None


def rewrite(compactor: Compactor, route: Route, body: bytes, scope: str) -> Rewritten:
    """Compress the conversation in a body; whatever goes wrong, the body passes unchanged.

    Every byte outside the shortened texts is kept. The reason for passing a request unchanged is in
    the header `x-attar-warning`.
    """
    try:
        payload = json.loads(body)
        messages = payload[route.messages]
        if isinstance(messages, str):
            return Rewritten(body)
        around = {k: payload[k] for k in route.system if payload.get(k)}
        system = dump(around) if around else None
        tools = payload.get("tools")
        result = compactor.compress(messages, tools=tools, system=system, scope=scope)
        changed = {} if compactor.shadow else _changed(result, route.messages)
        conversation = _conversation(messages)
        new = splice(body, changed) if changed else body
    except (BudgetError, MessageError) as error:
        return passed(body, str(error))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return passed(body, f"not read ({type(error).__name__})")
    report = result.report
    if report.error is not None:
        return passed(body, report.error)
    headers = (*_headers(report), ("x-attar-conversation", conversation))
    return Rewritten(new, headers, result.originals, conversation, report)


def passed(body: bytes, reason: str) -> Rewritten:
    """Return a body unchanged, with the reason as a header."""
    plain = " ".join(reason.encode("ascii", "replace").decode().split())
    return Rewritten(body, (("x-attar-warning", f"passed through unchanged: {plain}"[:500]),))


def _changed(result: Result, field_name: str) -> dict[Path, str]:
    found: dict[Path, str] = {}
    for change in result.report.changes:
        value: Any = result.messages
        for step in change.path:
            value = value[step]
        found[(field_name, *change.path)] = value
    return found


def _headers(report: Report) -> list[tuple[str, str]]:
    headers = [
        ("x-attar-original-tokens", str(report.original_tokens)),
        ("x-attar-tokens", str(report.tokens)),
        ("x-attar-compression", f"{report.compression:.3f}"),
        ("x-attar-cache-reads", str(report.cache_reads)),
        ("x-attar-cache-writes", str(report.cache_writes)),
        ("x-attar-cache-breaks", str(report.cache_breaks)),
        ("x-attar-compactions", str(report.compactions)),
    ]
    if report.shadow:
        headers.append(("x-attar-shadow", "1"))
    if report.money is not None:
        headers.append(("x-attar-money", f"{report.money:.6f}"))
    if report.original_money is not None:
        headers.append(("x-attar-original-money", f"{report.original_money:.6f}"))
    return headers


def _conversation(messages: Any) -> str:
    """Identify a conversation by how it begins: all up to its first user message."""
    end = next((i for i, m in enumerate(messages) if m.get("role") == "user"), 0)
    return blake2b(dump(messages[: end + 1]).encode("utf-8", "surrogatepass")).hexdigest()[:32]
