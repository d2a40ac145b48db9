"""Fetching goes on where a connection broke, if the server says that the rest is of the same file, and checks what the
server says of the content."""

from __future__ import annotations

import base64
import hashlib
import io

import pytest

from tests.doubles.web import Web
from wesgate.storage.connections import Network
from wesgate.storage.http import FetchFailed, fetch
from wesgate.storage.patience import Bounds

DATA = b"0123456789"
TAG = 'ETag: "v1"'


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again without a rest."""
    monkeypatch.setattr("wesgate.storage.patience.random.uniform", lambda *_: 0.0)


def answer(data: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + data


def broken(data: bytes, *headers: str) -> bytes:
    return answer(data, *headers, length=len(DATA))


def rest(start: int, *headers: str, said: str = "") -> bytes:
    part = said or f"bytes {start}-9/10"
    return answer(DATA[start:], f"Content-Range: {part}", *headers, status="206 Partial Content")


def fetched(web: Web, attempts: int = 2, most: int = 1000) -> bytes:
    file = io.BytesIO()
    fetch(f"http://{web.host}/f", file, Bounds(most, 20, lambda: False, attempts), Network(allow_private=True))
    return file.getvalue()


def test_what_is_missing_alone_is_asked_for(web: Web) -> None:
    web.replies = [broken(b"01234", TAG), rest(5, TAG)]
    assert fetched(web) == DATA
    assert web.header("Range") == [None, "bytes=5-"]
    assert web.header("If-Range") == [None, '"v1"']


def test_a_date_that_lies_back_tells_a_file_as_well(web: Web) -> None:
    changed = "Sat, 21 Nov 2026 10:00:00 GMT"
    head = (f"Last-Modified: {changed}", "Date: Sat, 21 Nov 2026 10:00:01 GMT")
    web.replies = [broken(b"01234", *head), rest(5, *head)]
    assert fetched(web) == DATA
    assert web.header("If-Range") == [None, changed]


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ('ETag: W/"weak"',),
        ('ETag: "un\x01printable"',),
        ("ETag: bare",),
        ("Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT", "Date: Sat, 21 Nov 2026 10:00:00 GMT"),
        ("Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT",),
        ("Last-Modified: nonsense", "Date: nonsense"),
    ],
)
def test_without_a_word_on_what_the_file_is_all_of_it_comes_again(web: Web, headers: tuple[str, ...]) -> None:
    web.replies = [broken(b"01234", *headers), answer(DATA)]
    assert fetched(web) == DATA
    assert web.header("Range") == [None, None]


def test_a_file_that_changed_comes_whole(web: Web) -> None:
    web.replies = [broken(b"01234", TAG), answer(b"another", 'ETag: "v2"')]
    assert fetched(web) == b"another"


@pytest.mark.parametrize(
    "reply",
    [
        rest(5, said="bytes 4-9/10"),
        rest(5, said="bytes */10"),
        rest(5, said="nonsense"),
        answer(b"", status="416 Range Not Satisfiable"),
    ],
)
def test_another_part_than_was_asked_for_is_not_taken(web: Web, reply: bytes) -> None:
    web.replies = [broken(b"01234", TAG), reply, answer(DATA)]
    assert fetched(web, attempts=3) == DATA
    assert web.header("Range") == [None, "bytes=5-", None]


DATED = ("Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT", "Date: Sat, 21 Nov 2026 11:00:00 GMT")


@pytest.mark.parametrize(
    ("told", "now"),
    [
        ((TAG,), ('ETag: "v2"',)),
        ((TAG,), ()),
        (DATED, ("Last-Modified: Sat, 21 Nov 2026 10:30:00 GMT",)),
        (DATED, ()),
    ],
)
def test_the_rest_of_another_file_is_not_taken_from_a_server_that_knows_no_if_range(
    web: Web, told: tuple[str, ...], now: tuple[str, ...]
) -> None:
    web.replies = [broken(b"abcde", *told), rest(5, *now), answer(DATA, *now)]
    assert fetched(web, attempts=3) == DATA


def test_tries_that_get_further_are_not_counted(web: Web) -> None:
    pieces = [answer(DATA[at : at + 2], TAG, f"Content-Range: bytes {at}-9/10", status="206 P") for at in (2, 4, 6, 8)]
    web.replies = [broken(DATA[:2], TAG), *(piece.replace(b"Length: 2", b"Length: 8") for piece in pieces[:-1])]
    web.replies.append(pieces[-1])
    assert fetched(web) == DATA


def test_what_comes_in_parts_is_bounded_as_a_whole(web: Web) -> None:
    web.replies = [answer(b"01234", TAG, length=8), rest(5, TAG)]
    with pytest.raises(FetchFailed, match="larger than the 9 bytes"):
        fetched(web, most=9)


# What a server says of the content


def of(algorithm: str, data: bytes = DATA) -> str:
    return base64.b64encode(hashlib.new(algorithm, data).digest()).decode()


HEADERS = [
    ("Content-MD5: {}", "md5"),
    ("Digest: SHA-256={}", "sha256"),
    ("Digest: UNIXsum=30637, sha-512={}", "sha512"),
    ("Repr-Digest: sha-256=:{}:", "sha256"),
    ("Content-Digest: sha-512=:{}:, unixsum=:AA==:", "sha512"),
    ("x-goog-hash: crc32c=AAAAAA==,md5={}", "md5"),
]


@pytest.mark.parametrize(("header", "algorithm"), HEADERS)
def test_what_does_not_match_its_digest_is_tried_again_and_then_told(web: Web, header: str, algorithm: str) -> None:
    right, wrong = header.format(of(algorithm)), header.format(of(algorithm, b"other"))
    web.replies = [answer(DATA, wrong, TAG), answer(DATA, right, TAG)]
    assert fetched(web) == DATA
    web.replies = [answer(DATA, wrong, TAG)] * 2
    with pytest.raises(FetchFailed, match=f"does not match the server's own {header.partition(':')[0]}"):
        fetched(web)
    assert web.header("Range") == [None] * 4


@pytest.mark.parametrize(
    "header",
    [
        "Content-MD5: nonsense",
        "Content-MD5: " + base64.b64encode(b"short").decode(),
        "Repr-Digest: sha-256=:%%%:",
        "Digest: adler32=03da0195",
        "x-goog-hash: crc32c=AAAAAA==",
        "Repr-Digest: shake_128=:AAAA:, blake2b=:AAAA:",
    ],
)
def test_what_is_no_digest_that_can_be_computed_is_left_out(web: Web, header: str) -> None:
    web.replies = [answer(DATA, header)]
    assert fetched(web) == DATA


def test_the_hash_of_what_google_keeps_compressed_is_left_out(web: Web) -> None:
    web.replies = [answer(DATA, f"x-goog-hash: md5={of('md5', b'compressed')}", "x-goog-stored-content-encoding: gzip")]
    assert fetched(web) == DATA


def test_the_digest_of_the_whole_is_checked_over_all_parts(web: Web) -> None:
    head = f"Repr-Digest: sha-256=:{of('sha256')}:"
    web.replies = [broken(b"01234", TAG, head), rest(5, TAG, f"Content-MD5: {of('md5', DATA[5:])}")]
    assert fetched(web) == DATA
    web.replies = [broken(b"01x34", TAG, head), rest(5, TAG), answer(DATA, TAG, head)]
    assert fetched(web, attempts=3) == DATA
