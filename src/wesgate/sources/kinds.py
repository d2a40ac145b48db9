"""What a workflow_url names, read from its text alone: an attachment, a file of the web, a zip bundle, a git
repository, a tool of a TRS registry, or an object."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote, unquote, urlsplit

from wesgate.core.errors import InvalidRequest
from wesgate.core.paths import is_url
from wesgate.core.spec import Store
from wesgate.core.stores import store_for
from wesgate.sources.attachments import check_name

OBJECTS = ("s3", "gs", "az")

_PLAIN = re.compile(r"[\x21-\x7e]+")
_GIT = re.compile(r"(?P<repository>https?://[^/?#]+/[^?#@]+?\.git)(?:@(?P<ref>[^?#]*))?(?:#(?P<path>.*))?")
_GIT_PLUS = re.compile(r"git\+(?P<repository>https?://[^/?#]+/[^?#@]+)(?:@(?P<ref>[^?#]*))?(?:#(?P<path>.*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# A narrower rule than git's own (git-check-ref-format): nothing that a program could take for an option.
_REF = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)|[./]$|/\.))[A-Za-z0-9_][A-Za-z0-9._/@+-]{0,199}")
_TRS = re.compile(
    r"(?P<api>https?://[^/?#]+(?:/[^?#]*?)?/ga4gh/trs/v2)/tools/(?P<tool>[^/?#]+)/versions/(?P<version>[^/?#]+)"
    r"(?:/(?:PLAIN_)?WDL/descriptor(?:/(?P<path>[^?#]+))?)?"
)
# https://docs.dockstore.org: its API, the registry's too, is below /api.
_TRS_APIS = {"dockstore.org": "https://dockstore.org/api/ga4gh/trs/v2"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that was sent along."""

    name: str


@dataclass(frozen=True, slots=True)
class Web:
    """A file by http(s)."""

    url: str


@dataclass(frozen=True, slots=True)
class Object:
    """An object in a store that the site has configured."""

    url: str


@dataclass(frozen=True, slots=True)
class Zip:
    """A bundle with all that the workflow needs."""

    place: Attachment | Web | Object


@dataclass(frozen=True, slots=True)
class Git:
    """A file of a repository, or, where `path` is empty or ends in a slash, a folder whose main file is to be found.
    `ref` is a branch, a tag or a whole commit."""

    repository: str
    ref: str = "HEAD"
    path: str = ""

    @property
    def is_commit(self) -> bool:
        return _COMMIT.fullmatch(self.ref) is not None

    def pinned(self, commit: str, path: str) -> str:
        """The URL of a file at a commit: read again, it names the same."""
        named = self.repository if _GIT.fullmatch(self.repository) else f"git+{self.repository}"
        return f"{named}@{commit}#{path}"


@dataclass(frozen=True, slots=True)
class Trs:
    """A version of a tool in a registry; `path` is its main file, empty for the one that the registry says."""

    api: str
    tool: str
    version: str
    path: str = ""

    @property
    def url(self) -> str:
        """Where the registry tells about this version."""
        return f"{self.api}/tools/{quote(self.tool, safe='')}/versions/{quote(self.version, safe='')}"


Source: TypeAlias = Attachment | Web | Object | Zip | Git | Trs


def read(url: str, stores: Iterable[Store] = (), what: str = "workflow_url") -> Source:
    """What this names, or InvalidRequest. `what` is said of it in the sentence."""
    if not is_url(url):
        return _zipped(Attachment("/".join(check_name(url, what))), url)
    known = list(stores)
    scheme = url.partition(":")[0].lower()
    if scheme in OBJECTS or store_for(url, known):
        return _object(url, known, what)
    if scheme not in ("http", "https", "git+http", "git+https", "trs"):
        raise InvalidRequest(
            f"{what} must be an http(s), git+https, trs, s3, gs or az URL, or the relative name of an attachment"
        )
    _refuse_odd(url, what)
    return _read_trs(url, what) if scheme == "trs" else _read_web(url, what)


def host_url(source: Source) -> str:
    """The URL whose host will be asked; empty for what needs no host that the URL names."""
    match source:
        case Web():
            return source.url
        case Git():
            return source.repository
        case Trs():
            return source.api
        case Zip():
            return host_url(source.place)
        case Attachment() | Object():
            return ""


def check_file(source: Source, what: str) -> None:
    """InvalidRequest for what is, or may be, more than one file."""
    several = isinstance(source, Git | Trs) and (not source.path or source.path.endswith("/"))
    if several or isinstance(source, Zip):
        raise InvalidRequest(f"{what} must name one file")


