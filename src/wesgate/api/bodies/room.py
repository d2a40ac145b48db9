"""Memory for requests on their way, bounded for all of a process together: slow ones keep it for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wesgate.core.errors import Unavailable

ROOM_BYTES = 256 << 20
FULL = "too many large requests are on their way at once; try again shortly"


class Room:
    """What requests hold together. One that is alone may hold any size: its own limits bound it."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Takes so many bytes more, until the block ends; Unavailable if others hold what there is."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if self._held + size > ROOM_BYTES and self._held > mine:
                raise Unavailable(FULL)
            mine += size
            self._held += size

        try:
            yield take
        finally:
            self._held -= mine


ROOM = Room()
"""That of this process."""
