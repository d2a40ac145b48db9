"""The run's way to TES: every call is repeated for as long as the API may be restarting."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import urllib3

TASKS = "/ga4gh/tes/v1/tasks"
EVENTS = "/ga4gh/tes/v1/events"
CACHED = "/ga4gh/wes/v1/runs/{}/cached-calls"
PATIENCE_S = 600.0  # an API that is being upgraded may be away for minutes; a run is not failed by it
SILENCE_S = 25.0  # the stream says something every 10 s

Document = dict[str, Any]
T = TypeVar("T")


class Refused(Exception):
    """TES will not do it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"TES answered {status}: {message}")
        self.status = status


class Unreachable(Exception):
    """TES gave no usable answer for as long as a caller could wait."""


def never() -> bool:
    return False


class TesClient:
    """Safe to use from many threads. Creating is safe to repeat, because each create carries its own key. `addresses`
    is asked before every call: a service that was restarted may be somewhere else. All are tried, first the one that
    answered last."""

    def __init__(self, addresses: Callable[[], Sequence[str]], token: str, patience_s: float = PATIENCE_S) -> None:
        self._addresses = addresses
        self._answered = ""
        self._headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        self._patience_s = patience_s
        timeout = urllib3.Timeout(connect=5, read=60)
        self._pool = urllib3.PoolManager(maxsize=16, block=True, retries=False, timeout=timeout)

    def create(self, task: Document, key: str, stop: Callable[[], bool] = never) -> str:
        """The new task's id; the same key and task give the same id."""
        headers = {"content-type": "application/json", "idempotency-key": key}
        answer = self._call("POST", TASKS, json.dumps(task).encode(), headers, self._patience_s, stop)
        return str(answer["id"])

    def tell_cached(
        self, run_id: str, calls: Sequence[Mapping[str, str]], patience_s: float, stop: Callable[[], bool] = never
    ) -> None:
        """Tell the run of calls that were answered from the call cache."""
        headers = {"content-type": "application/json"}
        self._call("POST", CACHED.format(run_id), json.dumps({"calls": calls}).encode(), headers, patience_s, stop)

    def get(
        self, task_id: str, view: str, patience_s: float = PATIENCE_S, stop: Callable[[], bool] = never
    ) -> Document:
        return self._call("GET", f"{_task(task_id)}?{urlencode({'view': view})}", patience_s=patience_s, stop=stop)

    def cancel(self, task_id: str, patience_s: float = 30.0) -> None:
        self._call("POST", f"{_task(task_id)}:cancel", b"{}", {"content-type": "application/json"}, patience_s)

    def tagged(self, tag: str, value: str, view: str, patience_s: float = PATIENCE_S) -> Iterator[Document]:
        """All tasks that carry this tag, page by page."""
        query = {"tag_key": tag, "tag_value": value, "view": view, "page_size": "1000"}
        while True:
            page = self._call("GET", f"{TASKS}?{urlencode(query)}", patience_s=patience_s)
            yield from page.get("tasks") or []
            if not (token := page.get("next_page_token")):
                return
            query["page_token"] = token

    def events(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What TES tells of this run's tasks, as (event, data); a keep-alive is ("", {}). Ends with the stream."""
        timeout = urllib3.Timeout(connect=5, read=SILENCE_S)
        headers = {**self._headers, "accept": "text/event-stream"}
        answer = self._of_any(
            lambda url: self._pool.request(
                "GET", url + EVENTS, headers=headers, preload_content=False, timeout=timeout, redirect=False
            )
        )
        with closing(answer):
            if answer.status != 200:
                raise Refused(answer.status, "there is no stream of events")
            yield from parse_events(answer.stream(65536))

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        patience_s: float = PATIENCE_S,
        stop: Callable[[], bool] = never,
    ) -> Document:
        def ask(url: str) -> Document:
            answer = self._pool.request(
                method, url + path, body=body, headers={**self._headers, **(headers or {})}, redirect=False
            )
            return read_answer(answer.status, answer.data)

        deadline = time.monotonic() + patience_s
        for pause in _pauses():
            try:
                return self._of_any(ask)
            except (urllib3.exceptions.HTTPError, OSError, Unreachable) as error:
                if time.monotonic() + pause > deadline or stop():
                    raise Unreachable(f"TES did not answer for {patience_s:g} s: {error}") from error
            _sleep(pause, stop)
        raise AssertionError("pauses never end")

    def _of_any(self, ask: Callable[[str], T]) -> T:
        """What the first address answers that can. A refusal counts once no other address does it: what was left by a
        process that was killed may lead to a stranger."""
        refused: Refused | None = None
        failed: Exception = Unreachable("no process says that it serves the API")
        for url in sorted(self._addresses(), key=lambda url: url != self._answered):
            try:
                answer = ask(url)
            except Refused as error:
                refused = refused or error
            except (urllib3.exceptions.HTTPError, OSError, Unreachable) as error:
                failed = Unreachable(f"{url}: {error}")
            else:
                self._answered = url
                return answer
        raise refused or failed


def read_answer(status: int, content: bytes) -> Document:
    """A reply's JSON object; `Unreachable` if another try may do better, else `Refused`."""
    if status in (408, 425, 429) or status >= 500:
        raise Unreachable(f"it answered {status}")
    try:
        data = json.loads(content or b"{}")
    except ValueError as error:
        raise Unreachable(f"it answered {status} and something that is not JSON") from error
    if not 200 <= status < 300:
        raise Refused(status, _message(data))
    if not isinstance(data, dict):
        raise Unreachable("it answered with something that is not a JSON object")
    return data


def parse_events(chunks: Iterator[bytes]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Server-sent events (WHATWG HTML, section 9.2) as (event, data); a comment alone is ("", {})."""
    buffer, event, data = b"", "", ""
    for chunk in chunks:
        *lines, buffer = (buffer + chunk).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8", "replace").rstrip("\r")
            name, _, value = line.partition(":")
            if line == "":
                if event or data:
                    yield event or "message", _object(data)
                event, data = "", ""
            elif name == "":
                yield "", {}
            elif name == "event":
                event = value.strip()
            elif name == "data":
                data += value.strip()


def _object(text: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text or "{}")
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _task(task_id: str) -> str:
    return f"{TASKS}/{quote(task_id, safe='')}"


def _message(data: object) -> str:
    if isinstance(data, dict):
        return str(data.get("msg") or data.get("detail") or data.get("message") or "no reason was given")
    return "no reason was given"


def _pauses() -> Iterator[float]:
    pause = 0.1
    while True:
        yield pause * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, guards nothing
        pause = min(pause * 2, 15.0)


def _sleep(seconds: float, stop: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stop():
        time.sleep(min(left, 0.5))
