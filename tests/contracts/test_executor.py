"""What every executor adds to the four verbs: steps, files, streams, faults, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from tests.contracts.ground import Ground, said
from tests.podman import BUSYBOX
from wesgate.core.backend import Handle
from wesgate.core.spec import Fetching, FileType, Input, Lane, Output, Resources, Step
from wesgate.core.states import State
from wesgate.worker.layout import Attempt, is_alive

# Steps and their order


async def test_steps_run_in_order_on_the_same_files(ground: Ground) -> None:
    spec = ground.task("echo one > $I/f", "cat $I/f; echo two", volumes=(ground.inside,))
    seen = await ground.run(spec)
    assert seen.state is State.COMPLETE, seen
    assert said(seen, 1) == "one\ntwo\n"


async def test_no_step_runs_after_one_that_failed(ground: Ground) -> None:
    seen = await ground.run(ground.task("exit 7", "echo no"))
    assert (seen.state, seen.detail) == (State.EXECUTOR_ERROR, seen.detail)
    assert seen.report
    assert [step.exit_code for step in seen.report.steps] == [7]


async def test_an_ignored_error_is_recorded_and_the_task_goes_on(ground: Ground) -> None:
    seen = await ground.run(ground.task(ground.sh("exit 7", ignore_error=True), "echo on"))
    assert seen.state is State.COMPLETE
    assert seen.report
    assert [step.exit_code for step in seen.report.steps] == [7, 0]


async def test_a_command_that_is_not_there_is_the_steps_own_error(ground: Ground) -> None:
    seen = await ground.run(ground.task(Step(BUSYBOX, ("no-such-program",))))
    assert seen.state is State.EXECUTOR_ERROR, seen
    assert seen.report
    assert seen.report.steps[0].exit_code == 127


async def test_exit_codes_that_clients_use_themselves_are_the_steps(ground: Ground) -> None:
    for code in (125, 126, 127):
        seen = await ground.run(ground.task(f"exit {code}"))
        assert seen.report
        assert (seen.state, seen.report.steps[0].exit_code) == (State.EXECUTOR_ERROR, code)


async def test_arguments_reach_the_program_as_they_are(ground: Ground) -> None:
    words = ("a b", "$HOME", "'\"", "*", "ünï\n", "")
    seen = await ground.run(ground.task(Step(BUSYBOX, ("printf", "[%s]", *words))))
    assert said(seen) == "".join(f"[{word}]" for word in words)


async def test_a_step_gets_its_environment_and_none_of_the_services(ground: Ground) -> None:
    env = {"PLAIN": "x", "ODD": "a'b\"$c d", "LINES": "1\n2", "CONTAINERS_CONF": "/nowhere", "LD_LIBRARY_PATH": "/x"}
    seen = await ground.run(ground.task(ground.sh('printf "%s|" "$PLAIN" "$ODD" "$LINES"; env', env=env)))
    assert said(seen).startswith("x|a'b\"$c d|1\n2|")
    assert "WESGATE_SECRET" not in said(seen)


async def test_an_environment_is_in_no_argument_list(ground: Ground) -> None:
    handle = await ground.start(ground.task(ground.sh("echo up; sleep 600", env={"TOKEN": "in-no-list"})))
    await ground.says(handle, "up")
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    await ground.executor.cancel(handle)
    assert "in-no-list" not in listed
    await ground.end(handle)


async def test_stdin_comes_from_a_file_of_an_earlier_step(ground: Ground) -> None:
    second = Step(BUSYBOX, ("cat",), stdin=f"{ground.inside}/f")
    seen = await ground.run(ground.task("echo given > $I/f", second, volumes=(ground.inside,)))
    assert said(seen, 1) == "given\n"


async def test_a_missing_stdin_is_named(ground: Ground) -> None:
    step = Step(BUSYBOX, ("cat",), stdin=f"{ground.inside}/no")
    seen = await ground.run(ground.task(step, volumes=(ground.inside,)))
    assert (seen.state, seen.detail) == (State.SYSTEM_ERROR, f"stdin {ground.inside}/no of step 0 does not exist")


# Streams


async def test_streams_are_seen_while_the_step_runs(ground: Ground) -> None:
    handle = await ground.start(ground.task("echo early; sleep 600"))
    await ground.says(handle, "early")
    assert (ground.attempt(handle) / "logs" / "0.stdout").read_text() == "early\n"
    await ground.executor.cancel(handle)
    assert said(await ground.end(handle)) == "early\n"


async def test_a_report_holds_the_end_of_a_stream_and_the_file_all_of_it(ground: Ground) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo line-$i; i=$((i+1)); done; printf '\\377\\000end' >&2"
    handle = await ground.start(ground.task(script))
    seen = await ground.end(handle)
    assert said(seen).endswith("line-2999\n")
    assert len(said(seen)) == 10_000
    assert (ground.attempt(handle) / "logs" / "0.stdout").read_text().startswith("line-0\n")
    assert seen.report
    assert seen.report.steps[0].stderr == "\ufffd\ufffdend"


async def test_declared_streams_are_files_too_even_when_empty(ground: Ground) -> None:
    step = ground.sh("echo out", stdout=f"{ground.inside}/o", stderr=f"{ground.inside}/e")
    seen = await ground.run(ground.task(step, outputs=(ground.output("o"), ground.output("e"))))
    assert seen.state is State.COMPLETE, seen
    assert ((ground.data / "o").read_text(), (ground.data / "e").read_text()) == ("out\n", "")


# Inputs


async def test_inputs_are_files_where_the_task_wants_them(ground: Ground) -> None:
    inputs = (ground.input("a/from host", "host "), Input(f"{ground.inside}/b/ünï", content="content"))
    seen = await ground.run(ground.task('cat "$I/a/from host" "$I/b/ünï"', inputs=inputs))
    assert said(seen) == "host content", seen


async def test_an_input_directory_is_seen_whole(ground: Ground) -> None:
    (ground.data / "tree" / "sub").mkdir(parents=True)
    (ground.data / "tree" / "sub" / "f").write_text("deep")
    given = Input(f"{ground.inside}/tree", (ground.data / "tree").as_uri(), type=FileType.DIRECTORY)
    assert said(await ground.run(ground.task("cat $I/tree/sub/f", inputs=(given,)))) == "deep"


async def test_inputs_cannot_be_changed(ground: Ground) -> None:
    if ground.is_plain:
        pytest.skip("without mounts nothing is read-only, as the class says")
    given = ground.input("f", "old")
    seen = await ground.run(ground.task("echo new > $I/f", inputs=(given,), volumes=(ground.inside,)))
    assert seen.state is State.EXECUTOR_ERROR
    assert (ground.data / "from-f").read_text() == "old"


async def test_an_input_can_lie_in_an_output_directory(ground: Ground) -> None:
    given = ground.input("work/_inputs/0/f", "nested")
    work = ground.directory("work")
    seen = await ground.run(ground.task("cat $I/work/_inputs/0/f > $I/work/copy", inputs=(given,), outputs=(work,)))
    assert seen.state is State.COMPLETE, seen
    assert seen.report
    assert [(output.path, output.size_bytes) for output in seen.report.outputs] == [(f"{ground.inside}/work/copy", 6)]
    place = Path(work.url.removeprefix("file://"))
    assert sorted(path.name for path in place.rglob("*")) == ["copy"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "outside the directories that this service may use"),
        ("/etc/passwd", "outside the directories that this service may use"),
        ("file://elsewhere/f", "names another host's file"),
        ("s3://bucket/f", "is in no store that is set here"),
        ("nonsense", "is in no store that is set here"),
        ("file:///a%00b", "zero byte"),
    ],
)
async def test_an_input_that_may_not_be_used_is_refused(ground: Ground, url: str, words: str) -> None:
    seen = await ground.run(ground.task("true", inputs=(Input(f"{ground.inside}/f", url),)))
    assert seen.state is State.SYSTEM_ERROR
    assert words in seen.detail


async def test_a_missing_input_is_named(ground: Ground) -> None:
    given = Input(f"{ground.inside}/f", (ground.data / "no").as_uri())
    seen = await ground.run(ground.task("true", inputs=(given,)))
    assert seen.state is State.SYSTEM_ERROR
    assert str(ground.data / "no") in seen.detail


async def test_a_link_out_of_the_roots_is_refused(ground: Ground) -> None:
    (ground.data / "link").symlink_to("/etc/passwd")
    given = Input(f"{ground.inside}/f", (ground.data / "link").as_uri())
    seen = await ground.run(ground.task("cat $I/f", inputs=(given,)))
    assert seen.state is State.SYSTEM_ERROR
    assert "outside" in seen.detail


async def test_another_owners_files_are_refused_even_under_a_root(ground: Ground) -> None:
    stranger = replace(ground, owner="stranger")
    (stranger.data / "f").write_text("private")
    given = Input(f"{ground.inside}/f", (stranger.data / "f").as_uri())
    seen = await ground.run(ground.task("cat $I/f", inputs=(given,), roots=(str(ground.root), "/")))
    assert (seen.state, seen.detail) == (
        State.SYSTEM_ERROR,
        f"input {ground.inside}/f is not available to this owner: {stranger.data / 'f'}",
    )


# Inputs from the network


class Site(BaseHTTPRequestHandler):
    """Serves what its path says: a status, or a body."""

    asked = 0

    def do_GET(self) -> None:
        kind = self.path.split("?")[0]
        Site.asked += 1
        if kind == "/flaky" and Site.asked == 1:
            self.send_error(503)
        elif kind in ("/file", "/flaky", "/secret"):
            self.reply(f"{self.path} {self.headers.get('Authorization', '-')}".encode())
        elif kind == "/big":
            self.reply(bytes(20_000_000))
        elif kind == "/silent":
            time.sleep(5)
        elif kind == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
        elif kind == "/to-file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        else:
            self.send_error(404)

    def reply(self, body: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("path", ["/file?sig=a%2Fb", "/moved", "/flaky"])
async def test_an_input_is_fetched_by_http(ground: Ground, site: str, path: str) -> None:
    Site.asked = 0
    given = Input(f"{ground.inside}/f", f"http://{site}{path}")
    seen = await ground.run(ground.task("cat $I/f", inputs=(given,)))
    assert said(seen).startswith(path.replace("/moved", "/file")), seen


async def test_credentials_in_a_url_are_used_and_not_repeated(ground: Ground, site: str) -> None:
    good = Input(f"{ground.inside}/f", f"http://me:pass@{site}/secret")
    assert "Basic bWU6cGFzcw==" in said(await ground.run(ground.task("cat $I/f", inputs=(good,))))
    seen = await ground.run(ground.task("true", inputs=(replace(good, url=f"http://me:pass@{site}/no?key=k"),)))
    assert seen.state is State.SYSTEM_ERROR
    assert seen.detail == f"input http://{site}/no could not be fetched: the server answered 404 Not Found"


async def test_a_redirect_to_a_file_is_not_followed(ground: Ground, site: str) -> None:
    given = Input(f"{ground.inside}/f", f"http://{site}/to-file")
    seen = await ground.run(ground.task("cat $I/f", inputs=(given,)))
    assert seen.state is State.SYSTEM_ERROR
    assert "could not be fetched: it redirects to file:///etc/passwd" in seen.detail


async def test_an_input_from_a_host_that_is_not_public_is_refused_by_default(ground: Ground, site: str) -> None:
    Site.asked = 0
    given = Input(f"{ground.inside}/f", f"http://me:pass@{site}/file?key=k")
    strict = replace(ground, executor=ground.make(fetching=Fetching(allow_private=False)))
    await strict.executor.start()
    seen = await strict.run(ground.task("true", inputs=(given,)))
    await strict.executor.close()
    assert seen.state is State.SYSTEM_ERROR
    assert seen.detail.startswith(f"input http://{site}/file could not be fetched: it names a host that is not public;")
    assert "WESGATE_SOURCES__ALLOW_PRIVATE" in seen.detail
    assert Site.asked == 0


async def test_a_task_whose_input_does_not_come_can_be_canceled(ground: Ground, site: str) -> None:
    Site.asked = 0
    given = Input(f"{ground.inside}/f", f"http://{site}/silent")
    handle = await ground.start(ground.task("true", inputs=(given,)))
    await ground.until(handle, lambda _: Site.asked == 1)
    await ground.executor.cancel(handle)
    seen = await ground.end(handle)
    assert (seen.state, seen.detail) == (State.CANCELED, "canceled")


async def test_a_server_that_is_not_there_is_named(ground: Ground) -> None:
    seen = await ground.run(ground.task("true", inputs=(Input(f"{ground.inside}/f", "http://127.0.0.1:9/f"),)))
    assert seen.state is State.SYSTEM_ERROR
    assert "127.0.0.1" in seen.detail
    assert "refused" in seen.detail


# Outputs


async def test_output_files_go_where_they_are_wanted(ground: Ground) -> None:
    outputs = (ground.output("a"), ground.output("sub/ü b", "deep/er/ü b"))
    seen = await ground.run(ground.task("echo a > $I/a; echo b > $I/sub/'ü b'", outputs=outputs))
    assert seen.state is State.COMPLETE, seen
    assert ((ground.data / "a").read_text(), (ground.data / "deep/er/ü b").read_text()) == ("a\n", "b\n")
    assert seen.report
    assert [output.size_bytes for output in seen.report.outputs] == [2, 2]


async def test_an_output_directory_is_filled_in_place_and_listed(ground: Ground) -> None:
    work = ground.directory("work")
    seen = await ground.run(ground.task("mkdir $I/work/s; echo x > $I/work/s/'a b'", outputs=(work,)))
    assert seen.report
    assert [(out.url, out.path) for out in seen.report.outputs] == [
        (f"{work.url}/s/a%20b", f"{ground.inside}/work/s/a b")
    ]


async def test_an_output_replaces_what_was_there(ground: Ground) -> None:
    (ground.data / "a").write_text("old")
    await ground.run(ground.task("echo new > $I/a", outputs=(ground.output("a"),)))
    assert (ground.data / "a").read_text() == "new\n"


async def test_a_missing_output_is_named_and_the_others_are_delivered(ground: Ground) -> None:
    seen = await ground.run(ground.task("echo a > $I/a", outputs=(ground.output("no"), ground.output("a"))))
    assert (seen.state, seen.detail) == (State.SYSTEM_ERROR, f"output {ground.inside}/no does not exist")
    assert (ground.data / "a").read_text() == "a\n"


async def test_outputs_are_delivered_when_a_step_failed(ground: Ground) -> None:
    seen = await ground.run(ground.task("echo a > $I/a; exit 3", outputs=(ground.output("a"), ground.output("no"))))
    assert seen.state is State.EXECUTOR_ERROR
    assert (ground.data / "a").read_text() == "a\n"


async def test_wildcards_choose_outputs(ground: Ground) -> None:
    wanted = Output(f"{ground.inside}/*/r[12].t?t", (ground.data / "all").as_uri(), path_prefix=ground.inside)
    script = "mkdir $I/x $I/y; echo 1 > $I/x/r1.txt; echo 22 > $I/y/r2.tut; echo no > $I/y/r3.txt"
    seen = await ground.run(ground.task(script, outputs=(wanted,)))
    assert seen.state is State.COMPLETE, seen
    assert sorted(str(path.relative_to(ground.data / "all")) for path in (ground.data / "all").rglob("*.*")) == [
        "x/r1.txt",
        "y/r2.tut",
    ]


@pytest.mark.parametrize("planted", ["ln -s /etc/shadow", "ln -s ../../../../../../../../../../etc/shadow", "mkfifo"])
async def test_an_output_that_is_no_file_of_the_tasks_is_refused(ground: Ground, planted: str) -> None:
    seen = await ground.run(ground.task(f"{planted} $I/a", outputs=(ground.output("a"),)))
    assert seen.state is State.EXECUTOR_ERROR, seen
    assert f"{ground.inside}/a" in seen.detail
    assert not (ground.data / "a").exists()


async def test_an_output_may_be_a_link_to_another_of_the_tasks_files(ground: Ground) -> None:
    seen = await ground.run(ground.task("echo a > $I/real; ln -s $I/real $I/a", outputs=(ground.output("a"),)))
    assert seen.state is State.COMPLETE, seen
    assert not (ground.data / "a").is_symlink()
    assert (ground.data / "a").read_text() == "a\n"


async def test_a_link_in_the_way_of_a_declared_stream_is_replaced_not_followed(ground: Ground) -> None:
    victim = ground.data / "victim"
    victim.write_text("safe")
    first = ground.sh(f"ln -s {victim} $I/o")
    second = ground.sh("echo out", stdout=f"{ground.inside}/o")
    await ground.run(ground.task(first, second, outputs=(ground.output("o"),)))
    assert (victim.read_text(), (ground.data / "o").read_text()) == ("safe", "out\n")


@pytest.mark.parametrize(
    "url", ["file:///etc/wesgate-test", "s3://bucket/f", "{own}", "{own}/wg-" + "0" * 32 + "-1/result.json"]
)
async def test_an_output_to_where_it_may_not_go_is_refused(ground: Ground, url: str) -> None:
    place = url.replace("{own}", (ground.root / ground.owner).as_uri())
    seen = await ground.run(ground.task("echo a > $I/a", outputs=(Output(f"{ground.inside}/a", place),)))
    assert seen.state is State.SYSTEM_ERROR, seen
    assert not Path("/etc/wesgate-test").exists()


async def test_the_whole_file_system_cannot_be_an_output(ground: Ground) -> None:
    seen = await ground.run(ground.task("true", outputs=(Output("/a", (ground.data / "a").as_uri()),)))
    assert seen.state is State.SYSTEM_ERROR
    assert "replace the container's whole file system" in seen.detail


# Faults


async def test_a_missing_image_is_named(ground: Ground) -> None:
    if ground.runtime != "podman":
        pytest.skip("this runtime uses no images")
    seen = await ground.run(ground.task(Step("127.0.0.1:9/no/such:image", ("true",))))
    assert seen.state is State.SYSTEM_ERROR
    assert "image 127.0.0.1:9/no/such:image is not on this machine and cannot be pulled" in seen.detail


async def test_a_step_killed_for_its_memory_says_so(ground: Ground) -> None:
    script = "tail /dev/zero" if ground.runtime == "podman" else "kill -9 $$"
    seen = await ground.run(ground.task(script, resources=Resources(ram_gb=0.064)))
    assert seen.state is State.EXECUTOR_ERROR, seen
    assert seen.report
    assert seen.report.steps[0].exit_code == 137
    assert "out of memory" in " ".join(seen.report.system_logs)


async def test_a_full_disk_is_named(ground: Ground, small_disk: Path) -> None:
    script = "dd if=/dev/zero of=$I/big bs=1024 count=20000"
    handle = await ground.start(ground.task(script, volumes=(ground.inside,)))
    seen = await ground.end(handle)
    assert seen.state is State.SYSTEM_ERROR, seen
    assert "no space left" in seen.detail
    await worker_ended(ground, handle)
    # Without a sandbox a volume is a directory of the owner's, and stays.
    Path(ground.inside, "big").unlink(missing_ok=True)
    assert (await ground.run(ground.task("true"))).state is State.COMPLETE


async def test_a_disk_filled_by_an_input_is_named(ground: Ground, small_disk: Path, site: str) -> None:
    seen = await ground.run(ground.task("true", inputs=(Input(f"{ground.inside}/f", f"http://{site}/big"),)))
    assert seen.state is State.SYSTEM_ERROR, seen
    assert "no space left" in seen.detail


@pytest.fixture
def small_disk(ground: Ground) -> Iterator[Path]:
    """A file system of 8 MB as this owner's directory."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    place = ground.root / ground.owner
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("path", ["relative", "/", "/proc/x", "/a/../..", "/a\0b"])
async def test_a_path_that_no_container_can_have_is_refused(ground: Ground, path: str) -> None:
    seen = await ground.run(ground.task("true", inputs=(Input(path, content="x"),)))
    assert seen.state is State.SYSTEM_ERROR
    assert "the worker failed" not in seen.detail


