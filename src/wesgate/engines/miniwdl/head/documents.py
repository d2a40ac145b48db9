"""A run's documents, and the inputs that it says come from elsewhere: brought, read, bounded, and told by a digest."""

from __future__ import annotations

import hashlib
import os
import posixpath
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import WDL

from wesgate.core.errors import InvalidRequest, TooLarge
from wesgate.core.spec import Fetching, Store
from wesgate.engines.miniwdl.head import bounds
from wesgate.ga4gh import strict
from wesgate.sources import allowed, arrive, kinds
from wesgate.sources.arrive import Arrived
from wesgate.sources.downloads import DOCUMENT_BYTES, Downloads
from wesgate.storage.connections import Network
from wesgate.storage.http import FetchFailed
from wesgate.storage.patience import Bounds

INPUTS_BYTES = 16 * 1024 * 1024

_WEB = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Sources:
    """What a run's URLs are read with. `run` is its directory; `stop` is asked often."""

    run: Path
    fetching: Fetching
    stores: tuple[Store, ...]
    stop: Callable[[], bool]

    def tree(self) -> Downloads:
        """What brings one tree of files: all that comes by it shares the time that begins now."""
        patience = Bounds(self.fetching.tree_bytes, self.fetching.tree_timeout_s, self.stop)
        deadline = time.monotonic() + patience.timeout_s
        return Downloads(self.run / "source" / "web", patience, Network(self.fetching.allow_private), deadline)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A document with all that it imports, and what it came with."""

    document: WDL.Tree.Document
    arrived: Arrived


def load_workflow(url: str, sources: Sources) -> Workflow:
    """Bring what a `workflow_url` names into the run's directory, if it is not there yet, and read it. What it is is
    kept in `source.json`. `WDL.Error.InputError`, or what miniwdl says of a document, with a sentence otherwise."""
    downloads = sources.tree()
    with _explained("the workflow"):
        source = kinds.read(url, sources.stores)
        allowed.check(source, sources.fetching.allowed)
        brought = arrive.arrive(url, source, sources.run, downloads)
    reader = _Reader(sources.run, downloads, brought)
    with bounds.reading():
        document = WDL.load(reader.main, read_source=bounds.counted(reader.read))
    digest = digest_of(reader.digests, posixpath.dirname(reader.main))
    arrived = replace(brought, digest=digest, version=document.effective_wdl_version)
    arrive.record(sources.run, arrived)
    with _explained("the workflow"):
        allowed.check_digest(source, digest, sources.fetching.allowed)
    return Workflow(document, arrived)


def load_inputs(workflow: Arrived, url: str, params: Mapping[str, Any], sources: Sources) -> dict[str, Any]:
    """The inputs of a run: those of its bundle, over these the ones that `url` names, if any, over these its own."""
    with _explained("the inputs"):
        found = _bundled(workflow, sources.run)
        if url:
            source, downloads = kinds.read(url, sources.stores, "inputs_url"), sources.tree()
            kinds.check_file(source, "inputs_url")
            brought = arrive.arrive(url, source, sources.run, downloads, arrive.INPUTS)
            if brought.tree:
                content = _bounded(sources.run / brought.main, INPUTS_BYTES)
            else:
                content = downloads.document(brought.main, INPUTS_BYTES)
            found |= _json(content, "inputs_url")
    return found | dict(params)


def _bundled(workflow: Arrived, run: Path) -> dict[str, Any]:
    if sum((run / name).stat().st_size for name in workflow.inputs) > INPUTS_BYTES:
        raise TooLarge(f"those of the bundle are larger than {INPUTS_BYTES >> 20} MiB together")
    found: dict[str, Any] = {}
    for name in workflow.inputs:
        found |= _json(_bounded(run / name, INPUTS_BYTES), name)
    return found


def trees(workflow: Arrived, run: Path) -> tuple[Path, ...]:
    """Where a relative path of an input may lead besides the attachments: to what came with the workflow, or with its
    inputs."""
    inputs = arrive.recorded(run, arrive.INPUTS)
    folders = [each.tree for each in (workflow, inputs) if each is not None]
    return tuple(run / folder for folder in folders if folder and folder != "attachments")


def digest_of(digests: Mapping[str, str], folder: str) -> str:
    """What tells this workflow from others: of one document its SHA-256, of several that of the sorted lines
    `NAME DIGEST`, with names as seen from the main document's folder."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = sorted(f"{_seen_from(folder, name)} {digest}\n" for name, digest in digests.items())
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _seen_from(folder: str, name: str) -> str:
    if name.startswith(_WEB):
        return name.removeprefix(f"{folder}/")
    return posixpath.relpath(name, folder) if folder.startswith("/") else name


