"""Printing logs as they grow: streams told apart by headings, each read on from where it was left."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import typer

from wesgate.cli.errors import UsageProblem
from wesgate.cli.remote.connection import LOG_WINDOW
from wesgate.cli.remote.live import together
from wesgate.cli.remote.waiting import patiently, poll
from wesgate.cli.text import clean

FIRST_REACH = 8 * 1024
"""So many bytes are asked for first, where the last lines are wanted."""

FEW = 2
"""Of so many streams, each is told of if all are empty; of more it is only said that they are."""


def chosen(*, stdout: bool, stderr: bool, follow: bool, as_json: bool) -> list[str]:
    """The streams that the options of a `logs` command mean."""
    if follow and as_json:
        raise UsageProblem("--follow prints as it comes and --json prints one document: choose one")
    return [name for name, is_meant in (("stdout", stdout), ("stderr", stderr)) if is_meant] or ["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream at one moment. `fetch` gives at most a window of it from an offset on, `end` its last bytes and how
    many it has; `ended` says that nothing more will come; `where` is what to tell of its place if nothing is there."""

    name: str
    fetch: Callable[[int], bytes] = field(compare=False)
    end: Callable[[int], tuple[bytes, int]] = field(compare=False)
    ended: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True)
class Logs:
    """All streams at one moment, whether they have all come to their end, and what the server says besides."""

    streams: tuple[Stream, ...]
    over: bool
    said: tuple[str, ...] = ()


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")


@dataclass(slots=True)
class Reader:
    """How far one stream has been read."""

    offset: int = 0
    ended: bool = False
    decoder: codecs.IncrementalDecoder = field(default_factory=_decoder)

    def fresh(self, stream: Stream, *, patient: bool = False) -> Iterator[str]:
        """What has been added since the last look; a `patient` reader waits while the server is away."""
        while not self.ended:
            body = patiently(lambda: stream.fetch(self.offset)) if patient else stream.fetch(self.offset)
            self.offset += len(body)
            yield self.decoder.decode(body)
            if len(body) < LOG_WINDOW:
                break
        self.ended = stream.ended

    def last(self, stream: Stream, lines: int) -> str:
        """The last lines, as far back as a window of it goes; it is read on after them."""
        body, self.offset = last_lines(stream.end, lines)
        self.ended = stream.ended
        return self.decoder.decode(body)


def last_lines(end: Callable[[int], tuple[bytes, int]], lines: int) -> tuple[bytes, int]:
    """The last lines of a text whose end can be had, and how many bytes the text has."""
    count = FIRST_REACH
    while True:
        body, size = end(count)
        before = body.removesuffix(b"\n").rsplit(b"\n", lines)
        if len(before) > lines:
            return body[len(before[0]) + 1 :], size
        if len(body) >= size or count >= LOG_WINDOW:
            return body, size
        count *= 8


class Printer:
    """Prints pieces of streams, headed by the stream's name whenever another one goes on, if there are several."""

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self._heading = ""

    def show(self, name: str, text: str, *, several: bool) -> None:
        """Print a piece."""
        if text and several and self._heading != name:
            self._heading = name
            typer.echo(f"==> {name} <==")
        # Not `typer.echo`: into a pipe it would leave colors out, also where they are asked for.
        sys.stdout.write(text if self._raw else clean(text))
        sys.stdout.flush()


def print_logs(look: Callable[[], Logs], *, follow: bool, raw: bool, tail: int | None = None) -> Logs:
    """Print the streams; with `follow`, until they end. With `tail`, begin with so many last lines of those that are
    there now. The last look is returned."""
    readers: dict[str, Reader] = {}
    printer = Printer(raw=raw)

    def show(seen: Logs) -> None:
        begins = not readers
        several = len(seen.streams) > 1 or len(readers) > 1
        for stream in seen.streams:
            reader = readers.setdefault(stream.name, Reader())
            texts = reader.fresh(stream, patient=follow)
            for text in texts if tail is None or not begins else [reader.last(stream, tail)]:
                printer.show(stream.name, text, several=several)

    seen = poll(look, lambda seen: seen.over or not follow, show)
    _tell_rest(seen, {name for name, reader in readers.items() if reader.offset})
    return seen


def print_live(sources: Mapping[str, Callable[[], Iterator[str]]], look: Callable[[], Logs], *, raw: bool) -> None:
    """Print what comes of these streams until they end."""
    printer, filled = Printer(raw=raw), set()
    for name, text in together(sources):
        printer.show(name, text, several=len(sources) > 1)
        if text:
            filled.add(name)
    _tell_rest(patiently(look), filled)


def whole(stream: Stream, tail: int | None = None) -> str:
    """All of a stream, or its last lines, for a document."""
    return "".join(Reader().fresh(stream)) if tail is None else Reader().last(stream, tail)


def _tell_rest(seen: Logs, filled: Collection[str]) -> None:
    """What the server says besides, and that nothing came if none did."""
    for line in [*seen.said, *_nothing([stream for stream in seen.streams if stream.name not in filled], seen)]:
        typer.echo(clean(line), err=True)


def _nothing(empty: Sequence[Stream], seen: Logs) -> Iterator[str]:
    if len(empty) < len(seen.streams):
        return  # most programs write to one of their streams only
    if len(empty) > FEW:
        yield "nothing there"
        return
    for stream in empty:
        yield f"{stream.name}: nothing there" + (f" ({stream.where})" if stream.where else "")
