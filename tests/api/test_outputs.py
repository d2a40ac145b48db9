"""The output files of runs: told, sent in part and whole, and nobody else's."""

from __future__ import annotations

import asyncio
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import WES
from tests.api.served import serving
from tests.builders import a_run, an_attempt, become
from wesgate.api.dependencies import Context
from wesgate.api.wes import outputs, outputs_listing
from wesgate.api.wes.outputs import zipped
from wesgate.app import create_app
from wesgate.core.codec import storable
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind, Store
from wesgate.db.session import Database
from wesgate.identity.callers import Callers


@pytest.fixture
async def run(database: Database, caller: Caller) -> str:
    """A run that succeeded."""
    run_id = await a_run(database, caller, directory="o/run-1")
    await become(database, Kind.RUN, run_id, "COMPLETE")
    return str(run_id)


@pytest.fixture
def kept(files: Path, run: str) -> Path:
    """Its outputs: two files, and an input that was passed through."""
    folder = files / "o/run-1/outputs"
    told = [{"name": "w.in", "type": "FILE", "url": "file:///data/ref"}]
    for path, text in {"one/a b.txt": "0123456789", os.fsdecode(b"d/\xff"): "y"}.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(text)
        told.append({"name": "w.x", "path": path, "type": "FILE", "size_bytes": len(text), "digest": "sha256:00"})  # type: ignore[dict-item]
    (folder.parent / "outputs.json").write_text(json.dumps(told))
    return folder


async def test_each_output_is_told_with_where_to_get_it(client: httpx.AsyncClient, run: str, kept: Path) -> None:
    told = (await client.get(f"{WES}/runs/{run}/outputs")).json()["outputs"]
    assert told[0] == {"name": "w.in", "type": "FILE", "url": "file:///data/ref"}
    url = f"http://127.0.0.1:8080{WES}/runs/{run}/outputs/one/a%20b.txt"
    assert told[1] == {
        "name": "w.x", "path": "one/a b.txt", "type": "FILE", "size_bytes": 10, "digest": "sha256:00", "url": url,
    }  # fmt: skip
    assert [(await client.get(one["url"])).text for one in told[1:]] == ["0123456789", "y"]


async def test_a_file_is_sent_inert_to_be_saved(client: httpx.AsyncClient, run: str, kept: Path) -> None:
    sent = await client.get(f"{WES}/runs/{run}/outputs/one/a%20b.txt")
    assert (sent.status_code, sent.text) == (200, "0123456789")
    assert sent.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20b.txt"
    assert sent.headers["content-type"] == "application/octet-stream"
    assert sent.headers["x-content-type-options"] == "nosniff"
    assert sent.headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize(
    ("asked", "status", "text"), [("bytes=2-4", 206, "234"), ("bytes=-3", 206, "789"), ("bytes=10-", 416, "")]
)
async def test_a_part_is_sent(
    client: httpx.AsyncClient, run: str, kept: Path, asked: str, status: int, text: str
) -> None:
    sent = await client.get(f"{WES}/runs/{run}/outputs/one/a%20b.txt", headers={"Range": asked})
    assert (sent.status_code, sent.text) == (status, text)


async def test_a_part_of_a_file_that_changed_is_the_whole(client: httpx.AsyncClient, run: str, kept: Path) -> None:
    url = f"{WES}/runs/{run}/outputs/one/a%20b.txt"
    tag = (await client.get(url)).headers["etag"]
    asked = {"Range": "bytes=8-", "If-Range": tag}
    assert (await client.get(url, headers=asked)).text == "89"
    (kept / "one/a b.txt").write_text("other")
    assert (await client.get(url, headers=asked)).text == "other"


@pytest.mark.parametrize(
    "path",
    ["../outputs.json", "..%2foutputs.json", "%2e%2e/token", "one/..%2f..%2ftoken", "one", "one/", "", "link",
     "links/x", "pipe", "none", "one/%00", "%2fetc%2fpasswd", "one//a%20b.txt"],
)  # fmt: skip
async def test_what_is_no_output_file_is_not_there(client: httpx.AsyncClient, run: str, kept: Path, path: str) -> None:
    (kept.parent / "token").write_text("secret")
    (kept / "link").symlink_to(kept.parent / "token")
    (kept.parent / "x").write_text("secret")
    (kept / "links").symlink_to(kept.parent)
    os.mkfifo(kept / "pipe")
    url = httpx.URL("http://127.0.0.1:8080").copy_with(raw_path=f"{WES}/runs/{run}/outputs/{path}".encode())
    sent = await client.get(url)
    assert sent.status_code == 404
    assert "secret" not in sent.text


