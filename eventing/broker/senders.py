"""One attempt to deliver one event: to a URL, or to an ASGI app in this very process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from ..wire import STRUCTURED, WireEvent, encode, encode_structured

MAX_ANSWER = 1024 * 1024
"""A longer answer is cut: whatever it is, it is no event of ours."""

App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the subscriber said. `code` None: it could not be asked, or gave no answer in time."""

    code: int | None
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class Writer(Protocol):
    """A subscriber that speaks something else than HTTP, such as a KafkaSink."""

    async def send(self, event: WireEvent) -> Answer: ...


Target = str | App | Writer
"""A subscriber's URL, the ASGI app itself, or who writes to it."""


async def send(
    target: Target, event: WireEvent, client: httpx.AsyncClient, *, structured: bool, reply: bool
) -> Answer:
    """Deliver once, without a time limit of its own. Never raises for what a subscriber does. `reply`: an
    event in the answer is wanted."""
    if not isinstance(target, str) and not callable(target):
        return await target.send(event)
    headers, body = (
        ([("content-type", STRUCTURED)], encode_structured(event)) if structured else encode(event)
    )
    if reply:
        headers.append(("prefer", "reply"))
    if isinstance(target, str):
        return await _over_http(target, headers, body, client)
    return await _in_process(target, headers, body)


async def _over_http(
    url: str, headers: list[tuple[str, str]], body: bytes, client: httpx.AsyncClient
) -> Answer:
    content = bytearray()
    try:
        async with client.stream("POST", url, headers=headers, content=body) as answer:
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > MAX_ANSWER:
                    break
    except Exception as error:  # noqa: BLE001 - an address that is none, an event that no header can carry
        return Answer(None, [], f"{type(error).__name__}: {error}".encode())
    return Answer(answer.status_code, list(answer.headers.multi_items()), bytes(content[:MAX_ANSWER]))


async def _in_process(app: App, headers: list[tuple[str, str]], body: bytes) -> Answer:
    status, content = 500, bytearray()
    answered: list[tuple[str, str]] = []
    unread = [{"type": "http.request", "body": body, "more_body": False}]
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if unread:
            return unread.pop()
        # An app that watches for a sender who hangs up must not see one before it has answered.
        await gone.wait()
        return {"type": "http.disconnect"}

    async def reply(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            answered.extend((n.decode("latin-1"), v.decode("latin-1")) for n, v in message.get("headers", ()))
        else:
            content.extend(message.get("body", b""))
            if not message.get("more_body"):
                gone.set()

    try:
        await app(_scope(headers, len(body)), receive, reply)
    except Exception as error:  # noqa: BLE001 - a subscriber's defect is a failed attempt, not ours
        return Answer(500, [], f"{type(error).__name__}: {error}".encode())
    return Answer(status, answered, bytes(content))


def _scope(headers: list[tuple[str, str]], length: int) -> dict[str, Any]:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [*raw, (b"content-length", str(length).encode())],
        "client": None,
        "server": None,
    }
