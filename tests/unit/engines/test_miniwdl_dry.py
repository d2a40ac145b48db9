"""Dry runs: what they tell of a workflow, and that hostile ones cost no more than they may; real runs say the same."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import WDL

from tests.doubles.endless import serving_without_end
from tests.doubles.pages import serving_files
from tests.doubles.site import Site, failed
from tests.doubles.tes import TesDouble
from tests.doubles.web import OK, read_head, secured, serving, trusted
from tests.doubles.workflows import HELLO, READ
from wesgate.core.backend import QueuedTask
from wesgate.core.errors import Unavailable
from wesgate.core.report import StepLog, TaskReport
from wesgate.core.spec import Fetching
from wesgate.core.states import State
from wesgate.engines.miniwdl import dry
from wesgate.engines.miniwdl.dry import DryRuns
from wesgate.engines.miniwdl.head.bounds import (
    ALL_CPU_S,
    MEMORY_BYTES,
    MOST_BYTES,
    MOST_DOCUMENTS,
    TOO_MUCH,
    TooMuch,
    counted,
)
from wesgate.engines.miniwdl.head.inputs import MOST_FAULTS
from wesgate.engines.miniwdl.verdict import Verdict, conclude

DEEP = "version 1.0\nworkflow w {\n" + "if (true) {\n" * 300 + "}\n" * 301
LONG = "version 1.0\n" + "".join(f"task t{n} {{ command {{ }} }}\n" for n in range(300_000))
FOREVER = """version 1.0
import "a.wdl" as a
import "a.wdl" as b
import "a.wdl" as c
import "a.wdl" as d
import "a.wdl" as e
import "a.wdl" as f
import "a.wdl" as g
workflow w {}
"""


BUSY = """
from wesgate.engines.miniwdl.head import bounds
bounds.CPU_S = 0
with bounds.reading():
    while True: pass
"""


async def look(site: Site, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What a dry run of this tells."""
    spec = site.spec(*args, **kwargs)
    Path(spec.directory).mkdir(parents=True, exist_ok=True)
    return await DryRuns(site.settings, site.root, os.environ)(spec)


def messages(found: Mapping[str, Any]) -> list[str]:
    assert not found["valid"]
    return [error["message"] for error in found["errors"]]


async def test_a_dry_run_tells_what_a_workflow_needs(site: Site) -> None:
    source = "version 1.1\nworkflow w { input { Array[File]+ reads  Int depth = 2 + 3  String? note } }"
    found = await look(site, source)
    assert found["valid"]
    assert found["workflow_type_version"] == "1.1"
    assert found["inputs"] == [
        {"name": "w.reads", "type": "Array[File]+", "optional": False},
        {"name": "w.depth", "type": "Int", "optional": True, "default": "2 + 3"},
        {"name": "w.note", "type": "String?", "optional": True},
    ]


NEEDS = "version 1.0\nworkflow w { input { File reads  Int depth  Array[Int] sizes  String name } }"


async def test_all_that_is_wrong_with_the_inputs_is_told_at_once(site: Site) -> None:
    params = {"w.reads": "no.bam", "w.depth": "deep", "w.colour": "red", "w.sizes": [1]}
    told = messages(await look(site, NEEDS, params))
    assert told[0] == "input file not found: no.bam"
    assert "w.depth" in told[1]
    assert told[2:] == ["unknown input/output: w.colour", "missing required inputs: w.name"]
    run = failed(await site.run(NEEDS, params), State.EXECUTOR_ERROR)
    assert all(sentence in run for sentence in told)


async def test_only_the_first_of_very_many_faults_are_told(site: Site) -> None:
    told = messages(await look(site, NEEDS, {f"w.x{number}": 0 for number in range(50)}))
    assert len(told) == MOST_FAULTS + 1
    assert told[-1] == "and maybe more: these are the first"


