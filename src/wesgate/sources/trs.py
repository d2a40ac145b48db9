"""A version of a tool in a registry (GA4GH TRS 2.0), with every document that it lists, so that imports between them
are found: https://ga4gh.github.io/tool-registry-service-schemas/"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wesgate.core.errors import InvalidRequest
from wesgate.sources.attachments import check_names
from wesgate.sources.downloads import Downloads
from wesgate.sources.kinds import Trs
from wesgate.storage.http import FetchFailed
from wesgate.storage.target import redacted

PRIMARY, SECONDARY = "PRIMARY_DESCRIPTOR", "SECONDARY_DESCRIPTOR"
MOST_FILES = 1000
LISTING_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Listed:
    """A document as its registry names it, and its place below the tree."""

    path: str
    place: str
    is_main: bool

    def url(self, source: Trs) -> str:
        """Where its text is."""
        return f"{source.url}/PLAIN_WDL/descriptor/{quote(self.path, safe='')}"


def fetch(source: Trs, folder: Path, downloads: Downloads) -> Listed:
    """Put the documents of a version into `folder`; the main one. Raises `FetchFailed` and
    `InvalidRequest` with sentences."""
    listed = read_listing(downloads.document(f"{source.url}/WDL/files", LISTING_BYTES), source)
    left = downloads.bounds.max_bytes
    for document in listed:
        content = downloads.document(document.url(source))
        left -= len(content)
        if left < 0:
            raise FetchFailed(f"{redacted(source.url)} could not be fetched: its documents are too large together")
        place = folder / document.place
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return next(document for document in listed if document.is_main)


def read_listing(content: bytes, source: Trs) -> list[Listed]:
    """What a registry lists of a version, the main document first."""
    try:
        found = json.loads(content)
        documents = {_path(each): each["file_type"] for each in found if each["file_type"] in (PRIMARY, SECONDARY)}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InvalidRequest("the registry's list of files is not as TRS has it") from error
    if len(documents) > MOST_FILES:
        raise InvalidRequest(f"the registry lists more than {MOST_FILES} documents")
    main = _main(documents, source.path)
    paths = [main, *(path for path in documents if path != main)]
    return [Listed(path, place, path == main) for path, place in zip(paths, places(paths), strict=True)]


def _main(documents: Mapping[str, str], wanted: str) -> str:
    primary = next((path for path, kind in documents.items() if kind == PRIMARY), "")
    # Some registries list paths from the main document's folder, and take whole ones in their URLs.
    main = wanted if wanted in documents else primary
    if not main:
        raise InvalidRequest("the registry does not say which document is the workflow")
    if wanted and main != wanted and not wanted.endswith(f"/{primary}"):
        raise InvalidRequest(f"the registry lists no document {wanted}")
    return main


def places(paths: Sequence[str]) -> list[str]:
    """Where documents go that are named from the main one, some of them from above it: all are moved down as far."""
    flat = [posixpath.normpath(path) for path in paths]
    above = max((path.split("/").count("..") for path in flat), default=0)
    moved = [posixpath.normpath("/".join(["tree"] * above + [path])) for path in flat]
    return ["/".join(parts) for parts in check_names(moved, "a document's path in the registry")]


def _path(entry: Any) -> str:
    path = entry["path"]
    if not isinstance(path, str) or not path.strip("/"):
        raise ValueError
    return path.lstrip("/") if path.startswith("/") else path
