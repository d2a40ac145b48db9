"""The call cache of a run: what earlier runs of the same owner finished need not be done again."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import WDL
from WDL._util import StructuredLogMessage
from WDL.runtime import cache
from WDL.runtime.cache import CallCache, CallCacheAddPaths

from wesgate.core.paths import CACHE_ENTRIES
from wesgate.engines.miniwdl.head.images import Images
from wesgate.engines.miniwdl.head.inputs import Bindings

TASK_ID = "task-id"
"""The file in a call's directory that names the TES task which did its work."""

_CAME_ALONG = ("attachments", "source")
_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_RUN = re.compile(r"/run-([0-9a-f]{32})/")

# No name of a host, and miniwdl does not ask after the age of what is fetched.
_SENT = "https://sent-along.invalid/"


@dataclass(frozen=True, slots=True)
class Hit:
    """A call that was answered from the cache: the directory of its own, its name, and, as far as it is known, the task
    that did the work, and the run (32 hex) that this was done for."""

    directory: str
    name: str
    task_id: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Reuse:
    """What the cache of one head works with; `told` hears of every hit."""

    run: Path
    told: Callable[[Hit], None]
    images: Images


class RunCache(CallCache):
    """miniwdl's cache of calls, for runs that each have a directory of their own: files that came along with a run are
    known by their content. Only tasks are answered, never a whole workflow, so that each can be shown."""

    reuse: ClassVar[Reuse | None] = None

    def get(self, key: str, inputs: Bindings, output_types: WDL.Env.Bindings[WDL.Type.Base]) -> Bindings | None:
        assert self.reuse is not None
        call = _current.call
        if call is None:
            return None
        own = self._sent(key, inputs)
        found = super().get(*own, output_types)
        if found is None or not self._holds_everywhere(own[0]):
            return None
        entry = Path(self._call_cache_dir) / f"{own[0]}.json"
        hit = _hit(call, entry)
        if not entry.exists():  # removed just now: the files are next, and would not wait for a hit that names no run
            return None
        self._entry_add_paths[key] = CallCacheAddPaths()
        self.reuse.told(hit)
        return found

    def put(
        self,
        key: str,
        outputs: Bindings,
        run_dir: str | None = None,
        *,
        inputs: Bindings,
        add_paths: CallCacheAddPaths,
    ) -> None:
        if _current.call is not None:
            own = self._sent(key, inputs)[0]
            self._note(own)
            super().put(own, outputs, run_dir, inputs=inputs, add_paths=add_paths)
        self._entry_add_paths[key] = add_paths.copy()

    def _note(self, key: str) -> None:
        """Write down that the run makes this entry, so that it can be removed with the run. Before it is made: what is
        killed in between leaves a name too many, not an entry."""
        assert self.reuse is not None
        with (self.reuse.run / CACHE_ENTRIES).open("a", encoding="utf-8") as names:
            names.write(f"{key}\n")

    def _sent(self, key: str, inputs: Bindings) -> tuple[str, Bindings]:
        """The key, which tells images apart, too, and the inputs with what was sent along named by its content. Neither
        knows of cores, memory or retries: who resumes with more of them is to find what was done with less."""
        assert self.reuse is not None
        run = self.reuse.run
        named = WDL.Value.rewrite_env_paths(inputs, lambda value: _by_content(str(value.value), run))
        name, code, _ = key.split("/")
        told = f"{code}\0{self.reuse.images.decisive(code, inputs)}"
        return cache.call_cache_key(name, hashlib.sha256(told.encode()).hexdigest()[:32], named), named

    def _holds_everywhere(self, key: str) -> bool:
        """Whether the entry depends on nothing besides its inputs. What a task of WDL 1.2 read beside its document
        has, in a run's own directory, the path of that run."""
        paths = self._entry_add_paths[key]
        return not paths.add_paths and not paths.absent_paths


@contextmanager
def calls_known() -> Iterator[None]:
    """For the block, a cache that is asked knows which call asks."""
    listener, logger = _Listener(), logging.getLogger("wdl")
    logger.addHandler(listener)
    cache._backends["wesgate"] = RunCache  # its entry point would serve every other miniwdl of this installation
    try:
        yield
    finally:
        logger.removeHandler(listener)


class _Current(threading.local):
    call: Hit | None = None


_current = _Current()


class _Listener(logging.Handler):
    """miniwdl asks its cache without saying for which call; but it logs that just before, on the same thread."""

    def emit(self, record: logging.LogRecord) -> None:
        if not isinstance(record.msg, StructuredLogMessage):
            return
        told: dict[str, Any] = record.msg.kwargs
        if record.msg.message == "task setup":
            _current.call = Hit(told["dir"], told["name"])
        elif record.msg.message == "workflow start":
            _current.call = None


def _hit(call: Hit, entry: Path) -> Hit:
    with suppress(OSError, ValueError, TypeError, LookupError):
        directory = json.loads(entry.read_bytes())["dir"]
        run = _RUN.search(directory)
        return Hit(call.directory, call.name, _task_id(Path(directory)), run[1] if run else "")
    return call


def _task_id(directory: Path) -> str:
    """The task that worked in a call's directory, where tasks without mounts can write what they like."""
    path = directory / TASK_ID
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8") as file:
        found = file.read(65)
    return found if _ID.fullmatch(found) else ""


def _by_content(path: str, run: Path) -> str:
    for folder in _CAME_ALONG:
        top = os.path.realpath(run / folder)
        real = Path(os.path.realpath(path))
        if real.is_relative_to(top):
            return f"{_SENT}{_digest(real)}/{folder}/{real.relative_to(top)}"
    return path


def _digest(path: Path) -> str:
    if path.is_dir():
        below = sorted(each for each in path.rglob("*") if each.is_file())
        lines = "".join(f"{each.relative_to(path)}\0{_digest(each)}\n" for each in below)
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
    known = path.stat()
    return _digest_of_file(path, known.st_size, known.st_mtime_ns)


@functools.lru_cache(4096)
def _digest_of_file(path: Path, _size: int, _mtime_ns: int) -> str:
    # A scatter asks for the same file again and again.
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