def names(source: Source) -> list[str]:
    """The names by which a list of what is allowed can mean this: URLs, or the repository without its `.git`."""
    match source:
        case Git():
            return [source.repository.removesuffix(".git")]
        case Trs():
            host = urlsplit(source.api).netloc
            own = source.api == _trs_api(host)
            short = f"trs://{host}/{quote(source.tool, safe='')}/{quote(source.version, safe='')}"
            return [source.url, *([short] if own else [])]
        case Web() | Object():
            return [source.url]
        case Zip():
            return names(source.place)
        case Attachment():
            return []


def _object(url: str, stores: list[Store], what: str) -> Source:
    if store_for(url, stores) is None:
        raise InvalidRequest(f"{what} is in no store that is set here: an operator names its store in storage.stores")
    return _zipped(Object(url), url)


def _zipped(place: Attachment | Web | Object, url: str) -> Source:
    path = url if isinstance(place, Attachment) else urlsplit(url).path
    return Zip(place) if path.lower().endswith(".zip") else place


def _read_web(url: str, what: str) -> Source:
    # The scheme may be in any case, and so may the host; what follows may not.
    scheme, _, rest = url.partition("://")
    url = f"{scheme.lower()}://{rest}"
    if found := _TRS.fullmatch(url):
        return _trs(found["api"], found["tool"], found["version"], found["path"] or "", what)
    if found := _GIT.fullmatch(url) or _GIT_PLUS.fullmatch(url):
        ref = "HEAD" if found["ref"] is None else unquote(found["ref"])
        return _git(found["repository"], ref, unquote(found["path"] or ""), what)
    if url.startswith("git+"):
        raise InvalidRequest(f"{what} must be as git+https://HOST/REPOSITORY@REF#PATH")
    parts = urlsplit(url)
    forge = _FORGES.get(parts.hostname or "")
    found_there = forge(parts.path, what) if forge and not parts.query else None
    return found_there or _zipped(Web(url), url)


def _read_trs(url: str, what: str) -> Source:
    host, *parts = url[len("trs://") :].split("/", 3)
    if len(parts) < 2 or not all(parts[:2]):
        raise InvalidRequest(f"{what} must be as trs://HOST/ID/VERSION/PATH, with the id percent-encoded")
    return _trs(_trs_api(host), parts[0], parts[1], parts[2] if len(parts) > 2 else "", what)


def _trs_api(host: str) -> str:
    return _TRS_APIS.get(host.lower(), f"https://{host}/ga4gh/trs/v2")


def _trs(api: str, tool: str, version: str, path: str, what: str) -> Trs:
    main = "/".join(check_name(unquote(path).lstrip("/"), what)) if path else ""
    return Trs(api, unquote(tool), unquote(version), main)


def _git(repository: str, ref: str, path: str, what: str) -> Git:
    if not _REF.fullmatch(ref):
        raise InvalidRequest(f"{what} names no branch, tag or commit after '@'")
    folder = path.rstrip("/")
    checked = "/".join(check_name(folder, f"the path of {what}")) if folder else ""
    return Git(repository.rstrip("/"), ref, f"{checked}/" if path.endswith("/") and checked else checked)


def _github(path: str, what: str) -> Git | None:
    match path.strip("/").split("/"):
        case [owner, name]:
            return _git(_at_github(owner, name), "HEAD", "", what)
        case [owner, name, "blob" | "raw", *rest] if len(rest) > 1:
            return _git(_at_github(owner, name), *_split(rest), what)
        case [owner, name, "tree", *rest] if rest:
            ref, inner = _split(rest)
            return _git(_at_github(owner, name), ref, f"{inner}/", what)
        case _:
            return None


def _github_raw(path: str, what: str) -> Git | None:
    match path.strip("/").split("/"):
        case [owner, name, *rest] if len(rest) > 1:
            return _git(_at_github(owner, name), *_split(rest), what)
        case _:
            return None


def _at_github(owner: str, name: str) -> str:
    return f"https://github.com/{owner}/{name.removesuffix('.git')}.git"


def _split(parts: list[str]) -> tuple[str, str]:
    """The ref and the path. A branch with slashes can only be told by its whole name, `refs/heads/…`, of one part."""
    size = 3 if parts[0] == "refs" else 1
    return unquote("/".join(parts[:size])), unquote("/".join(parts[size:]))


_FORGES: dict[str, Callable[[str, str], Git | None]] = {
    "github.com": _github,
    "www.github.com": _github,
    "raw.githubusercontent.com": _github_raw,
}


def _refuse_odd(url: str, what: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InvalidRequest(f"{what} is not a URL") from None
    if not _PLAIN.fullmatch(url) or "\\" in url:
        raise InvalidRequest(f"{what} has characters that a URL may not have")
    if not parts.hostname or "@" in parts.netloc:
        raise InvalidRequest(f"{what} must name a host, and no user")
    if any(part in (".", "..") for part in unquote(parts.path).split("/")):
        raise InvalidRequest(f"{what} has '.' or '..' in its path")
