"""Whole tasks whose files are in stores of objects, and what their steps may find of the credentials."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.contracts.conftest import Grounds
from tests.contracts.ground import Ground, Seen, said
from tests.doubles import stores
from tests.doubles.stores import ACCOUNT_KEY, SECRET, Ware
from tests.doubles.web import Web, serving
from wesgate.core.spec import FileType, Input, Output, Store
from wesgate.core.states import State

RUNTIMES = ("podman", "process:bubblewrap", "process:plain")


@dataclass(frozen=True)
class Depot:
    """A store, ground whose executor has it, and a directory in it that no other test uses."""

    ground: Ground
    ware: Ware
    folder: str

    def url(self, key: str) -> str:
        return self.ware.url(f"{self.folder}/{key}")

    def put(self, key: str, data: bytes) -> str:
        return self.ware.put(f"{self.folder}/{key}", data)

    def get(self, key: str) -> bytes:
        return self.ware.get(f"{self.folder}/{key}")

    def input(self, name: str, key: str, kind: FileType = FileType.FILE) -> Input:
        return Input(f"{self.ground.inside}/{name}", self.url(key), type=kind)

    def output(self, name: str, key: str, kind: FileType = FileType.FILE, prefix: str = "") -> Output:
        return Output(f"{self.ground.inside}/{name}", self.url(key), kind, prefix)


@pytest.fixture(scope="module")
def wares(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ware]]:
    with ExitStack() as stack:
        moto = stack.enter_context(stores.moto(tmp_path_factory.mktemp("moto")))
        azurite = stack.enter_context(stores.azurite(tmp_path_factory.mktemp("azurite")))
        yield {"s3": stores.s3(moto), "az": stores.az(azurite), "blob": stores.blob(azurite)}


@pytest.fixture(params=["s3", "blob"])
def ware(request: pytest.FixtureRequest, wares: dict[str, Ware]) -> Ware:
    return wares[request.param]


@pytest.fixture(params=RUNTIMES)
async def depot(request: pytest.FixtureRequest, grounds: Grounds, ware: Ware) -> AsyncIterator[Depot]:
    ground = replace(await grounds(request.param), owner=uuid.uuid4().hex)
    executor = ground.make(stores=(ware.store,))
    await executor.start()
    yield Depot(replace(ground, executor=executor), ware, uuid.uuid4().hex)
    await executor.close()


@pytest.fixture
async def signed(grounds: Grounds, wares: dict[str, Ware]) -> Depot:
    """An executor without any store; the sandbox alone, as nothing differs between runtimes."""
    ground = replace(await grounds("process:bubblewrap"), owner=uuid.uuid4().hex)
    return Depot(ground, wares["blob"], uuid.uuid4().hex)


def outputs(seen: Seen) -> list[tuple[str, int]]:
    assert seen.report
    return [(each.url, each.size_bytes) for each in seen.report.outputs]


async def test_files_come_from_a_store_and_go_to_it(depot: Depot) -> None:
    depot.put("in", b"from the store\n")
    inputs, output = (depot.input("in", "in"),), depot.output("out/f", "out")
    seen = await depot.ground.run(
        depot.ground.task("cat $I/in; tr a-z A-Z < $I/in > $I/out/f", inputs=inputs, outputs=(output,))
    )
    assert seen.state is State.COMPLETE, seen
    assert depot.get("out") == b"FROM THE STORE\n"
    assert outputs(seen) == [(depot.url("out"), 15)]
    assert seen.report
    assert (seen.report.metadata["bytes_in"], seen.report.metadata["bytes_out"]) == ("15", "15")


async def test_directories_come_from_a_store_and_go_to_it(depot: Depot) -> None:
    for key in ("in/a", "in/sub/b c"):
        depot.put(key, key.encode())
    inputs = (depot.input("in", "in/", FileType.DIRECTORY),)
    wanted = depot.output("out", "out/", FileType.DIRECTORY)
    script = "cd $I; cat in/a 'in/sub/b c'; mkdir out/deep; echo 1 > out/x; echo 22 > out/deep/y; ln -s x out/link"
    seen = await depot.ground.run(depot.ground.task(script, inputs=inputs, outputs=(wanted,)))
    assert seen.state is State.COMPLETE, seen
    assert said(seen) == "in/ain/sub/b c"
    assert outputs(seen) == [(depot.url("out/deep/y"), 3), (depot.url("out/x"), 2)]
    assert depot.ware.keys(f"{depot.folder}/out") == [f"{depot.folder}/out/deep/y", f"{depot.folder}/out/x"]


async def test_wildcards_go_to_a_store(depot: Depot) -> None:
    wanted = depot.output("out/*.txt", "out", prefix=f"{depot.ground.inside}/out")
    script = "cd $I/out; echo 1 > a.txt; echo 2 > 'b ü.txt'; echo 3 > c.log"
    seen = await depot.ground.run(depot.ground.task(script, outputs=(wanted,)))
    assert seen.state is State.COMPLETE, seen
    assert depot.ware.keys(f"{depot.folder}/out") == [f"{depot.folder}/out/a.txt", f"{depot.folder}/out/b ü.txt"]


async def test_a_link_out_of_the_tasks_files_is_not_put_in_a_store(depot: Depot) -> None:
    if depot.ground.is_plain:
        link = f"ln -s {depot.ground.root} $I/f"
    else:
        link = "ln -s /etc/passwd $I/f"
    seen = await depot.ground.run(depot.ground.task(link, outputs=(depot.output("f", "f"),)))
    assert seen.state is State.EXECUTOR_ERROR, seen
    assert depot.ware.keys(depot.folder) == []


async def test_what_is_wrong_with_a_store_is_told_without_its_credentials(depot: Depot) -> None:
    seen = await depot.ground.run(depot.ground.task("true", inputs=(depot.input("in", "no"),)))
    assert seen.state is State.SYSTEM_ERROR
    assert seen.detail.startswith(f"input {depot.url('no')} could not be fetched: there is no such object")
    seen = await depot.ground.run(depot.ground.task("echo > $I/f", outputs=(depot.output("f", "../f"),)))
    assert f"goes to {depot.url('../f')}, which cannot be used: its key has" in seen.detail


async def test_no_step_finds_the_credentials_of_a_store(depot: Depot) -> None:
    depot.put("in", b"data")
    script = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; echo ready; sleep 600"
    handle = await depot.ground.start(depot.ground.task(script, inputs=(depot.input("in", "in"),)))
    await depot.ground.says(handle, "ready")
    kept = [path.read_bytes() for path in depot.ground.attempt(handle).rglob("*") if path.is_file()]
    await depot.ground.executor.cancel(handle)
    seen = await depot.ground.end(handle)
    assert any(b"PATH=" in data for data in kept), "the step saw an environment"
    for secret in (SECRET, ACCOUNT_KEY):
        assert secret not in str(seen)
        assert not any(secret.encode() in data for data in kept)


async def test_a_signed_blob_needs_no_store(signed: Depot, wares: dict[str, Ware]) -> None:
    # Azurite is not at Azure's address; the sandbox's executor is told of one whose URL the signature stands in.
    query = stores.signature(signed.ware.base.rpartition("/")[0], "rwl")
    options = {"endpoint": signed.ware.base.rpartition("/")[0], "account_name": stores.ACCOUNT}
    executor = signed.ground.make(stores=(replace(signed.ware.store, options=options),))
    await executor.start()
    ground = replace(signed.ground, executor=executor)
    signed.put("in/f", b"signed")
    given = Input("/inside/in", f"{signed.url('in')}?{query}", type=FileType.DIRECTORY)
    wanted = Output("/inside/out/*", f"{signed.url('out')}?{query}", path_prefix="/inside/out")
    seen = await ground.run(ground.task("cp /inside/in/f /inside/out/g", inputs=(given,), outputs=(wanted,)))
    await executor.close()
    assert seen.state is State.COMPLETE, seen
    assert signed.get("out/g") == b"signed"
    assert outputs(seen) == [(signed.url("out/g"), 6)]
    assert "sig=" not in str(seen)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/f", "https://acc.blob.core.windows.net/c/f", "s3://bucket/f"])
async def test_an_output_that_no_store_takes_is_refused_before_any_step(signed: Depot, url: str) -> None:
    with serving():
        seen = await signed.ground.run(
            signed.ground.task("echo ran; touch $I/f", outputs=(Output("/inside/f", f"{url}?secret=1"),))
        )
    assert seen.state is State.SYSTEM_ERROR
    assert f"output /inside/f goes to {url}, which" in seen.detail
    assert "secret" not in seen.detail
    assert seen.report
    assert not seen.report.steps


async def test_a_directory_of_a_web_server_is_refused(signed: Depot) -> None:
    given = Input("/inside/d", "http://127.0.0.1:9/d", type=FileType.DIRECTORY)
    seen = await signed.ground.run(signed.ground.task("true", inputs=(given,)))
    assert "which cannot be listed" in seen.detail


def hold(web: Web) -> None:
    web.ended.wait()


@pytest.mark.parametrize("writing", [False, True])
async def test_a_cancel_does_not_wait_for_a_store_that_is_silent(signed: Depot, writing: bool) -> None:
    with serving() as web:
        web.replies = [lambda _: hold(web)] * 9
        options = {"endpoint": f"http://{web.host}", "region": "r", "access_key_id": "a", "secret_access_key": "b"}
        executor = signed.ground.make(stores=(Store("s3://", options),))
        await executor.start()
        ground = replace(signed.ground, executor=executor)
        inputs = () if writing else (Input("/inside/in", "s3://bucket/in"),)
        outputs = (Output("/inside/f", "s3://bucket/f"),) if writing else ()
        handle = await ground.start(ground.task("echo > $I/f", volumes=("/inside",), inputs=inputs, outputs=outputs))
        while not web.asked:
            await asyncio.sleep(0.01)
        await executor.cancel(handle)
        began = time.monotonic()
        assert (await ground.end(handle)).state is State.CANCELED
        assert time.monotonic() - began < 5
        await executor.close()


@pytest.fixture(params=RUNTIMES)
async def ground(request: pytest.FixtureRequest, grounds: Grounds) -> Ground:
    return replace(await grounds(request.param), owner=uuid.uuid4().hex)


async def test_a_live_directory_is_written_where_it_is(ground: Ground, tmp_path: Path) -> None:
    place = tmp_path.resolve() / "jobs"
    place.mkdir()
    inside = str(place) if ground.is_plain else "/store"
    given = Input(inside, place.as_uri(), type=FileType.DIRECTORY)
    output = Output(f"{inside}/f", (ground.data / "copy").as_uri())
    spec = ground.task(
        f"echo written > {inside}/f", inputs=(given,), outputs=(output,), live=(str(tmp_path),), roots=(str(tmp_path),)
    )
    seen = await ground.run(spec)
    assert seen.state is State.COMPLETE, seen
    assert (place / "f").read_text() == "written\n"
    # Who writes there later must not change the output.
    assert not (place / "f").samefile(ground.data / "copy")


async def test_a_directory_beside_the_live_ones_is_read_only(grounds: Grounds, tmp_path: Path) -> None:
    ground = replace(await grounds("process:bubblewrap"), owner=uuid.uuid4().hex)
    for name in ("live", "live-not", "target"):
        (tmp_path / name).mkdir()
    (tmp_path / "live" / "link").symlink_to(tmp_path / "target")
    for name in ("live-not", "live/link"):
        given = Input("/d", f"file://{tmp_path}/{name}", type=FileType.DIRECTORY)
        spec = ground.task("touch /d/f", inputs=(given,), live=(str(tmp_path / "live"),), roots=(str(tmp_path),))
        seen = await ground.run(spec)
        assert seen.state is State.EXECUTOR_ERROR, seen
