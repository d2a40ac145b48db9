"""The files that came out of a run, fetched into a directory: taken up where it was left, and verified."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from wesgate.cli.errors import ServerProblem, UsageProblem
from wesgate.cli.people.client import WesClient
from wesgate.cli.people.replies import Output, Run
from wesgate.cli.remote.names import some
from wesgate.cli.remote.options import Hints
from wesgate.cli.remote.waiting import Patience
from wesgate.cli.text import clean, one_line, size

LOOK_S = 0.2
"""How often the line of progress changes."""
LONGEST_NAME = 180
"""So many bytes of a file's name are in that of its part, which has a limit of 255."""
_SHA256 = "sha256:"


def chosen(outputs: Sequence[Output], names: Sequence[str], run: Run, hints: Hints) -> list[Output]:
    """The files of these outputs, named in full, without the workflow's name, or by file; all if none is named."""
    unknown = [name for name in names if not any(_is_named(output, name) for output in outputs)]
    if unknown:
        if any(unknown[0] in (key, key.partition(".")[2]) for key in run.outputs):
            see = hints.command("outputs", run.id, unknown[0])
            raise UsageProblem(f"{one_line(unknown[0])} is no file; see it with `{see}`")
        there = some(list(dict.fromkeys(output.name for output in outputs)), 20) or "none that are files"
        raise UsageProblem(f"the run has no output {one_line(unknown[0])!r}; its outputs are {there}")
    found = [output for output in outputs if not names or any(_is_named(output, name) for name in names)]
    return list({output.path or output.url: output for output in found}.values())


def target(folder: Path, path: str) -> Path:
    """Where a file goes. A path that would lead out of the directory, by itself or by a link, is refused."""
    parts = path.split("/")
    found = folder.joinpath(*parts)
    if not _can_be(path) or any(part in ("", ".", "..") for part in parts):
        raise ServerProblem(f"the server names an output {one_line(path)!r}, which would leave {folder}: not fetched")
    if not found.parent.resolve().is_relative_to(folder.resolve()):
        raise ServerProblem(f"{one_line(path)!r} would leave {folder} by a link that is in it: remove the link")
    return found


class Download:
    """Fetches files of one run into a directory."""

    def __init__(self, client: WesClient, run_id: str, folder: Path) -> None:
        self._client = client
        self._run_id = run_id
        self._folder = folder

    def fetch(self, outputs: Sequence[Output], tell: Callable[[Path], None]) -> list[Path]:
        """Fetch them all, each told of when it is there; where they are. What is there already is left."""
        places = [(output, target(self._folder, output.path)) for output in outputs]
        for number, (output, place) in enumerate(places, 1):
            try:
                if not _is_there(output, place):
                    place.parent.mkdir(parents=True, exist_ok=True)
                    self._fetch(output, place, f"file {number} of {len(places)}")
            except OSError as error:
                raise UsageProblem(f"{clean(str(place))} cannot be written: {error.strerror}") from error
            tell(place)
        return [place for _, place in places]

    def _fetch(self, output: Output, place: Path, which: str) -> None:
        # The name holds the digest: what another file left behind is not taken up.
        mark = output.digest.removeprefix(_SHA256)[:16] if output.digest.startswith(_SHA256) else "unverified"
        name = os.fsdecode(os.fsencode(place.name)[:LONGEST_NAME])
        part = place.with_name(f".{name}.{mark}.part")
        if mark == "unverified":
            part.unlink(missing_ok=True)
        progress = Progress(f"{one_line(place.name, 60)} ({which})", output.size)
        try:
            self._persist(output, part, progress)
        finally:
            progress.close()
        if not _has_digest(output, part):
            part.unlink()
            raise ServerProblem(f"what came for {one_line(output.path)} is not what its digest says; fetch it again")
        part.rename(place)

    def _persist(self, output: Output, part: Path, progress: Progress) -> None:
        """Go on after every break of the connection that is followed by some progress, or a server that is back."""
        patience, had = Patience(), 0
        while True:
            try:
                return self._continue(output, part, progress)
            except ServerProblem as problem:
                if _size(part) > had:
                    patience.renew()
                had = _size(part)
                patience.bear(problem)

    def _continue(self, output: Output, part: Path, progress: Progress) -> None:
        have = _size(part)
        if output.size is not None and have >= output.size > 0:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with (
            os.fdopen(os.open(part, flags, 0o666), "wb") as file,
            self._client.output(self._run_id, output, have) as (begin, chunks),
        ):
            file.truncate(begin)
            file.seek(begin)
            for chunk in chunks:
                file.write(chunk)
                progress.show(file.tell())


class Progress:
    """A line on the terminal that tells how far a file has come; nothing where stderr is none."""

    def __init__(self, name: str, whole: int | None) -> None:
        self._name = name
        self._whole = f" of {size(whole)}" if whole is not None else ""
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def show(self, count: int) -> None:
        """So many bytes are there."""
        if self._shown and time.monotonic() - self._last > LOOK_S:
            self._last = time.monotonic()
            typer.echo(f"\r\x1b[K{self._name}  {size(count)}{self._whole}", err=True, nl=False)

    def close(self) -> None:
        """Leave the line empty."""
        if self._shown and self._last:
            typer.echo("\r\x1b[K", err=True, nl=False)


def _can_be(path: str) -> bool:
    """Whether a file can have this name: half a surrogate pair, which JSON can hold, cannot be written."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _is_named(output: Output, name: str) -> bool:
    names = {output.name, output.name.partition(".")[2], output.path, output.path.rpartition("/")[2]}
    return name in names - {""}


def _is_there(output: Output, place: Path) -> bool:
    """Whether this very file is there; UsageProblem if another one is."""
    if not place.exists() and not place.is_symlink():
        return False
    same_size = output.size is None or _size(place) == output.size
    if place.is_file() and not place.is_symlink() and same_size and _has_digest(output, place, unsure=False):
        return True
    raise UsageProblem(f"{clean(str(place))} is there and is another file: move it, or choose another directory")


def _has_digest(output: Output, path: Path, *, unsure: bool = True) -> bool:
    """Whether the file is what the server told of; `unsure` where it told no digest that is known here."""
    if output.size is not None and _size(path) != output.size:
        return False
    if not output.digest.startswith(_SHA256):
        return unsure
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == output.digest.removeprefix(_SHA256).lower()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