@pytest.mark.parametrize("step", [
    Step(BUSYBOX, ("printf", "a\0b")), Step(BUSYBOX, ("true",), env={"A\nB": "x"}), Step("--privileged", ("true",)),
    Step(BUSYBOX, ("true",), workdir="relative"),
])  # fmt: skip
async def test_a_hostile_step_ends_with_a_sentence(ground: Ground, step: Step) -> None:
    seen = await ground.run(ground.task(step))
    assert "the worker failed" not in seen.detail
    if step.image == BUSYBOX:
        assert seen.state in (State.SYSTEM_ERROR, State.EXECUTOR_ERROR), seen


# What is left


def marked(key: str) -> list[int]:
    """The processes of an attempt, by what is in their command lines."""
    all_of_them = psutil.process_iter(["cmdline"])
    return [each.pid for each in all_of_them if any(key in word for word in each.info["cmdline"] or [])]


async def none_left(word: str) -> None:
    """A client of a container ends a moment after its container."""
    while marked(word):
        await asyncio.sleep(0.05)


async def worker_ended(ground: Ground, handle: Handle) -> None:
    """A worker tidies up after it wrote the result."""
    async with asyncio.timeout(10):
        while is_alive(Attempt(ground.attempt(handle))):
            await asyncio.sleep(0.01)