async def test_all_are_sent_as_a_zip(client: httpx.AsyncClient, run: str, kept: Path) -> None:
    sent = await client.get(f"{WES}/runs/{run}/outputs.zip")
    assert sent.headers["content-disposition"] == f'attachment; filename="{run}.zip"'
    archive = zipfile.ZipFile(io.BytesIO(sent.content))
    assert archive.testzip() is None
    assert {name: archive.read(name) for name in archive.namelist()} == {"one/a b.txt": b"0123456789", "d/\ufffd": b"y"}


async def listed(client: httpx.AsyncClient, run: str, size: int) -> tuple[list[str], list[int]]:
    """The paths of all pages, and how many each page has."""
    paths, sizes, token = list[str](), list[int](), ""
    while token or not sizes:
        told = (await client.get(f"{WES}/runs/{run}/outputs?page_size={size}&page_token={token}")).json()
        paths += [one["path"] for one in told["outputs"]]
        sizes.append(len(told["outputs"]))
        token = told.get("next_page_token", "")
    return paths, sizes


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(0, 5, [0]), (5, 5, [5]), (11, 5, [5, 5, 1]), (2500, 1000, [1000, 1000, 500])]
)
async def test_outputs_are_told_in_pages(
    client: httpx.AsyncClient,
    run: str,
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    size: int,
    sizes: list[int],
) -> None:
    monkeypatch.setattr(outputs_listing, "PIECE_BYTES", 4099)
    paths = [f"o/{n}-\u00e4-{os.fsdecode(bytes([200 + n % 50]))}" for n in range(count)]
    (kept.parent / "outputs.json").write_text(json.dumps([{"name": "w.x", "path": path} for path in paths]))
    assert await listed(client, run, size) == ([storable(path) for path in paths], sizes)


async def test_what_ordinary_runs_have_is_told_at_once(client: httpx.AsyncClient, run: str, kept: Path) -> None:
    entry = {"name": "w.x", "path": "x" * 60, "type": "FILE", "size_bytes": 1, "digest": f"sha256:{0:064}"}
    for count, more in ((10_000, False), (10_001, True)):
        (kept.parent / "outputs.json").write_text(json.dumps([entry] * count))
        told = (await client.get(f"{WES}/runs/{run}/outputs")).json()
        assert (len(told["outputs"]), "next_page_token" in told) == (10_000, more)


async def test_a_place_in_another_runs_listing_is_refused(
    client: httpx.AsyncClient, database: Database, caller: Caller, run: str, kept: Path
) -> None:
    another = await a_run(database, caller, directory="o/run-1")
    await become(database, Kind.RUN, another, "COMPLETE")
    token = (await client.get(f"{WES}/runs/{another}/outputs?page_size=1")).json()["next_page_token"]
    answer = await client.get(f"{WES}/runs/{run}/outputs?page_token={token}")
    assert (answer.status_code, answer.json()["msg"]) == (400, "page_token is not one of this list")


async def test_others_are_served_while_a_listing_is_read(
    client: httpx.AsyncClient, run: str, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, answers = asyncio.get_running_loop(), list[httpx.Response]()

    def shown(one: dict[str, Any], base: str) -> dict[str, Any]:
        answers.append(asyncio.run_coroutine_threadsafe(client.get("/healthz"), loop).result(10))
        return {}

    monkeypatch.setattr(outputs, "_shown", shown)
    assert len((await client.get(f"{WES}/runs/{run}/outputs")).json()["outputs"]) == 3
    assert [answer.status_code for answer in answers] == [200] * 3


async def test_a_listing_of_any_size_is_told_in_pages_though_it_is_too_long_for_a_zip(
    client: httpx.AsyncClient, run: str, kept: Path
) -> None:
    entry = json.dumps({"name": "w.x", "path": "x" * 60, "type": "FILE", "size_bytes": 1, "digest": f"sha256:{0:064}"})
    with (kept.parent / "outputs.json").open("w") as file:
        file.write(f"[{entry}")
        for _ in range(340):
            file.write(f", {entry}" * 1000)
        file.write("]")
    assert (kept.parent / "outputs.json").stat().st_size > 64 << 20
    told = (await client.get(f"{WES}/runs/{run}/outputs?page_size=3")).json()
    assert (len(told["outputs"]), "next_page_token" in told) == (3, True)
    zip = await client.get(f"{WES}/runs/{run}/outputs.zip")
    assert (zip.status_code, "too many output files for one zip" in zip.json()["msg"]) == (400, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "{}",
        "[{}",
        "[{},",
        "[1]",
        '[{"path": 1}]',
        "[{}] x",
        "\xff",
        "[" * 9999,
        '{"a":' * 9999,
        '[{"size_bytes": ' + "9" * 5000 + "}]",
    ],
)
async def test_a_listing_that_something_else_wrote_is_told_of(
    client: httpx.AsyncClient, run: str, kept: Path, text: str
) -> None:
    (kept.parent / "outputs.json").write_text(text)
    told = await client.get(f"{WES}/runs/{run}/outputs")
    assert (told.status_code, "is damaged" in told.json()["msg"]) == (404, True)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
