"""What the settings of `[sources]` are for: they hold for the inputs of tasks and of runs alike."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doubles.web import OK, Web, serving
from tests.e2e.service import Service

TES, WES = "/ga4gh/tes/v1/tasks", "/ga4gh/wes/v1/runs"

SIZE = """version 1.0
workflow w {
  input { File file }
  output { Float bytes = size(file) }
}
"""


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as web:
        yield web


def run(service: Service, url: str) -> tuple[Any, str]:
    """A run with this input: its outputs, and what it has to say."""
    run_id = service.submit(SIZE, json.dumps({"w.file": url})).json()["run_id"]
    service.ended(f"{WES}/{run_id}/status")
    ended = service.get(f"{WES}/{run_id}")
    return ended["outputs"], " ".join(ended["run_log"].get("system_logs", ()))


def task(service: Service, url: str) -> tuple[str, str]:
    """A task with this input: its state, and what it has to say."""
    step = {"image": "any", "command": ["true"]}
    made = service.post(TES, json={"executors": [step], "inputs": [{"path": "/data/f", "url": url}]})
    assert made.status_code == 200, made.text
    ended = service.ended(f"{TES}/{made.json()['id']}?view=FULL")
    return ended["state"], " ".join(ended["logs"][-1].get("system_logs", ()))


def silent(_: socket.socket) -> None:
    time.sleep(3)


def test_what_is_not_public_is_refused_with_the_setting_that_allows_it(service: Service, web: Web) -> None:
    service.start()
    state, told = task(service, f"http://{web.host}/f")
    assert state == "SYSTEM_ERROR"
    for words in (told, run(service, f"http://{web.host}/f")[1]):
        assert f"input http://{web.host}/f could not be fetched: it names a host that is not public" in words
        assert "WESGATE_SOURCES__ALLOW_PRIVATE=true" in words
    assert not web.asked


def test_a_site_may_allow_private_hosts_and_bounds_what_comes(service: Service, web: Web) -> None:
    service.start(sources__allow_private="true", sources__fetch_max_gb="1e-8", sources__fetch_timeout_s="1")
    web.replies = [OK % (10, b"x" * 10)] * 2
    assert task(service, f"http://{web.host}/f")[0] == "COMPLETE"
    assert run(service, f"http://{web.host}/f")[0] == {"w.bytes": 10.0}
    web.replies = [OK % (11, b"x" * 11)] * 2
    for words in (task(service, f"http://{web.host}/large")[1], run(service, f"http://{web.host}/large")[1]):
        assert "it is larger than the 10 bytes allowed" in words
    web.replies = [silent] * 2
    for words in (task(service, f"http://{web.host}/slow")[1], run(service, f"http://{web.host}/slow")[1]):
        assert "it took longer than the 1 s allowed" in words