async def test_a_dry_run_tells_the_digest_of_the_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(HELLO)
    program = await asyncio.create_subprocess_exec("sha256sum", tmp_path / "x", stdout=asyncio.subprocess.PIPE)
    told, _ = await program.communicate()
    assert (await look(site, HELLO))["digest"] == f"sha256:{told.decode().split()[0]}"


async def test_a_mistake_has_its_place_in_the_file_as_it_was_sent(site: Site) -> None:
    files = {"main.wdl": 'version 1.0\nimport "lib/a.wdl" as a\nworkflow w {}\n', "lib/a.wdl": "version 1.0\ntask {\n"}
    first, second = (await look(site, files))["errors"]
    assert (first["file"], first["line"], first["column"]) == ("main.wdl", 2, 1)
    assert (second["file"], second["line"], second["column"]) == ("lib/a.wdl", 2, 6)


async def test_params_that_do_not_fit_are_told_beside_what_is_needed(site: Site) -> None:
    found = await look(site, READ, {"w.file": "none.txt"})
    assert messages(found) == ["input file not found: none.txt"]
    assert [needed["name"] for needed in found["inputs"]] == ["w.file"]


async def test_a_workflow_of_the_web_is_looked_at_too(site: Site, tmp_path: Path) -> None:
    (tmp_path / "main.wdl").write_text(READ)
    with serving_files(tmp_path) as url:
        assert (await look(site, {}, url=f"{url}/main.wdl"))["valid"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../../../etc/passwd", "file:///etc/passwd"])
async def test_an_import_of_a_file_of_the_host_tells_nothing_of_it(site: Site, target: str) -> None:
    found = await look(site, f'version 1.0\nimport "{target}" as a\nworkflow w {{}}\n')
    assert "is outside the attachments of the run" in " ".join(messages(found))
    assert "root:" not in repr(found)


async def test_an_import_from_this_machine_is_refused_without_a_connection(site: Site, tmp_path: Path) -> None:
    site = site.with_settings(fetching=Fetching(allow_private=False))
    found = await look(site, 'version 1.0\nimport "http://127.0.0.1:9/x.wdl" as a\nworkflow w {}\n')
    assert "not public" in " ".join(messages(found))


async def test_reading_that_takes_too_long_is_ended_by_the_kernel() -> None:
    busy = await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY)
    assert await busy.wait() == -signal.SIGXCPU


@pytest.mark.parametrize("code", [-signal.SIGXCPU, 128 + signal.SIGXCPU])
def test_a_head_that_the_kernel_ended_so_is_the_workflows_fault(code: int) -> None:
    head = QueuedTask(uuid4(), State.EXECUTOR_ERROR, "", TaskReport(steps=(StepLog(exit_code=code),)), 0)
    assert conclude(head, None) == Verdict(State.EXECUTOR_ERROR, (TOO_MUCH,))


@pytest.mark.parametrize("source", [DEEP, LONG], ids=["nested", "large"])
async def test_a_document_that_takes_too_much_is_given_up_by_a_look_and_by_a_run(
    site: Site, tes: TesDouble, source: str
) -> None:
    assert messages(await look(site, source)) == [TOO_MUCH]
    assert failed(await site.run(source), State.EXECUTOR_ERROR) == TOO_MUCH


async def test_imports_without_end_are_given_up(site: Site) -> None:
    files = {"main.wdl": FOREVER} | {
        f"{name}.wdl": FOREVER.replace("a.wdl", f"{below}.wdl")
        for name, below in zip("abcdefg", "bcdefgh", strict=True)
    }
    files["h.wdl"] = "version 1.0\ntask t { command {} }\n"
    assert messages(await look(site, files)) == [TOO_MUCH]