@dataclass(frozen=True, slots=True)
class _Reader:
    """How miniwdl reads documents: local ones from the tree that the workflow came with, others by http(s)."""

    run: Path
    downloads: Downloads
    arrived: Arrived
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def main(self) -> str:
        return str(self.run / self.arrived.main) if self.arrived.tree else self.arrived.main

    async def read(self, uri: str, _path: list[str], importer: WDL.Tree.Document | None) -> WDL.Tree.ReadSourceResult:
        base = importer.pos.abspath if importer else ""
        shown = _short(uri if importer else self.arrived.pinned)  # the main document's is a path of this machine
        url = urljoin(base, uri) if base.startswith(_WEB) else uri
        if url.startswith(_WEB):
            with _explained("it" if importer else "the workflow"):
                content, name = self.downloads.document(url), url
        elif base.startswith(_WEB):
            raise WDL.Error.InputError(f"{shown} is not an http or https URL")
        else:
            found = self._find(uri, base, shown)
            content, name = _bounded(found), str(found)
        self.digests[name] = hashlib.sha256(content).hexdigest()
        text = _text(content, shown)
        return WDL.Tree.ReadSourceResult(source_text=text, abspath=name)

    def _find(self, uri: str, base: str, shown: str) -> Path:
        """A file of the tree. What lies outside is not looked at, so that nothing can be learned of it."""
        top = self.run / self.arrived.tree
        places = _places(uri, base, top) if base else [Path(self.main)]
        inside = [path for path in places if path.is_relative_to(top)]
        found = next((path for path in inside if os.path.lexists(path)), inside[0] if inside else None)
        if found is None or not found.resolve().is_relative_to(top.resolve()):
            raise self._outside(shown)
        if not os.path.isfile(found):  # noqa: PTH113  # Path.is_file raises for a name that is too long
            what = "the import" if base else "the workflow"
            raise WDL.Error.InputError(f"{what} {shown} was not found: {self._missing}")
        return found

    @property
    def _missing(self) -> str:
        return "there is no such attachment" if self.arrived.tree == "attachments" else "it is not in what was fetched"

    def _outside(self, shown: str) -> WDL.Error.InputError:
        place = "the attachments of the run" if self.arrived.tree == "attachments" else "what the workflow came with"
        return WDL.Error.InputError(f"{shown} is outside {place}")


def _places(uri: str, base: str, top: Path) -> list[Path]:
    """Where an import may be: beside the document that imports it, or below the top. None for what is no such path."""
    if uri.startswith("/") or "://" in uri or not uri.isprintable():
        return []
    return [Path(posixpath.normpath(posixpath.join(folder, uri))) for folder in (posixpath.dirname(base), top)]


def _bounded(path: Path, limit: int = DOCUMENT_BYTES) -> bytes:
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise WDL.Error.InputError(f"{path.name} is larger than {limit >> 20} MiB")
    return content


def _text(content: bytes, name: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise WDL.Error.InputError(f"{name} is not UTF-8 text") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _json(content: bytes, name: str) -> dict[str, Any]:
    found = strict.parse(content, name)
    if not isinstance(found, dict):
        raise InvalidRequest(f"{name} is not a JSON object of inputs")
    return found


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (FetchFailed, InvalidRequest, TooLarge) as error:
        raise WDL.Error.InputError(f"{what} cannot be read: {error}") from error
