"""Printing logs as they grow: streams told apart by headings, each read on from where it was left."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import typer

from wesgate.cli.errors import UsageProblem
from wesgate.cli.remote.connection import LOG_WINDOW
from wesgate.cli.remote.waiting import patiently, poll
from wesgate.cli.text import clean

FEW = 2
"""So many empty streams are each told of; of more it is only said if all are empty."""


def chosen(*, stdout: bool, stderr: bool, follow: bool, as_json: bool) -> list[str]:
    """The streams that the options of a `logs` command mean."""
    if follow and as_json:
        raise UsageProblem("--follow prints as it comes and --json prints one document: choose one")
    return [name for name, is_meant in (("stdout", stdout), ("stderr", stderr)) if is_meant] or ["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream at one moment. `fetch` gives at most a window of it from an offset on; `ended` says that nothing more
    will come; `where` is what to tell of its place if nothing is there."""

    name: str
    fetch: Callable[[int], bytes] = field(compare=False)
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


def print_logs(look: Callable[[], Logs], *, follow: bool, raw: bool) -> Logs:
    """Print the streams, headed by their names where there are several; with `follow`, until they end. The last look
    is returned."""
    readers: dict[str, Reader] = {}
    heading = ""

    def show(seen: Logs) -> None:
        nonlocal heading
        several = len(seen.streams) > 1 or len(readers) > 1
        for stream in seen.streams:
            for text in readers.setdefault(stream.name, Reader()).fresh(stream, patient=follow):
                if text and several and heading != stream.name:
                    heading = stream.name
                    typer.echo(f"==> {heading} <==")
                # Not `typer.echo`: into a pipe it would leave colors out, also where they are asked for.
                sys.stdout.write(text if raw else clean(text))
                sys.stdout.flush()

    seen = poll(look, lambda seen: seen.over or not follow, show)
    for line in [*seen.said, *_nothing(seen.streams, readers)]:
        typer.echo(clean(line), err=True)
    return seen


def whole(stream: Stream) -> str:
    """All of a stream, for a document."""
    return "".join(Reader().fresh(stream))


def _nothing(streams: Sequence[Stream], readers: dict[str, Reader]) -> Iterator[str]:
    empty = [stream for stream in streams if readers[stream.name].offset == 0]
    if len(streams) <= FEW:
        for stream in empty:
            yield f"{stream.name}: nothing there" + (f" ({stream.where})" if stream.where else "")
    elif len(empty) == len(streams):
        yield "nothing there"
