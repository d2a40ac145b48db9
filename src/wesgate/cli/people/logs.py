"""Printing logs as they grow: two streams, told apart, each read on from where it was left."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import typer

from wesgate.cli.people.client import LOG_WINDOW, WesClient
from wesgate.cli.people.find import find_task
from wesgate.cli.people.replies import Log, Stand, is_over
from wesgate.cli.people.watch import poll
from wesgate.cli.text import clean


@dataclass(frozen=True, slots=True)
class Source:
    """Whose log it is: a task's, or the engine's where no task is named."""

    client: WesClient
    run_id: str
    task: str = ""

    def look(self) -> tuple[Log, bool]:
        """The log as it is now, and whether it has come to its end."""
        run = self.client.run(self.run_id)
        if not self.task:
            return run.log, is_over(run.state)
        log = find_task(self.client.tasks(run), self.task)
        return log, is_over(run.state) or log.stand in (Stand.DONE, Stand.FAILED)


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")


@dataclass(slots=True)
class Reader:
    """How far one stream has been read."""

    name: str
    offset: int = 0
    decoder: codecs.IncrementalDecoder = field(default_factory=_decoder)

    def fresh(self, source: Source, log: Log) -> Iterator[str]:
        """What has been added since the last look."""
        where = log.stdout if self.name == "stdout" else log.stderr
        body = b"whole" if where else b""
        while body:
            body = source.client.log(source.run_id, where, self.offset)
            self.offset += len(body)
            yield self.decoder.decode(body)
            if len(body) < LOG_WINDOW:
                return


def print_logs(source: Source, names: Sequence[str], *, follow: bool, raw: bool) -> None:
    """Print the streams, headed by their names where there are two; with `follow`, until they end."""
    readers = [Reader(name) for name in names]
    heading = ""

    def show(seen: tuple[Log, bool]) -> None:
        nonlocal heading
        for reader in readers:
            for text in reader.fresh(source, seen[0]):
                if text and len(readers) > 1 and heading != reader.name:
                    heading = reader.name
                    typer.echo(f"==> {heading} <==")
                # Not `typer.echo`: into a pipe it would leave colors out, also where they are asked for.
                sys.stdout.write(text if raw else clean(text))
                sys.stdout.flush()

    seen = poll(source.look, lambda seen: seen[1] or not follow, show)
    _remarks(seen[0], readers)


def _remarks(log: Log, readers: Sequence[Reader]) -> None:
    for line in log.system_logs:
        typer.echo(clean(line), err=True)
    for reader in readers:
        where = log.stdout if reader.name == "stdout" else log.stderr
        if reader.offset == 0:
            typer.echo(f"{reader.name}: nothing there" + (f" ({clean(where)})" if where else ""), err=True)


def document(source: Source, names: Sequence[str]) -> dict[str, object]:
    """The streams as `--json` prints them."""
    log, _ = source.look()
    streams = {name: "".join(Reader(name).fresh(source, log)) for name in names}
    return {
        "run_id": source.run_id,
        "task": log.id or log.name or None,
        "system_logs": list(log.system_logs),
        **streams,
    }
