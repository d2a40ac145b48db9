"""A URL taken apart into what a client of object stores needs: the kind of store, its bucket, the key, the options.

Pure, for URLs that anybody may have sent: a key never leads out of the store that it was matched with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote

from wesgate.core.spec import Store
from wesgate.core.stores import is_blob, store_for
from wesgate.storage.target import Refused

KINDS = {"s3": "s3", "gs": "gs", "az": "az", "http": "az", "https": "az"}

MAX_KEY_BYTES = 1024  # S3's and Google's; Azure counts as many characters

# What stays of a store's options where a URL brings its own signature.
UNSIGNED = frozenset({"account_name", "endpoint", "allow_http", "proxy_url", "proxy_excludes", "root_certificate"})

_BUCKET = re.compile(r"\$?[A-Za-z0-9][A-Za-z0-9._-]{0,221}")


@dataclass(frozen=True, slots=True)
class Location:
    """An object, or the directory of all those below its key. The options may hold credentials: they are not shown."""

    kind: str
    bucket: str
    key: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


def is_signed(url: str) -> bool:
    """Whether a URL brings a shared access signature of Azure's."""
    return "sig" in parse_qs(_query(url))


def locate(url: str, stores: Iterable[Store]) -> Location:
    """Where the object of a URL is; `Refused` if it cannot be reached."""
    store = store_for(url, stores)
    scheme, _, rest = url.partition("://")
    kind = KINDS.get(scheme.lower(), "")
    if not kind or (store is None and not is_blob(url)):
        raise Refused(f"no store is set for {_shown(scheme)} URLs like it: an operator names one in storage.stores")
    options = dict(store.options) if store else {}
    match scheme.lower():
        case "http" | "https":
            return _blob(url, options)
        case "az":
            return _azure(rest, options)
        case _:
            bucket, _, key = rest.partition("/")
            return Location(kind, _bucket(bucket), _key(key), options)


def _azure(rest: str, options: dict[str, str]) -> Location:
    """`az://container/key` in the account that the options name; `az://account/container/key` is the same, and says the
    account where they do not."""
    first, _, inner = rest.partition("/")
    account = options.setdefault("account_name", first)
    if first == account:
        rest = inner
    container, _, key = rest.partition("/")
    return Location("az", _bucket(container), _key(key), options)


def _blob(url: str, options: dict[str, str]) -> Location:
    scheme, _, rest = url.partition("#")[0].partition("?")[0].partition("://")
    host, _, path = rest.partition("/")
    bare = f"{scheme.lower()}://{host.lower()}/{path}"
    endpoint = options.get("endpoint", "").rstrip("/")
    if not endpoint or not bare.startswith(f"{endpoint}/"):
        endpoint = f"{scheme.lower()}://{host.lower()}"
        options.setdefault("account_name", host.lower().partition(".")[0])
    if is_signed(url):
        options = {name: value for name, value in options.items() if name in UNSIGNED} | {"sas_key": _query(url)}
    options["endpoint"] = endpoint
    container, _, key = bare.removeprefix(f"{endpoint}/").partition("/")
    return Location("az", _bucket(unquote(container)), _key(unquote(key, errors="surrogateescape")), options)


def _bucket(name: str) -> str:
    if not _BUCKET.fullmatch(name):
        raise Refused("it names no bucket" if not name else "its bucket has characters that a name may not have")
    return name


def _key(key: str) -> str:
    """The key without a slash at its end. A part that means another directory would leave the store's own."""
    plain = key.removesuffix("/")
    if any(part in ("", ".", "..") for part in plain.split("/")) and plain:
        raise Refused("its key has an empty part, or one that is . or ..")
    try:
        long = len(plain.encode()) > MAX_KEY_BYTES
    except UnicodeEncodeError as error:
        raise Refused("its key is not UTF-8") from error
    if long or not plain.isprintable():
        raise Refused(f"its key is longer than {MAX_KEY_BYTES} bytes, or has characters that cannot be printed")
    return plain


def _query(url: str) -> str:
    return url.partition("#")[0].partition("?")[2]


def _shown(scheme: str) -> str:
    return f"{scheme.lower()}://" if scheme.lower() in KINDS else "such"
