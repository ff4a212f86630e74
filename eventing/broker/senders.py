"""One attempt to deliver one event: to a URL, or to an ASGI app in this very process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from ..wire import WireEvent, encode

App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the subscriber said. `code` None: it could not be asked, or gave no answer in time."""

    code: int | None
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


async def send(target: str | App, event: WireEvent, client: httpx.AsyncClient) -> Answer:
    """Deliver once, without a time limit of its own. Never raises for what a subscriber does."""
    headers, body = encode(event)
    headers.append(("prefer", "reply"))
    if isinstance(target, str):
        return await _over_http(target, headers, body, client)
    return await _in_process(target, headers, body)


async def _over_http(
    url: str, headers: list[tuple[str, str]], body: bytes, client: httpx.AsyncClient
) -> Answer:
    try:
        answer = await client.post(url, headers=headers, content=body)
    except httpx.HTTPError as error:
        return Answer(None, [], f"{type(error).__name__}: {error}".encode())
    return Answer(answer.status_code, list(answer.headers.multi_items()), answer.content)


async def _in_process(app: App, headers: list[tuple[str, str]], body: bytes) -> Answer:
    status, content = 500, bytearray()
    answered: list[tuple[str, str]] = []
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [*raw, (b"content-length", str(len(body)).encode())],
        "client": None,
        "server": None,
    }
    unread = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return unread.pop() if unread else {"type": "http.disconnect"}

    async def reply(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            answered.extend((n.decode("latin-1"), v.decode("latin-1")) for n, v in message.get("headers", ()))
        else:
            content.extend(message.get("body", b""))

    try:
        await app(scope, receive, reply)
    except Exception as error:  # noqa: BLE001 - a subscriber's defect is a failed attempt, not ours
        return Answer(500, [], f"{type(error).__name__}: {error}".encode())
    return Answer(status, answered, bytes(content))
