"""Which configured store a URL belongs to, and whether it names a blob of Azure; the URLs may be anybody's."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wesgate.core.spec import Store

# https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-endpoints
_BLOB = re.compile(
    r"https://([a-z0-9-]+)(\.blob\.core\.(windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)"
    r"|\.z[0-9]+\.blob\.storage\.azure\.net)(/.*)?",
    re.DOTALL,
)


def store_for(url: str, stores: Iterable[Store]) -> Store | None:
    """The store whose URL is the longest that this one begins with, part by part; None if there is none."""
    asked = _plain(url)
    found = (store for store in stores if _begins(asked, _plain(store.url)))
    return max(found, key=lambda store: len(store.url), default=None)


def is_blob(url: str) -> bool:
    """Whether this is an https URL of Azure's blob storage, with nothing but a name where its host is."""
    return _BLOB.fullmatch(_plain(url)) is not None


def _plain(url: str) -> str:
    """The URL with its scheme in lower case; of one of the web also the host, and nothing after the path."""
    scheme, separator, rest = url.partition("://")
    if scheme.lower() not in ("http", "https"):
        return f"{scheme.lower()}{separator}{rest}"  # buckets of old may be told apart by case alone
    host, slash, path = rest.partition("#")[0].partition("?")[0].partition("/")
    return f"{scheme.lower()}{separator}{host.lower()}{slash}{path}"


def _begins(url: str, start: str) -> bool:
    # A store of `s3://` has every bucket; any other ends where a part of the path does.
    return bool(start) and (url == start.rstrip("/") or url.startswith(start if start.endswith("/") else f"{start}/"))
