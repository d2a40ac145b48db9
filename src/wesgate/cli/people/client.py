"""A small WES client for people: any server, 1.0 or 1.1, believed in nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx

from wesgate.cli.errors import NoSuchRun, ServerProblem, UsageProblem
from wesgate.cli.people.replies import Log, Run, as_object, as_text, error_text, read_log, read_run, read_step
from wesgate.cli.text import one_line

API = "/ga4gh/wes/v1"
MAX_REPLY = 64 * 1024 * 1024
PAGE_SIZE = 200
MAX_PAGES = 5000
LOG_WINDOW = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole up to a limit."""

    status: int
    url: str
    content_type: str
    body: bytes
    location: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a submit and the files that go with it, by the names they get on the server."""

    fields: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, Path], ...] = ()


def base_url(url: str) -> str:
    """The base of the API: a bare host gets the standard path, a URL that ends in a version is taken as it is."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageProblem(f"{one_line(url)!r} is no server: --url takes http://HOST:PORT or https://HOST")
    trimmed = parts._replace(query="", fragment="").geturl().rstrip("/")
    return trimmed if re.search(r"/v\d+$", trimmed) else trimmed + API


def log_place(base: str, run_id: str, where: str) -> str | None:
    """The URL at which a log can be fetched; None if `where` is the text itself or lies elsewhere."""
    if re.match(r"https?://\S+$", where):
        return where
    if re.match(r"\.{0,2}/(?!/)\S*$", where):
        return urljoin(f"{base}/runs/{quote(run_id, safe='')}", where)
    return None


class WesClient:
    """Speaks to one server. Every failure is a `ServerProblem` or `NoSuchRun` of one line."""

    def __init__(self, url: str, token: str = "", timeout_s: float = 30.0) -> None:
        self.base = base_url(url)
        self._token = _checked_token(token)
        self._timeout_s = timeout_s
        self._has_tasks = True
        try:
            # A proxy of the environment cannot reach this machine's own loopback.
            self._http = httpx.Client(timeout=timeout_s, trust_env=not _is_loopback(self.base))
        except ValueError as error:
            raise UsageProblem(f"the proxy settings of the environment are wrong: {one_line(str(error))}") from error

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def service_info(self) -> Mapping[str, Any]:
        """What the server says about itself."""
        return self._json("GET", "/service-info")

    def file_roots(self) -> Sequence[str]:
        """The directories of this machine that runs may read in place: what a TES beside this WES names as storage.
        Where none says so, a server on this machine is believed to read everything, and another one nothing."""
        if not _is_loopback(self.base):
            return []
        try:
            info = self._json("GET", "/service-info", base=re.sub(r"/wes(?=/v\d+$)", "/tes", self.base))
        except (NoSuchRun, ServerProblem):
            info = {}
        storage = info.get("storage")
        if not isinstance(storage, list):
            return ["/"]
        urls = [word for word in storage if isinstance(word, str) and word.startswith("file:///")]
        return [unquote(urlsplit(url).path) for url in urls]

    def submit(self, form: Form) -> str:
        """Submit a run; its id."""
        with ExitStack() as stack:
            parts: list[tuple[str, Any]] = [(name, (None, value)) for name, value in form.fields]
            for name, path in form.files:
                file = stack.enter_context(path.open("rb"))
                parts.append(("workflow_attachment", (name, file, "application/octet-stream")))
            run_id = as_text(self._json("POST", "/runs", files=parts).get("run_id"))
        if not run_id:
            raise ServerProblem(f"{self.base} accepted the run without telling its id; look for it with `wesgate ls`")
        return run_id

    def state(self, run_id: str) -> str:
        """The state of a run, from the cheapest route."""
        return read_run(self._json("GET", _run_path(run_id, "/status")), run_id).state

    def run(self, run_id: str) -> Run:
        """The run log."""
        return read_run(self._json("GET", _run_path(run_id)), run_id)

    def cancel(self, run_id: str) -> None:
        """Ask for the run to be canceled."""
        self._json("POST", _run_path(run_id, "/cancel"))

    def runs(self, page_size: int = PAGE_SIZE) -> Iterator[Run]:
        """All runs, in the server's order, page by page as they are taken."""
        for item in self._pages("/runs", "runs", page_size):
            yield read_run(as_object(item))

    def tasks(self, run: Run) -> tuple[Log, ...]:
        """The tasks of a run; a 1.0 server has them in the run log only."""
        if not self._has_tasks:
            return run.tasks
        try:
            return tuple(read_log(item) for item in self._pages(_run_path(run.id, "/tasks"), "task_logs"))
        except (NoSuchRun, ServerProblem) as error:
            if isinstance(error, ServerProblem) and error.transient:
                raise
            self._has_tasks = False
            return run.tasks

    def step(self, task: Log) -> str:
        """How far the TES task behind a task log is; empty if this server does not tell."""
        if not task.tes_uri or not self._is_ours(task.tes_uri):
            return ""
        try:
            return read_step(self._document(self._send("GET", task.tes_uri, params={"view": "BASIC"})))
        except (NoSuchRun, ServerProblem):
            return ""

    def log(self, run_id: str, where: str, offset: int = 0, last: int = 0) -> bytes:
        """A log from `offset` on (at most a window of it), or its `last` bytes; empty if there is none yet."""
        url = log_place(self.base, run_id, where)
        if url is None:
            return _part(where.encode("utf-8", "replace"), offset, last)
        wanted = f"bytes=-{last}" if last else f"bytes={offset}-{offset + LOG_WINDOW - 1}"
        headers = {"Range": wanted, "Accept": "text/plain, */*"}
        answer = self._send("GET", url, headers=headers, keep=last, follow_redirects=True)
        if answer.status == 206:
            return answer.body
        if answer.status == 200:
            return _part(answer.body, offset, last)
        return b"" if answer.status in (404, 416) else self._refuse(answer)

    def _pages(self, path: str, key: str, page_size: int = PAGE_SIZE) -> Iterator[Any]:
        token, seen = "", set[str]()
        while len(seen) < MAX_PAGES:
            query: dict[str, str | int] = {"page_size": page_size} | ({"page_token": token} if token else {})
            data = self._json("GET", path, params=query)
            items = data.get(key)
            yield from items if isinstance(items, list) else ()
            token = as_text(data.get("next_page_token"))
            if not token or token in seen:
                return
            seen.add(token)

    def _json(self, method: str, path: str, *, base: str = "", **options: Any) -> Mapping[str, Any]:
        return self._document(self._send(method, (base or self.base) + path, **options))

    def _document(self, answer: Answer) -> Mapping[str, Any]:
        if answer.status >= 300:
            self._refuse(answer)
        data = _parse(answer.body)
        if not isinstance(data, dict):
            kind = one_line(answer.content_type, 60) or "no content type"
            raise ServerProblem(f"{answer.url} did not answer as a WES server does ({kind}); check --url", status=200)
        return data

    def _send(self, method: str, url: str, *, keep: int = 0, **options: Any) -> Answer:
        headers = {"Accept": "application/json"} | options.pop("headers", {})
        if self._token and self._is_ours(url):
            headers["Authorization"] = f"Bearer {self._token}"
        with (
            _told_in_one_line(self.base, self._timeout_s),
            self._http.stream(method, url, headers=headers, **options) as reply,
        ):
            return Answer(
                status=reply.status_code,
                url=one_line(url, 300),
                content_type=reply.headers.get("content-type", ""),
                body=_bounded(reply.iter_bytes(), one_line(url, 300), keep),
                location=reply.headers.get("location", ""),
            )

    def _refuse(self, answer: Answer) -> Any:
        said = one_line(error_text(_parse(answer.body)), 500)
        cause = said or f"HTTP status {answer.status}"
        match answer.status:
            case 401 | 403:
                raise ServerProblem(
                    f"{self.base} refuses: {cause}; give a valid token in WESGATE_TOKEN or with --token",
                    status=answer.status,
                )
            case 404:
                raise NoSuchRun(f"{answer.url} is not there: {cause}; check the id with `wesgate ls`, and --url")
            case status if 300 <= status < 400:
                raise ServerProblem(f"{self.base} has moved to {one_line(answer.location)}; give that with --url")
            case status:
                raise ServerProblem(
                    f"{self.base} refuses: {cause}",
                    status=status,
                    transient=status == 429 or (status >= 500 and status != 501),
                )

    def _is_ours(self, url: str) -> bool:
        return _origin(url) == _origin(self.base)