def containers(ground: Ground, key: str) -> list[str]:
    if ground.runtime != "podman":
        return []
    listed = subprocess.run(
        ["podman", "ps", "-aq", "--filter", f"name={key}"], capture_output=True, text=True, check=True
    )
    return listed.stdout.split()


async def test_a_cancel_leaves_nothing_running(ground: Ground) -> None:
    word = f"sleep-{ground.owner}"
    handle = await ground.start(ground.task(f"sh -c 'echo up; sleep 600' {word} & sh -c 'sleep 600' {word}"))
    await ground.says(handle, "up")
    assert marked(word)
    await ground.executor.cancel(handle)
    assert (await ground.end(handle)).state is State.CANCELED
    await none_left(word)
    assert containers(ground, handle.split("/")[1]) == []


async def test_a_step_that_will_not_end_is_killed_after_the_grace(ground: Ground) -> None:
    handle = await ground.start(ground.task("trap '' TERM; echo up; while true; do sleep 1; done"))
    await ground.says(handle, "up")
    await ground.executor.cancel(handle)
    seen = await ground.end(handle)
    assert seen.state is State.CANCELED
    assert seen.report
    assert seen.report.steps[0].exit_code == 137


async def test_a_step_may_tidy_up_when_it_is_canceled(ground: Ground) -> None:
    handle = await ground.start(ground.task("trap 'echo bye; exit 4' TERM; echo up; while true; do sleep 0.1; done"))
    await ground.says(handle, "up")
    await ground.executor.cancel(handle)
    seen = await ground.end(handle)
    assert (seen.state, said(seen)) == (State.CANCELED, "up\nbye\n")


