"""What every store of objects promises, whoever runs it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doubles.stores import SECRET, Ware
from wesgate.core.spec import Store
from wesgate.storage import objects
from wesgate.storage.connections import Network
from wesgate.storage.http import FetchFailed
from wesgate.storage.mux import PutFailed, Remote
from wesgate.storage.objects import Entry
from wesgate.storage.patience import Bounds, Transfer

BIG = os.urandom(1 << 20) * 20


def remote(*stores: Store) -> Remote:
    return Remote(Network(allow_private=True), stores)


def transfer(*, most: int = 1 << 30, stop: Callable[[], bool] = lambda: False, attempts: int = 2) -> Transfer:
    return Transfer(Bounds(most, 60, stop, attempts))


def fetched(ware: Ware, key: str, into: Path, under_way: Transfer | None = None) -> bytes:
    size = remote(ware.store).fetch(ware.url(key), into / "f", under_way or transfer())
    data = (into / "f").read_bytes()
    assert size == len(data)
    return data


def written(ware: Ware, key: str, data: bytes, into: Path, under_way: Transfer | None = None) -> None:
    (into / "w").write_bytes(data)
    with (into / "w").open("rb") as file:
        assert remote(ware.store).put(ware.url(key), file.fileno(), under_way or transfer()) == len(data)


def listed(ware: Ware, key: str, most: int = 1 << 30) -> list[Entry]:
    return remote(ware.store).entries(ware.url(key), transfer(most=most))


def failure(act: Callable[[], object]) -> str:
    with pytest.raises((FetchFailed, PutFailed)) as error:
        act()
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None or SECRET not in str(error.value.__cause__)
    return str(error.value)


@pytest.fixture
def folder() -> str:
    return uuid.uuid4().hex


@pytest.mark.parametrize("name", ["plain", "ünï cödé", "a b", "100%41", "q?x=1#f", "a+b&c", "d/e/f"])
def test_what_was_written_is_fetched_again(ware: Ware, folder: str, tmp_path: Path, name: str) -> None:
    from urllib.parse import quote

    key = f"{folder}/{quote(name) if ware.name == 'blob' else name}"
    written(ware, key, b"some bytes", tmp_path)
    assert fetched(ware, key, tmp_path) == b"some bytes"
    assert ware.get(f"{folder}/{name}") == b"some bytes"


def test_an_empty_file_is_one(ware: Ware, folder: str, tmp_path: Path) -> None:
    written(ware, f"{folder}/empty", b"", tmp_path)
    assert fetched(ware, f"{folder}/empty", tmp_path) == b""


def test_a_big_file_comes_and_goes_in_parts(ware: Ware, folder: str, tmp_path: Path) -> None:
    written(ware, f"{folder}/big", BIG, tmp_path)
    assert fetched(ware, f"{folder}/big", tmp_path) == BIG


def test_a_slow_store_is_asked_on_several_connections(
    ware: Ware, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ware.put(f"{folder}/big", BIG)
    for name, value in {"PROBE_S": 0.0, "SPLIT_BYTES": 1 << 20, "FAST_BYTES_S": 1 << 50}.items():
        monkeypatch.setattr(objects, name, value)
    parts: list[int] = []
    stream = objects._Object._stream

    def counted(self: objects._Object, start: int, end: int) -> object:
        parts.append(start)
        return stream(self, start, end)

    monkeypatch.setattr(objects._Object, "_stream", counted)
    assert fetched(ware, f"{folder}/big", tmp_path) == BIG
    assert len(parts) == 1 + objects.PARTS


def test_an_object_that_changes_while_it_is_read_is_not_mixed(
    ware: Ware, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ware.put(f"{folder}/big", BIG)

    def changed(_: object) -> bool:
        ware.put(f"{folder}/big", BIG[::-1])
        return True

    monkeypatch.setattr(objects._Object, "_is_slow", changed)
    assert "it was changed while it was read" in failure(lambda: fetched(ware, f"{folder}/big", tmp_path))


def test_a_second_write_replaces_the_first(ware: Ware, folder: str, tmp_path: Path) -> None:
    written(ware, f"{folder}/f", b"longer than the next", tmp_path)
    written(ware, f"{folder}/f", b"next", tmp_path)
    assert fetched(ware, f"{folder}/f", tmp_path) == b"next"


def test_a_directory_is_all_that_lies_below_it(ware: Ware, folder: str) -> None:
    for key in ("d/a", "d/sub/b c", "d/sub/ü", "dog", "other"):
        ware.put(f"{folder}/{key}", key.encode())
    assert [(one.inner, one.size) for one in listed(ware, f"{folder}/d/")] == [("a", 3), ("sub/b c", 9), ("sub/ü", 8)]


def test_an_entry_is_fetched_by_its_own_place(ware: Ware, folder: str, tmp_path: Path) -> None:
    ware.put(f"{folder}/d/100%41", b"data")
    [entry] = listed(ware, f"{folder}/d")
    assert remote(ware.store).fetch_entry(ware.url(f"{folder}/d"), entry, tmp_path / "f", transfer()) == 4


def test_an_empty_object_that_has_others_below_it_is_a_directory(ware: Ware, folder: str) -> None:
    ware.put(f"{folder}/d/sub", b"")
    ware.put(f"{folder}/d/sub/f", b"x")
    assert [one.inner for one in listed(ware, f"{folder}/d")] == ["sub/f"]


def test_a_file_that_has_others_below_it_is_refused(ware: Ware, folder: str) -> None:
    ware.put(f"{folder}/d/sub", b"not empty")
    ware.put(f"{folder}/d/sub/f", b"x")
    assert "an object that is also the directory of others" in failure(lambda: listed(ware, f"{folder}/d"))


def test_a_directory_without_files_is_not_there(ware: Ware, folder: str) -> None:
    assert "there is no object below it" in failure(lambda: listed(ware, f"{folder}/nothing"))


def test_more_objects_than_may_be_are_refused(ware: Ware, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        ware.put(f"{folder}/d/{name}", b"x")
    monkeypatch.setattr(objects, "MAX_ENTRIES", 2)
    assert "more than the 2 objects" in failure(lambda: listed(ware, f"{folder}/d"))


def test_a_name_that_no_file_can_have_is_refused(ware: Ware, folder: str) -> None:
    ware.put(f"{folder}/d/{'n' * 256}", b"x")
    assert "whose name no file can have" in failure(lambda: listed(ware, f"{folder}/d"))


def test_what_is_larger_than_allowed_is_refused(ware: Ware, folder: str, tmp_path: Path) -> None:
    ware.put(f"{folder}/d/a", b"x" * 6)
    ware.put(f"{folder}/d/b", b"x" * 6)
    assert "larger than the 5 bytes" in failure(lambda: fetched(ware, f"{folder}/d/a", tmp_path, transfer(most=5)))
    assert "larger than the 10 bytes" in failure(lambda: listed(ware, f"{folder}/d", most=10))


def test_an_object_that_is_not_there_is_named(ware: Ware, folder: str, tmp_path: Path) -> None:
    words = failure(lambda: fetched(ware, f"{folder}/no", tmp_path))
    assert ware.url(f"{folder}/no") in words
    assert "there is no such object" in words


def test_a_bucket_that_is_not_there_is_told_from_an_object(ware: Ware, tmp_path: Path) -> None:
    other = Ware(ware.name, ware.base.replace("bucket", "no-bucket"), ware.store, ware.client)
    store = Store(other.store.url.replace("bucket", "no-bucket"), other.store.options)
    other = Ware(other.name, other.base, store, other.client)
    assert "there is no such bucket" in failure(lambda: fetched(other, "f", tmp_path))
    assert "there is no such bucket" in failure(lambda: listed(other, "f"))
    assert "there is no such bucket" in failure(lambda: written(other, "f", b"x", tmp_path))


def test_credentials_that_are_refused_are_said_to_be(strict_ware: Ware, folder: str, tmp_path: Path) -> None:
    ware = strict_ware
    assert ware.wrong
    ware.put(f"{folder}/f", b"x")
    other = Ware(ware.name, ware.base, ware.wrong, ware.client)
    assert "the store refuses access (403" in failure(lambda: fetched(other, f"{folder}/f", tmp_path))
    assert "the store refuses access (403" in failure(lambda: written(other, f"{folder}/f", b"y", tmp_path))


def test_a_store_that_is_not_there_is_told_after_tries(ware: Ware, folder: str, tmp_path: Path) -> None:
    options = {**ware.store.options, "base_url" if ware.name == "gs" else "endpoint": "http://127.0.0.1:9/account"}
    other = Ware(ware.name, ware.base, Store(ware.store.url, options), ware.client)
    if ware.name != "blob":  # whose address the URL says
        assert "the store could not be reached" in failure(lambda: fetched(other, f"{folder}/f", tmp_path))


@pytest.mark.parametrize("key", ["../other", "a/../b", "a//b", "./a", "a\n", "k" * 1025])
def test_a_key_that_leads_elsewhere_is_refused_before_anything_is_asked(ware: Ware, tmp_path: Path, key: str) -> None:
    assert "its key " in failure(lambda: fetched(ware, f"f/{key}", tmp_path))
    assert "its key " in remote(ware.store).refusal(ware.url(f"f/{key}"), directory=False)


def test_a_transfer_that_is_told_to_stop_stops(ware: Ware, folder: str, tmp_path: Path) -> None:
    ware.put(f"{folder}/big", BIG)
    stopped = transfer(stop=lambda: True)
    assert "it was told to stop" in failure(lambda: fetched(ware, f"{folder}/big", tmp_path, stopped))
    stopped = transfer(stop=lambda: True)
    assert "it was told to stop" in failure(lambda: written(ware, f"{folder}/new", BIG, tmp_path, stopped))
    assert ware.keys(folder) == [f"{folder}/big"]


def test_a_machine_without_credentials_is_told_from_a_store_that_refuses() -> None:
    text = "Error performing PUT http://169.254.169.254/latest/api/token - status code: 403 Forbidden"
    assert "no credentials are set for the store" in str(objects.reason(RuntimeError(text)))


def test_an_option_that_there_is_not_is_named(ware: Ware, tmp_path: Path) -> None:
    other = Ware(ware.name, ware.base, Store(ware.store.url, {**ware.store.options, "nonsense": SECRET}), ware.client)
    assert "an option that it does not have: nonsense" in failure(lambda: fetched(other, "f", tmp_path))