async def test_a_listing_that_is_no_file_is_told_of(
    client: httpx.AsyncClient, run: str, kept: Path, make: Callable[[Path], None]
) -> None:
    (kept.parent / "outputs.json").unlink()
    make(kept.parent / "outputs.json")
    for path in ("outputs", "outputs.zip"):
        told = await client.get(f"{WES}/runs/{run}/{path}")
        assert (told.status_code, "is damaged" in told.json()["msg"]) == (404, True)


def test_a_zip_is_made_in_pieces_of_bounded_size(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(50 << 20)
    (tmp_path / "old").write_text("x")
    os.utime(tmp_path / "old", (0, 0))  # a zip knows no 1970
    sizes = [len(piece) for piece in zipped(tmp_path, ["big", "old"])]
    assert max(sizes) < 2 << 20
    assert sum(sizes) > 50 << 20


def test_small_files_of_a_zip_are_sent_together(tmp_path: Path) -> None:
    for name in range(300):
        (tmp_path / str(name)).write_bytes(b"x" * 10_000)
    assert [len(piece) >> 20 for piece in zipped(tmp_path, map(str, range(300)))] == [1, 1, 0]


@pytest.mark.parametrize(
    ("moment", "shown"), [(-1, 1980), (1 << 30, 2004), (4354819200, 2107), (7258118400, 2107)]
)  # a zip knows no time after 2107 either
def test_a_file_of_any_time_can_be_in_a_zip(tmp_path: Path, moment: int, shown: int) -> None:
    (tmp_path / "file").write_text("x")
    os.utime(tmp_path / "file", (moment, moment))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(zipped(tmp_path, ["file"]))))
    assert archive.getinfo("file").date_time[0] == shown


def test_a_zip_of_ten_thousand_files_is_whole(tmp_path: Path) -> None:
    names = [f"f{n}" for n in range(10_000)]
    for name in names:
        (tmp_path / name).write_text(name)
    archive = zipfile.ZipFile(io.BytesIO(b"".join(zipped(tmp_path, names))))
    assert archive.namelist() == names
    assert archive.read("f9999") == b"f9999"


async def test_a_zip_whose_file_is_gone_is_cut_off_with_a_line_in_the_log(
    context: Context, run: str, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (kept / "one/a b.txt").unlink()
    async with serving(context) as url, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"{url}{WES}/runs/{run}/outputs.zip")
    told = [record for record in caplog.records if record.levelname != "INFO"]
    assert (told[0].getMessage(), vars(told[0])["run"]) == ("outputs.cut", run)
    assert not any(record.exc_info for record in told)


