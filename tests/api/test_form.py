"""Forms while they arrive: what they hold, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.types import Message

from wesgate.api.bodies import room
from wesgate.api.bodies.form import read_form
from wesgate.api.bodies.spool import SPOOL_BYTES
from wesgate.api.bodies.whole import read_whole
from wesgate.core.errors import Unavailable

LIMIT = 1 << 20
SIZES = [0, 1, SPOOL_BYTES + 1, 0, 3 * SPOOL_BYTES, 7]


def part(told: str, content: bytes) -> bytes:
    return f"--b\r\nContent-Disposition: form-data; {told}\r\n\r\n".encode() + content + b"\r\n"


def attached(contents: list[bytes]) -> bytes:
    named = enumerate(contents)
    return b"".join(part(f'name="workflow_attachment"; filename="{n}"', content) for n, content in named) + b"--b--\r\n"


def sent(body: bytes, piece: int = 65536, then: Callable[[], None] = lambda: None) -> Request:
    """A request of this body; it never ends if `then` says so once all was taken."""
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)]

    async def receive() -> Message:
        if not pieces:
            then()
            await asyncio.Event().wait()
        content = pieces.pop(0)
        return {"type": "http.request", "body": content, "more_body": bool(pieces) or not body.endswith(b"--b--\r\n")}

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@pytest.mark.parametrize("piece", [1000, 65536, 1 << 20])
async def test_attachments_are_what_was_sent_however_it_comes(piece: int) -> None:
    contents = [bytes([number]) * size for number, size in enumerate(SIZES)]
    async with read_form(sent(attached(contents), piece), LIMIT) as form:
        files = [one.file for one in form.attachments]
        assert [file.read() for file in reversed(files)] == contents[::-1]
        assert [file.seek(0, 2) for file in files] == SIZES
        assert files[4].seek(-3, 1) == SIZES[4] - 3
        assert (files[4].read(2), files[4].read(), files[4].read()) == (b"\4\4", b"\4", b"")


async def test_many_attachments_take_one_descriptor() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    async with read_form(sent(attached([b"x" * 20_000] * 500)), LIMIT) as form:
        assert len(form.attachments) == 500
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


async def under_way(body: bytes) -> asyncio.Task[None]:
    """A form of which nothing more comes."""
    all_there = asyncio.Event()

    async def read() -> None:
        async with read_form(sent(body, then=all_there.set), LIMIT):
            raise AssertionError

    task = asyncio.create_task(read())
    await all_there.wait()
    return task


async def test_a_form_waits_its_turn_while_others_hold_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ROOM_BYTES", 400_000)
    slow = await under_way(part('name="tags"', b"x" * 300_000))
    with pytest.raises(Unavailable, match="try again"):
        async with read_form(sent(part('name="tags"', b"x" * 100_000) + b"--b--\r\n"), LIMIT):
            pass
    with pytest.raises(Unavailable, match="try again"):
        await read_whole(sent(b"x" * 150_000), LIMIT, "")
    assert await read_whole(sent(b"--b--\r\n"), LIMIT, "")
    slow.cancel()
    await asyncio.wait([slow])
    async with read_form(sent(part('name="tags"', b"x" * 600_000) + b"--b--\r\n"), LIMIT) as alone:
        assert len(alone.fields["tags"]) == 600_000


async def test_names_of_attachments_are_utf_8_where_the_request_says_ascii() -> None:
    request = sent(part('name="workflow_attachment"; filename="流れ.wdl"', b"") + b"--b--\r\n")
    request.scope["headers"] = [(b"content-type", b"multipart/form-data; charset=us-ascii; boundary=b")]
    async with read_form(request, LIMIT) as form:
        assert [one.filename for one in form.attachments] == ["流れ.wdl"]


@pytest.mark.parametrize("told", ['name="tags"', 'name="workflow_attachment"; filename="a"'])
async def test_a_type_may_have_any_letters(told: str) -> None:
    request = sent(part(f"{told}\r\nContent-Type: 流れ; é=ü", b"x") + b"--b--\r\n")
    async with read_form(request, LIMIT) as form:
        assert form.fields == {"tags": "x"} or form.attachments


async def test_an_extended_name_is_not_looked_at() -> None:
    told = 'name="workflow_attachment"; filename="a.wdl"; filename*=UTF-8\'\'b.wdl'
    async with read_form(sent(part(told, b"") + b"--b--\r\n"), LIMIT) as form:
        assert [one.filename for one in form.attachments] == ["a.wdl"]