async def test_a_worker_that_was_killed_is_an_infrastructure_loss_and_leaves_nothing_after_a_cancel(
    ground: Ground,
) -> None:
    word = f"sleep-{ground.owner}"
    handle = await ground.start(ground.task(f"echo up; sh -c 'sleep 600; true' {word}"))
    await ground.says(handle, "up")
    kill_worker(ground.attempt(handle), signal.SIGKILL)
    seen = await ground.end(handle)
    assert (seen.state, seen.infrastructure) == (State.SYSTEM_ERROR, True)
    assert seen.detail.startswith("the worker ended without a result")
    await ground.executor.cancel(handle)
    await ground.executor.cancel(handle)
    await none_left(word)
    assert containers(ground, handle.split("/")[1]) == []


async def test_a_worker_stopped_by_its_machine_is_an_infrastructure_loss(ground: Ground) -> None:
    handle = await ground.start(ground.task("echo up; sleep 600"))
    await ground.says(handle, "up")
    kill_worker(ground.attempt(handle), signal.SIGTERM)
    seen = await ground.end(handle)
    assert (seen.state, seen.infrastructure) == (State.SYSTEM_ERROR, True)
    assert "SIGTERM" in seen.detail


async def test_a_shutdown_that_reaches_the_step_first_is_an_infrastructure_loss(ground: Ground) -> None:
    handle = await ground.start(ground.task("echo up; sleep 600"))
    await ground.says(handle, "up")
    worker = psutil.Process(int((ground.attempt(handle) / "worker.json").read_text().split(":")[1].strip(" }")))
    for process in [*reversed(worker.children(recursive=True)), worker]:
        with suppress(psutil.NoSuchProcess):  # it went with the one before
            process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.02)
    seen = await ground.end(handle)
    assert (seen.state, seen.infrastructure) == (State.SYSTEM_ERROR, True), seen


