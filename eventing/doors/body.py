"""A request's body on its way to the app: counted, timed, and refused when it is too much."""

from __future__ import annotations

import asyncio
from typing import Any

from .refusal import Message, Receive, Refused, Send, too_large, too_slow
from .watch import Watch


class Exchange:
    """The two channels of one request. Once the guard has answered, the app below sees its sender gone, and
    what it still sends goes nowhere. `status` is the app's, 0 before it answers."""

    __slots__ = (
        "_late",
        "_left",
        "_most",
        "_reader",
        "_receive",
        "_send",
        "_watch",
        "_whole",
        "deadline",
        "refused",
        "status",
    )

    def __init__(self, receive: Receive, send: Send, most: int, watch: Watch) -> None:
        self._receive, self._send, self._watch = receive, send, watch
        self._left = self._most = most
        self._late = self._whole = self.refused = False
        self._reader: asyncio.Task[Any] | None = None
        self.deadline = 0.0
        self.status = 0

    async def receive(self) -> Message:
        """The app's next message; a disconnect once the guard has refused the rest."""
        if self.refused:
            return {"type": "http.disconnect"}
        try:
            return await self.next()
        except Refused as refused:
            await self._refuse(refused)
            return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.refused:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def next(self) -> Message:
        """One message. Raises Refused for a body that is too large (413) or too slow (408)."""
        if self._whole:
            return await self._receive()
        message = await self._in_time()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise too_large(self._most)
            if not message.get("more_body", False):
                self._whole = True
                self._watch.remove(self)
        return message

    async def whole(self) -> bytes | None:
        """The body, read to its end; None when its sender went away. Raises Refused."""
        body = bytearray()
        while True:
            message = await self.next()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if self._whole:
                return bytes(body)

    def again(self, body: bytes) -> Receive:
        """The channel for an app behind one who has already read the body."""
        told = False

        async def receive() -> Message:
            nonlocal told
            if told:
                return await self.receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        return receive

    def run_out(self) -> None:
        """The time for the body is over; whoever waits for it is woken."""
        self._late = True
        if self._reader:
            self._reader.cancel()

    def done(self) -> None:
        """The request is over, whether or not its body was read."""
        if not self._whole:
            self._watch.remove(self)

    async def _in_time(self) -> Message:
        if self._late:
            raise too_slow(self._watch.seconds)
        if not self.deadline:
            self._watch.add(self)
        self._reader = reader = asyncio.current_task()
        try:
            return await self._receive()
        except asyncio.CancelledError:
            # Somebody else's cancellation stays one, as in asyncio.timeout.
            if not self._late or reader is None or reader.uncancel() > 0:
                raise
            raise too_slow(self._watch.seconds) from None
        finally:
            self._reader = None

    async def _refuse(self, refused: Refused) -> None:
        self.refused = True
        # Where the answer has begun, cutting it short is all that can be said.
        if not self.status:
            await refused.answer(self._send)
