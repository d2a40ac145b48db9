"""A log as a client that follows it has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import UUID

from wesgate.api.events import Events
from wesgate.api.following import Growing, Look, followed


class Followed:
    """`text` is what came, `at` the id of the last event; `ended` says that the log was said to be over."""

    def __init__(self, events: Events, row_id: UUID, look: Look, growing: Growing) -> None:
        self.text, self.at, self.ended = "", "", False
        self._events: AsyncIterator[bytes] = followed(events, row_id, look, growing)

    async def until(self, text: str) -> None:
        async with asyncio.timeout(20):
            while text not in self.text:
                self._take(await anext(self._events))

    async def to_the_end(self) -> str:
        async with asyncio.timeout(20):
            async for event in self._events:
                self._take(event)
        return self.text

    async def close(self) -> None:
        await self._events.aclose()  # type: ignore[attr-defined]

    def _take(self, event: bytes) -> None:
        lines = dict(line.split(": ", 1) for line in event.decode().strip().split("\n") if ": " in line)
        self.ended = lines.get("event") == "end"
        if "id" in lines:
            self.text, self.at = self.text + json.loads(lines["data"]), lines["id"]
