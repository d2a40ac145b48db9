"""The HTTP that clients for people speak: any server, believed in nothing, every failure one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx

from wesgate.cli.errors import NoSuchRun, ServerProblem, UsageProblem
from wesgate.cli.remote.reading import as_text, error_text
from wesgate.cli.text import one_line

MAX_REPLY = 64 * 1024 * 1024
PAGE_SIZE = 200
MAX_PAGES = 5000
LOG_WINDOW = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Api:
    """Which API a client speaks, where it is on a bare host, and the command that lists the ids of its things."""

    name: str
    path: str
    noun: str
    listing: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole up to a limit; `size` is that of all there is, where the body is a part of it."""

    status: int
    url: str
    content_type: str
    body: bytes
    location: str = ""
    size: int = 0


def base_url(url: str, api: Api) -> str:
    """The base of the API: a bare host gets the standard path, a URL that ends in a version is taken as it is. Where it
    names the sibling API by its standard path, this one is beside it."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageProblem(f"{one_line(url)!r} is no server: --url takes http://HOST:PORT or https://HOST")
    trimmed = parts._replace(query="", fragment="").geturl().rstrip("/")
    if not re.search(r"/v\d+$", trimmed):
        return trimmed + api.path
    return re.sub(r"/ga4gh/(?:wes|tes)(?=/v\d+$)", f"/ga4gh/{api.name.lower()}", trimmed)


class Connection:
    """Speaks to one server. Every failure is a `ServerProblem` or `NoSuchRun` of one line."""

    def __init__(self, url: str, api: Api, token: str = "", timeout_s: float = 30.0) -> None:
        self.api = api
        self.base = base_url(url, api)
        self._token = _checked_token(token)
        self._timeout_s = timeout_s
        try:
            # A proxy of the environment cannot reach this machine's own loopback.
            self._http = httpx.Client(timeout=timeout_s, trust_env=not _is_loopback(self.base))
        except ValueError as error:
            raise UsageProblem(f"the proxy settings of the environment are wrong: {one_line(str(error))}") from error

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def is_here(self) -> bool:
        """Whether the server is on this machine, as far as its address tells."""
        return _is_loopback(self.base)

    def file_roots(self) -> Sequence[str]:
        """The directories of this machine that tasks may read in place: what its TES names as storage.
        Where none says so, a server on this machine is believed to read everything, and another one nothing."""
        if not self.is_here():
            return []
        try:
            info = self.json("GET", url=re.sub(r"/wes(?=/v\d+$)", "/tes", self.base) + "/service-info")
        except (NoSuchRun, ServerProblem):
            info = {}
        storage = info.get("storage")
        if not isinstance(storage, list):
            return ["/"]
        urls = [word for word in storage if isinstance(word, str) and word.startswith("file:///")]
        return [unquote(urlsplit(url).path) for url in urls]

    def quoted(self, row_id: str) -> str:
        """An id as one segment of a path."""
        # `.` and `..` would be folded away in a path, quoted or not.
        if row_id in ("", ".", ".."):
            raise NoSuchRun(f"{row_id!r} is no {self.api.noun} id; `{self.api.listing}` lists them")
        return quote(row_id, safe="")

    def json(self, method: str, path: str = "", *, url: str = "", **options: Any) -> Mapping[str, Any]:
        """The JSON object that the route answers with; an answer that refuses is the problem that it tells of."""
        answer = self._send(method, url or self.base + path, **options)
        if answer.status >= 300:
            self._refuse(answer)
        data = _parse(answer.body)
        if not isinstance(data, dict):
            kind = one_line(answer.content_type, 60) or "no content type"
            cause = f"{answer.url} did not answer as a {self.api.name} server does ({kind})"
            raise ServerProblem(f"{cause}; check --url", status=200)
        return data

    def pages(
        self, path: str, key: str, page_size: int = PAGE_SIZE, query: Sequence[tuple[str, str]] = ()
    ) -> Iterator[Any]:
        """The items of a list, page by page as they are taken."""
        token, seen = "", set[str]()
        while len(seen) < MAX_PAGES:
            more = [("page_size", str(page_size)), *([("page_token", token)] if token else [])]
            data = self.json("GET", path, params=[*query, *more])
            items = data.get(key)
            yield from items if isinstance(items, list) else ()
            token = as_text(data.get("next_page_token"))
            if not token or token in seen:
                return
            seen.add(token)

    def text(self, url: str, offset: int = 0, *, kind: str = "") -> bytes | None:
        """A text from `offset` on (at most a window of it); None if it is not there, or not of this content type."""
        answer = self._text(url, f"bytes={offset}-{offset + LOG_WINDOW - 1}", kind)
        if answer is None or answer.status != 200:
            return None if answer is None else answer.body
        return answer.body[offset:]

    def end_of_text(self, url: str, count: int, *, kind: str = "") -> tuple[bytes, int] | None:
        """The last bytes of a text, and how many it has; None as for `text`."""
        answer = self._text(url, f"bytes=-{count}", kind, keep=count)
        return None if answer is None else (answer.body[-count:], answer.size)

    def _text(self, url: str, wanted: str, kind: str, keep: int = 0) -> Answer | None:
        headers = {"Range": wanted, "Accept": "text/plain, */*"}
        answer = self._send("GET", url, headers=headers, keep=keep, follow_redirects=True)
        if answer.status == 416:
            return replace(answer, body=b"")
        if answer.status in (200, 206):
            return answer if answer.content_type.startswith(kind) else None
        return None if answer.status == 404 else self._refuse(answer)

    @contextmanager
    def opened(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """An answer that is read as it comes; one that refuses is the problem that it tells of."""
        with self._sent("GET", url, headers=headers, follow_redirects=True) as reply:
            if reply.status_code >= 300:
                self._refuse(_answer(reply, url))
            yield reply

    def _send(self, method: str, url: str, *, keep: int = 0, **options: Any) -> Answer:
        with self._sent(method, url, **options) as reply:
            return _answer(reply, url, keep)

    @contextmanager
    def _sent(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Iterator[httpx.Response]:
        sent = {"Accept": "application/json", **(headers or {})}
        if self._token and self.is_ours(url):
            sent["Authorization"] = f"Bearer {self._token}"
        with (
            _told_in_one_line(self.base, self._timeout_s),
            self._http.stream(method, url, headers=sent, **options) as reply,
        ):
            yield reply

    def is_ours(self, url: str) -> bool:
        """Whether a URL is this server's."""
        return _origin(url) == _origin(self.base)

    def _refuse(self, answer: Answer) -> Any:
        said = one_line(error_text(_parse(answer.body)), 500).rstrip(".")
        cause = said or f"HTTP status {answer.status}"
        match answer.status:
            case 401 | 403:
                raise ServerProblem(
                    f"{self.base} refuses: {cause}; give a valid token in WESGATE_TOKEN or with --token",
                    status=answer.status,
                )
            case 404 if self._is_by_id(answer.url):
                check = f"check the id with `{self.api.listing}`, and --url"
                raise NoSuchRun(f"{answer.url} is not there: {cause}; {check}")
            case 404 if re.match(rf"/{self.api.noun}s/", answer.url.removeprefix(self.base)):
                raise ServerProblem(f"{answer.url} is not there: {cause}", status=404)
            case 404:
                raise ServerProblem(f"{answer.url} is not there: {cause}; check --url", status=404)
            case status if 300 <= status < 400:
                raise ServerProblem(f"{self.base} has moved to {one_line(answer.location)}; give that with --url")
            case status:
                raise ServerProblem(
                    f"{self.base} refuses: {cause}",
                    status=status,
                    transient=status == 429 or (status >= 500 and status != 501),
                )

    def _is_by_id(self, url: str) -> bool:
        """Whether this route is missing only where its run or task is: a log or file can be missing by itself."""
        path = url.removeprefix(self.base)
        return re.fullmatch(rf"/{self.api.noun}s/[^/?]+(/status|/cancel|/tasks)?", path) is not None