async def test_a_step_ends_when_the_attempts_directory_is_removed(ground: Ground) -> None:
    word = f"sleep-{ground.owner}"
    handle = await ground.start(ground.task(f"echo up; sh -c 'sleep 600; true' {word}"))
    await ground.says(handle, "up")
    shutil.rmtree(ground.attempt(handle))
    async with asyncio.timeout(20):
        while marked(word) or containers(ground, handle.split("/")[1]):
            await asyncio.sleep(0.05)
    assert await ground.executor.poll([handle]) == {}


def kill_worker(attempt: Path, number: int) -> None:
    worker = psutil.Process(int((attempt / "worker.json").read_text().split(":")[1].strip(" }")))
    worker.send_signal(number)


async def test_an_ended_attempt_keeps_only_its_records(ground: Ground) -> None:
    handle = await ground.start(ground.task("echo x > $I/a", volumes=(ground.inside,)))
    await ground.end(handle)
    await worker_ended(ground, handle)
    kept = {path.name for path in ground.attempt(handle).iterdir()}
    assert kept <= {"task.json", "lock", "worker.json", "worker.log", "started", "status.json", "step-0.json", "logs",
                    "result.json"}  # fmt: skip


async def test_a_head_runs_as_a_plain_process_of_the_host(ground: Ground) -> None:
    step = Step("", ("sh", "-c", "pwd; echo $WESGATE_KEY"), workdir=str(ground.data))
    handle = await ground.start(ground.task(step, lane=Lane.HEAD))
    seen = await ground.end(handle)
    assert said(seen) == f"{ground.data}\n{handle.split('/')[1]}\n"
