"""Where the files of a caller's tasks and runs may be: checked as text at once, and named in service-info.

The worker checks paths again on the disk, with links resolved.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from wesgate.api.dependencies import Context
from wesgate.core.errors import InvalidRequest
from wesgate.core.owner import Caller
from wesgate.core.paths import KEPT, within
from wesgate.core.stores import is_blob, store_for

FETCHED = frozenset({"http", "https"})


def storage(found: Context, who: Caller) -> list[str]:
    """`storage` of service-info: the caller's directories as URLs, and the stores of objects."""
    directories = [f"file://{quote(root)}" for root in _roots(found, who)]
    return [*directories, *(store.url for store in found.stores)]


def check_urls(found: Context, who: Caller, document: Mapping[str, Any]) -> None:
    """InvalidRequest for the first URL of a task document that this service cannot use."""
    roots = _roots(found, who)
    for what in ("inputs", "outputs"):
        for number, file in enumerate(document.get(what, ())):
            if file.get("url") and not file.get("content"):
                _check(found, file["url"], roots, f"{what}.{number}.url", read=what == "inputs")


def check_output_to(found: Context, who: Caller, url: str) -> None:
    """InvalidRequest if the outputs of a run cannot be put below this URL."""
    where, own = "workflow_engine_parameters.output_to", str(found.files / who.owner.directory)
    _check(found, url, _roots(found, who), where, read=False)
    path = unquote(urlsplit(url).path) if "://" in url else url
    if within(path, own) and KEPT.fullmatch(posixpath.relpath(path, own).partition("/")[0]):
        raise InvalidRequest(f"{where} is among the service's own records: choose another directory")


def _roots(found: Context, who: Caller) -> list[str]:
    """The directories that the caller's files may be in: those of the site, and the owner's own."""
    return [*found.roots, str(found.files / who.owner.directory)]


def _check(found: Context, url: str, roots: Sequence[str], where: str, *, read: bool) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidRequest(f"{where} is not a URL") from None
    scheme = parts.scheme.lower()
    if scheme == "file" and not url.lower().startswith("file://"):
        raise InvalidRequest(f"{where}: write file:///path")
    if scheme in ("", "file"):
        _check_path(unquote(parts.path) if scheme else url, parts.netloc, roots, where)
    elif not (store_for(url, found.stores) or is_blob(url) or (read and scheme in FETCHED)):
        known = ", ".join(dict.fromkeys(["file", *(sorted(FETCHED) if read else ()), *_schemes(found)]))
        raise InvalidRequest(
            f"{where} is in no store that this service has; it can use {known} and absolute paths, and service-info "
            "names its stores in storage"
        )


def _check_path(path: str, host: str, roots: Sequence[str], where: str) -> None:
    if host not in ("", "localhost") or not any(within(path, root) for root in roots):
        raise InvalidRequest(f"{where} is under none of the roots that service-info names in storage")


def _schemes(found: Context) -> list[str]:
    return sorted({store.url.partition(":")[0] for store in found.stores})