def _answer(reply: httpx.Response, url: str, keep: int = 0) -> Answer:
    shown = one_line(url, 300)
    body, taken = _bounded(reply.iter_bytes(), shown, keep)
    whole = re.fullmatch(r"bytes .*/(\d{1,18})", reply.headers.get("content-range", ""), re.ASCII)
    return Answer(
        status=reply.status_code,
        url=shown,
        content_type=reply.headers.get("content-type", ""),
        body=body,
        location=reply.headers.get("location", ""),
        size=int(whole.group(1)) if whole else taken,
    )


def _checked_token(token: str) -> str:
    if not all(" " < letter <= "~" for letter in token.strip()):
        raise UsageProblem("the token holds characters that no token has; check WESGATE_TOKEN or --token")
    return token.strip()


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        return parts.scheme, (parts.hostname or "").lower(), port
    except ValueError:
        return "", "", None


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _bounded(chunks: Iterator[bytes], url: str, keep: int) -> tuple[bytes, int]:
    """What came, or (`keep`) the end of it, and how much it was."""
    body = bytearray()
    taken = 0
    for chunk in chunks:
        taken += len(chunk)
        if taken > MAX_REPLY:
            raise ServerProblem(f"{url} sent more than {MAX_REPLY >> 20} MiB; that is more than this client reads")
        body += chunk
        if keep and len(body) > keep + (1 << 20):
            del body[:-keep]
    return bytes(body), taken


@contextmanager
def _told_in_one_line(base: str, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except httpx.ConnectError as error:
        raise ServerProblem(
            f"no server at {base} ({one_line(str(error))}); start one with `wesgate serve`, or name another with --url",
            transient=True,
            unreached=True,
        ) from error
    except httpx.TimeoutException as error:
        raise ServerProblem(f"{base} did not answer within {timeout_s:g} s; try again", transient=True) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
        raise ServerProblem(f"{base} names an address that cannot be: {one_line(str(error))}") from error
    except httpx.HTTPError as error:
        cause = one_line(str(error)) or type(error).__name__
        raise ServerProblem(f"the connection to {base} broke: {cause}; try again", transient=True) from error
