"""A run's workflow and inputs, brought into its directory once: a head that is started again works with the same
files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wesgate.core.codec import dump, load
from wesgate.core.errors import InvalidRequest
from wesgate.core.report import WHAT_RAN
from wesgate.core.spec import Input, RunSpec, Store
from wesgate.sources import bundle, kinds
from wesgate.sources.attachments import check_name
from wesgate.sources.downloads import Downloads
from wesgate.sources.kinds import Attachment, Git, Object, Source, Trs, Web, Zip
from wesgate.storage.http import FetchFailed
from wesgate.storage.target import redacted

WORKFLOW, INPUTS = "workflow", "inputs"
"""What may be brought, and the folder of each below `source/`."""

_RECORDS = {WORKFLOW: "source.json", INPUTS: "source-inputs.json"}
_RECORD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Arrived:
    """What was brought. `pinned` is a URL that will name the same again, as far as there is one. `main` is a URL, or a
    path below the run's directory; `tree`, empty for a file of the web, is the folder that no local import leads out
    of. `inputs` are the JSON files that a bundle brings. `digest` and `version` are known once the workflow was
    read, and `words`, those of inputs that the request does not hold, once these were."""

    url: str
    pinned: str
    main: str
    tree: str = ""
    inputs: tuple[str, ...] = ()
    digest: str = ""
    version: str = ""
    words: tuple[str, ...] = ()


def arrive(url: str, source: Source, run: Path, downloads: Downloads, what: str = WORKFLOW) -> Arrived:
    """What this URL, read as `source`, names, in the directory of the run. Raises `FetchFailed`, `InvalidRequest` and
    `TooLarge` with sentences."""
    kept = recorded(run, what)
    if kept is not None and kept.url == url:
        return kept
    arrived = _bring(url, source, run, downloads, what)
    if not isinstance(source, Attachment | Web):  # what these bring is there, or is kept by its URL
        record(run, arrived, what)
    return arrived


def told(arrived: Arrived | None) -> str:
    """What was run, as one line for people; empty until that is known."""
    if arrived is None or not arrived.digest:
        return ""
    return f"{WHAT_RAN}{arrived.pinned}, sha256:{arrived.digest}, WDL {arrived.version}"


def record(run: Path, arrived: Arrived, what: str = WORKFLOW) -> None:
    """Keep what was brought, whole or not at all."""
    part = run / f".{_RECORDS[what]}.{os.getpid()}"
    part.write_text(json.dumps(dump(arrived)), encoding="utf-8")
    part.rename(run / _RECORDS[what])


def recorded(run: Path, what: str = WORKFLOW) -> Arrived | None:
    """What was kept; None if there is nothing, or nothing that can be read."""
    try:
        # Tasks without mounts can write beside this file: a link to elsewhere is not followed.
        with os.fdopen(os.open(run / _RECORDS[what], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            return load(Arrived, json.loads(file.read(_RECORD_BYTES)))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def object_inputs(spec: RunSpec, stores: Sequence[Store]) -> tuple[Input, ...]:
    """What the worker, which alone has the credentials of stores, must bring before `arrive` is called."""
    run, urls = Path(spec.directory), {WORKFLOW: spec.workflow_url, INPUTS: spec.terms.inputs_url}
    wanted = {what: kinds.read(url, stores) for what, url in urls.items() if url}
    places = {what: source.place if isinstance(source, Zip) else source for what, source in wanted.items()}
    return tuple(
        Input(str(_object(run, what)), place.url) for what, place in places.items() if isinstance(place, Object)
    )


def _object(run: Path, what: str) -> Path:
    return run / "source" / f"{what}.object"


def _brought(url: str, run: Path, what: str) -> Path:
    path = _object(run, what)
    if not path.exists():
        raise FetchFailed(f"{redacted(url)} is not here: objects of stores are brought when a run starts, not before")
    return path


def _bring(url: str, source: Source, run: Path, downloads: Downloads, what: str) -> Arrived:
    tree = f"source/{what}"
    match source:
        case Attachment(name):
            return Arrived(url, url, f"attachments/{name}", "attachments")
        case Web(address):
            return Arrived(url, redacted(address), address)
        case Object(address):
            name = _name(address)
            folder = _emptied(run / tree)
            folder.mkdir()
            shutil.copyfile(_brought(address, run, what), folder / name)
            return Arrived(url, redacted(address), f"{tree}/{name}", tree)
        case Zip(place):
            return _unpack(url, place, run, downloads, what)
        case Git():
            return _clone(url, source, run, downloads, what)
        case Trs():
            from wesgate.sources import trs  # as git and zips below: most runs need none of them

            folder = _emptied(run / tree)
            folder.mkdir()
            main = trs.fetch(source, folder, downloads)
            return Arrived(url, main.url(source), f"{tree}/{main.place}", tree)


def _unpack(url: str, place: Attachment | Web | Object, run: Path, downloads: Downloads, what: str) -> Arrived:
    match place:
        case Attachment(name):
            path = run / "attachments" / name
        case Web(address):
            path = downloads.file(address)
        case Object(address):
            path = _brought(address, run, what)
    from wesgate.sources import zips

    folder = _emptied(run / "source" / what)
    folder.mkdir()
    zips.unpack(path, folder, downloads.bounds.max_bytes, downloads.bounds.stop)
    found = bundle.find(folder, zipped=True)
    tree = f"source/{what}"
    inputs = tuple(f"{tree}/{name}" for name in found.inputs)
    return Arrived(url, redacted(url) if "://" in url else url, f"{tree}/{found.main}", tree, inputs)


def _clone(url: str, source: Git, run: Path, downloads: Downloads, what: str) -> Arrived:
    from wesgate.sources import git

    tree = f"source/{what}"
    folder = _emptied(run / tree)
    commit = git.fetch(source, folder, downloads.bounds, downloads.network, downloads.deadline)
    if source.path and not source.path.endswith("/"):
        found = bundle.Contents(source.path)
    else:
        found = bundle.find(folder, source.path, zipped=False)
    if not (folder / found.main).is_file():
        raise InvalidRequest(f"{redacted(source.repository)} has no file {found.main} at {commit}")
    inputs = tuple(f"{tree}/{name}" for name in found.inputs)
    return Arrived(url, source.pinned(commit, found.main), f"{tree}/{found.main}", tree, inputs)


def _emptied(folder: Path) -> Path:
    """A folder that is not there, in one that is: a head that was killed may have left some of it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _name(url: str) -> str:
    # What the object is called in its store; imports of the web are all that it can have, so any name does.
    name = url.partition("?")[0].rstrip("/").rpartition("/")[2]
    try:
        return check_name(name)[-1]
    except InvalidRequest:
        return "main.wdl"