@pytest.mark.parametrize(("text", "most"), [("", MOST_DOCUMENTS), ("x" * (MOST_BYTES // 4), 4)])
async def test_so_many_documents_are_read_and_so_many_bytes(text: str, most: int) -> None:
    async def read(uri: str, *_: Any) -> WDL.Tree.ReadSourceResult:
        return WDL.Tree.ReadSourceResult(text, uri)

    bounded = counted(read)
    for _ in range(most):
        await bounded("a.wdl", [], None)
    with pytest.raises(TooMuch):
        await bounded("a.wdl", [], None)


async def test_more_than_can_wait_are_sent_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry, "WAITING", 1)
    runs = DryRuns(site.settings, site.root, os.environ)
    specs = [site.spec(HELLO) for _ in range(4)]
    found = await asyncio.gather(*map(runs, specs), return_exceptions=True)
    assert [type(each) for each in found].count(Unavailable) == 1


async def test_a_look_that_takes_too_long_is_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry, "WALL_S", 0.01)
    assert messages(await look(site, HELLO)) == [dry.TOO_SLOW]


async def test_a_look_that_is_given_up_leaves_no_program_that_fetches(site: Site) -> None:
    with serving_without_end() as server:
        looking = asyncio.create_task(look(site, {}, url=f"{server.url}#main.wdl"))
        assert await asyncio.to_thread(server.asked.wait, 20)
        looking.cancel()
        assert await asyncio.to_thread(server.alone.wait, 20), "somebody still listens"


GREEDY = """
from pathlib import Path
from wesgate.engines.miniwdl.head import bounds
bounds.confine(1000, 60)
def told(act):
    try: act()
    except Exception as error: print(type(error).__name__, getattr(error, "strerror", ""), flush=True)
told(lambda: bytearray(2_000_000_000))
told(lambda: Path("big").write_bytes(b"x" * 2000))
bounds.signal.setitimer(bounds.signal.ITIMER_REAL, 0.01)
while True: pass
"""


async def test_all_of_a_look_is_bounded_and_not_only_its_reading(tmp_path: Path) -> None:
    words = (sys.executable, "-c", GREEDY)
    greedy = await asyncio.create_subprocess_exec(*words, cwd=tmp_path, stdout=asyncio.subprocess.PIPE)
    told, _ = await greedy.communicate()
    assert told.decode().split("\n")[:2] == ["MemoryError ", "OSError File too large"]
    assert greedy.returncode == -signal.SIGALRM


NARROW = """
import sys
from pathlib import Path
from wesgate.engines.miniwdl.head import bounds, check
bounds.MEMORY_BYTES = 250_000_000
check.main(Path(sys.argv[1]))
"""


async def test_inputs_that_fill_the_memory_are_told_as_too_much(site: Site) -> None:
    spec = site.spec(HELLO)
    await DryRuns(site.settings, site.root, os.environ)(spec)  # leaves all that its process reads
    (Path(spec.directory) / "inputs.json").write_text('{"w.x": [' + "{}," * 4_000_000 + "{}]}")
    words = (sys.executable, "-c", NARROW, spec.directory)
    narrow = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    answer, _ = await narrow.communicate()
    assert messages(json.loads(answer)) == [TOO_MUCH]


async def test_git_has_the_bounds_of_the_look_that_starts_it(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    git = tmp_path / "bin/git"
    git.write_text(f"#!/bin/sh\necho git version 2.40\nulimit -d >{tmp_path}/d\nulimit -t >{tmp_path}/t\nexit 1\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}:/usr/bin:/bin")
    messages(await look(site, {}, url="http://127.0.0.1:9/x.git#main.wdl"))
    bounds = [int((tmp_path / name).read_text()) for name in "dt"]
    assert bounds == [MEMORY_BYTES // 1024, ALL_CPU_S]


async def test_a_look_has_the_proxy_and_the_certificates_that_a_run_has(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_proxy: None
) -> None:
    def tunnel(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with secured(connection) as inner:
            read_head(inner)
            inner.sendall(OK % (len(HELLO), HELLO.encode()))

    with serving() as proxy:
        proxy.replies = [tunnel]
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
        monkeypatch.setenv("SSL_CERT_FILE", trusted(tmp_path))
        found = await look(site.with_settings(fetching=Fetching()), {}, url="https://files.test/main.wdl")
    assert found["valid"], found
