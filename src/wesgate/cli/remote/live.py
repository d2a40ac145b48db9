"""Following logs by server-sent events, several at a time: what is written is told at once, and asked for once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

from wesgate.cli.errors import ServerProblem
from wesgate.cli.remote.connection import Connection
from wesgate.cli.remote.waiting import Patience

MAX_EVENT = 16 * 1024 * 1024
END = "end"


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event. https://html.spec.whatwg.org/multipage/server-sent-events.html"""

    name: str = ""
    id: str = ""
    data: str = ""


def follow_text(server: Connection, url: str) -> Iterator[str]:
    """The text that the events of a URL hold, until the server says that it has ended. After a break of the connection
    it goes on where it broke."""
    last, patience = "", Patience()
    while True:
        try:
            for event in _events(server, url, last):
                patience.renew()
                if event.name == END:
                    return
                last = event.id or last
                yield _text(event.data)
            # A server that stops ends its streams without a word.
            raise ServerProblem(f"{server.base} ended the log before its end", transient=True)
        except ServerProblem as problem:
            patience.bear(problem)


def together(sources: Mapping[str, Callable[[], Iterator[str]]]) -> Iterator[tuple[str, str]]:
    """The texts of several sources as they come, each with its source's name. A failure of one ends it."""
    arrived: SimpleQueue[tuple[str, str | BaseException | None]] = SimpleQueue()

    def read(name: str, source: Callable[[], Iterator[str]]) -> None:
        try:
            for text in source():
                arrived.put((name, text))
            arrived.put((name, None))
        except BaseException as error:
            arrived.put((name, error))

    for name, source in sources.items():
        threading.Thread(target=read, args=(name, source), daemon=True).start()
    left = len(sources)
    while left:
        name, item = arrived.get()
        if isinstance(item, BaseException):
            raise item
        if item is None:
            left -= 1
        else:
            yield name, item


def read_events(chunks: Iterator[bytes]) -> Iterator[Event]:
    """The events of a stream, as far as they are whole."""
    waiting = b""
    for chunk in chunks:
        *blocks, waiting = (waiting + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
        yield from map(_event, blocks)
        if len(waiting) > MAX_EVENT:
            raise ServerProblem(f"the server sent an event of more than {MAX_EVENT >> 20} MiB; ask without --follow")


def _events(server: Connection, url: str, last: str) -> Iterator[Event]:
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
    with server.opened(url, headers) as reply:
        if not reply.headers.get("content-type", "").startswith("text/event-stream"):
            raise ServerProblem(f"{server.base} does not tell of a log as it grows; ask without --follow")
        yield from read_events(reply.iter_bytes())


def _event(block: bytes) -> Event:
    fields: dict[str, list[str]] = {}
    for line in block.decode("utf-8", "replace").split("\n"):
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.removeprefix(" "))
    last = {name: values[-1] for name, values in fields.items()}
    return Event(last.get("event", ""), last.get("id", ""), "\n".join(fields.get("data", [])))


def _text(data: str) -> str:
    try:
        told = json.loads(data) if data else ""
    except (ValueError, RecursionError):
        return ""
    return told if isinstance(told, str) else ""