def _run_path(run_id: str, rest: str = "") -> str:
    # `.` and `..` would be folded away in a path, quoted or not.
    if run_id in ("", ".", ".."):
        raise NoSuchRun(f"{run_id!r} is no run id; `wesgate ls` lists them")
    return f"/runs/{quote(run_id, safe='')}{rest}"


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


def _part(body: bytes, offset: int, last: int) -> bytes:
    return body[-last:] if last else body[offset:]


def _bounded(chunks: Iterator[bytes], url: str, keep: int) -> bytes:
    body = bytearray()
    taken = 0
    for chunk in chunks:
        taken += len(chunk)
        if taken > MAX_REPLY:
            raise ServerProblem(f"{url} sent more than {MAX_REPLY >> 20} MiB; that is more than this client reads")
        body += chunk
        if keep and len(body) > keep + (1 << 20):
            del body[:-keep]
    return bytes(body)


@contextmanager
def _told_in_one_line(base: str, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except httpx.ConnectError as error:
        raise ServerProblem(
            f"no server at {base} ({one_line(str(error))}); start one with `wesgate serve`, or name another with --url",
            transient=True,
        ) from error
    except httpx.TimeoutException as error:
        raise ServerProblem(f"{base} did not answer within {timeout_s:g} s; try again", transient=True) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
        raise ServerProblem(f"{base} names an address that cannot be: {one_line(str(error))}") from error
    except httpx.HTTPError as error:
        cause = one_line(str(error)) or type(error).__name__
        raise ServerProblem(f"the connection to {base} broke: {cause}; try again", transient=True) from error