PATHS = ["service-info", "runs", "runs/{run}", "runs/{run}/outputs", "runs/{run}/outputs/one/a%20b.txt",
         "runs/{run}/logs/stderr?tail=2", "runs/{run}/events", "runs/{run}/outputs.zip"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_answered_as_get_without_its_body(
    context: Context, database: Database, files: Path, run: str, kept: Path, path: str
) -> None:
    (files / "stderr").write_text("a\nb\nc\n")
    await an_attempt(database, Kind.RUN, run, {"stderr": "stderr"})
    async with serving(context) as url, httpx.AsyncClient(base_url=url) as client:
        whole, head = [
            await client.request(method, f"{WES}/{path.format(run=run)}") for method in ("GET", "HEAD")
        ]  # over one connection, which a body would upset
    kept_names = {"content-length", "content-type", "content-disposition", "accept-ranges", "etag", "cache-control"}
    said, wanted = [{name: sent.headers[name] for name in kept_names & sent.headers.keys()} for sent in (head, whole)]
    assert (head.status_code, head.content, said) == (200, b"", wanted)
    assert bool(head.headers.get("content-length")) == (not path.endswith(("zip", "events")))


async def test_head_says_how_long_all_of_a_file_is(client: httpx.AsyncClient, run: str, kept: Path) -> None:
    head = await client.head(f"{WES}/runs/{run}/outputs/one/a%20b.txt", headers={"Range": "bytes=2-4"})
    assert (head.status_code, head.headers["content-length"]) == (200, "10")


async def test_head_begins_no_work(
    client: httpx.AsyncClient, run: str, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = list[str]()
    monkeypatch.setattr(outputs, "open_output", lambda _, path: opened.append(path))
    assert (await client.head(f"{WES}/runs/{run}/outputs.zip")).status_code == 200
    assert not opened


async def test_head_is_for_what_can_be_got(context: Context, client: httpx.AsyncClient, run: str) -> None:
    assert (await client.head(f"{WES}/runs/{run}/cancel")).status_code == 405
    assert (await client.head(f"{WES}/runs/{run}/outputs.zip")).status_code == 404
    assert not any("head" in methods for methods in create_app(context).openapi()["paths"].values())


@pytest.mark.parametrize("path", ["outputs", "outputs.zip", "outputs/one/a%20b.txt"])
@pytest.mark.parametrize("state", ["QUEUED", "SYSTEM_ERROR"])
async def test_a_run_that_has_not_succeeded_has_none_though_files_are_there(
    client: httpx.AsyncClient, database: Database, caller: Caller, kept: Path, path: str, state: str
) -> None:
    run_id = await a_run(database, caller, directory="o/run-1")
    await become(database, Kind.RUN, run_id, state)
    sent = await client.get(f"{WES}/runs/{run_id}/{path}")
    why = f"this run is {state}: only one that is COMPLETE has outputs"
    assert (sent.status_code, sent.json()["msg"]) == (404, why)


@pytest.mark.parametrize("path", ["outputs", "outputs.zip", "outputs/one/a%20b.txt"])
async def test_files_that_were_removed_are_told_of(client: httpx.AsyncClient, run: str, path: str) -> None:
    sent = await client.get(f"{WES}/runs/{run}/{path}")
    assert sent.status_code == 404
    assert "were removed" in sent.json()["msg"]


async def test_a_strangers_outputs_are_as_those_of_no_run(
    context: Context, stranger: Caller, run: str, kept: Path
) -> None:
    theirs = replace(context, callers=Callers(context.database, stranger.owner))
    transport = httpx.ASGITransport(create_app(theirs))
    nobody = "00000000-0000-0000-0000-000000000000"
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as other:
        for path in ("outputs", "outputs.zip", "outputs/one/a%20b.txt"):
            mine, none = [await other.get(f"{WES}/runs/{id}/{path}") for id in (run, nobody)]
            assert (mine.status_code, mine.content) == (404, none.content)


async def submit(client: httpx.AsyncClient, output_to: str) -> httpx.Response:
    request = {"workflow_type": "WDL", "workflow_type_version": "1.0", "workflow_url": "https://93.184.215.14/main.wdl",
               "workflow_engine_parameters": {"output_to": output_to}}  # fmt: skip
    return await client.post(f"{WES}/runs", json=request)


@pytest.mark.parametrize(
    "url",
    ["s3://bucket/out", "file:///etc/out", "https://example.org/out", "relative/out", "file:relative", "/etc/out",
     "file://{own}/cache/x", "{own}/run-1/outputs", "file://{own}/x/../wg-1/files", "file://{own}/%63ache",
     "file://{own}/..", "file://[/x"],
)  # fmt: skip
async def test_a_place_that_outputs_cannot_go_to_is_refused_at_once(
    client: httpx.AsyncClient, caller: Caller, files: Path, url: str
) -> None:
    sent = await submit(client, url.format(own=files / caller.owner.directory))
    assert sent.status_code == 400
    assert "output_to" in sent.json()["msg"]


@pytest.mark.parametrize("url", ["file://{own}/mine", "{own}", "{shared}/out/", "s3://known/out"])
async def test_a_place_of_the_callers_or_the_sites_is_taken(
    context: Context, caller: Caller, files: Path, url: str
) -> None:
    app = create_app(replace(context, stores=[Store("s3://known/")]))
    place = url.format(own=files / caller.owner.directory, shared=context.roots[0])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080") as client:
        sent = await submit(client, place)
    assert sent.status_code == 200, sent.text
