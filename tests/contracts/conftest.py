"""The executors whose promises are tested, each on ground of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.contracts.ground import Ground, Seen
from tests.podman import BUSYBOX, CONTAINERS_CONF, need_podman
from wesgate.core.backend import Executor, Observation
from wesgate.core.errors import Misconfigured
from wesgate.core.report import TaskReport
from wesgate.core.spec import Fetching, TaskSpec
from wesgate.core.states import State
from wesgate.executors.local import LocalExecutor, LocalSettings
from wesgate.testing import FakeExecutor, World

# The registry of the tests speaks http.
REGISTRIES_CONF = """
[[registry]]
location = "127.0.0.1"
insecure = true
"""

LOCAL = ("podman", "docker", "process:bubblewrap", "process:namespace", "process:plain")
"""The runtimes of the local executor that are proven here. Docker's client is the real one; behind it podman answers
Docker's API, since dockerd cannot run in every place where tests run. So what is proven of docker is our command line,
what its client does with it, and what we read from its replies; not what dockerd itself does."""

CONTAINERS = ("podman", "docker")

NOT_BEHIND_DOCKER = {
    "test_a_command_that_is_not_there_is_the_steps_own_error": "podman's service tells docker's client nothing of it"
}
"""What the API that podman serves cannot carry. Docker's client gets `unable to upgrade to tcp, received 409` and ends
with 1; from dockerd it gets the reason and ends with 127, which tests/unit/worker/test_containers.py reads."""

EXECUTORS = ("fake", *LOCAL)
"""Every executor, the fake in the same list: nothing is faked that the real ones would not do."""

Grounds = Callable[[str], Awaitable[Ground]]


@dataclass(frozen=True)
class AnyExecutor:
    """An executor of any kind; `again` gives another object for the same place, as after a restart."""

    executor: Executor
    again: Callable[[], Executor]
    inside: str = "/inside"


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a service that has a secret."""
    folder = tmp_path_factory.mktemp("containers")
    settings = {"CONTAINERS_CONF": CONTAINERS_CONF, "CONTAINERS_REGISTRIES_CONF": REGISTRIES_CONF}
    for name, text in settings.items():
        (folder / name).write_text(text)
    return {**os.environ, **{name: str(folder / name) for name in settings}, "WESGATE_SECRET": "hidden"}


@pytest.fixture(scope="session")
async def grounds(
    tmp_path_factory: pytest.TempPathFactory, short_tmp: Path, environment: dict[str, str]
) -> AsyncIterator[Grounds]:
    """The local executor with each runtime, started when it is first asked for."""
    made: dict[str, Ground] = {}
    docker: dict[str, str] = {}
    async with AsyncExitStack() as stack:

        async def ground_of(runtime: str) -> Ground:
            if runtime not in made:
                name = runtime.replace(":", "-")
                places = tmp_path_factory.mktemp(name).resolve(), short_tmp / f"wake-{name}"
                if runtime in CONTAINERS:
                    need_podman(environment, BUSYBOX)
                if runtime == "docker" and not docker:
                    docker["DOCKER_HOST"] = stack.enter_context(_docker_api(short_tmp, environment))
                made[runtime] = await stack.enter_async_context(_ground(runtime, *places, environment | docker))
            return made[runtime]

        yield ground_of


@asynccontextmanager
async def _ground(runtime: str, root: Path, wake: Path, environment: dict[str, str]) -> AsyncIterator[Ground]:
    def make(**settings: Any) -> LocalExecutor:
        failpoints = settings.pop("failpoints", "")
        wanted = LocalSettings(runtime=runtime, grace_s=2.0, fetching=Fetching(allow_private=True))
        return LocalExecutor(replace(wanted, **settings), root, wake, environment, failpoints)

    wake.mkdir(exist_ok=True)
    executor = make()
    try:
        await executor.start()
    except Misconfigured as reason:
        missing(f"a working {runtime} ({reason})")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(wake / "ear"))
        ear.setblocking(False)
        # Whoever starts them, all containers here are podman's.
        yield Ground("podman" if runtime in CONTAINERS else runtime, make, executor, root, ear)
    await executor.close()


@contextmanager
def _docker_api(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """The address of a Docker API that podman serves."""
    place = folder / "docker.sock"
    # It ends by itself if these tests are killed. What it starts leaves files where it was started.
    command = ["podman", "system", "service", "--time=900", f"unix://{place}"]
    server = subprocess.Popen(command, env=environment, cwd=folder)
    try:
        for _ in range(100):
            if place.exists():
                break
            time.sleep(0.05)
        yield f"unix://{place}"
    finally:
        # Asked to end, it would wait for the connections of what a failed test left running.
        server.kill()
        server.wait()


@pytest.fixture(params=LOCAL)
async def ground(request: pytest.FixtureRequest, grounds: Grounds) -> Ground:
    """The local executor with each runtime, for an owner who was never seen before."""
    if request.param == "docker" and request.node.originalname in NOT_BEHIND_DOCKER:
        pytest.skip(NOT_BEHIND_DOCKER[request.node.originalname])
    return replace(await grounds(request.param), owner=uuid.uuid4().hex)


@pytest.fixture
async def plain(grounds: Grounds) -> Ground:
    """Processes without a sandbox, for an owner who was never seen before."""
    return replace(await grounds("process:plain"), owner=uuid.uuid4().hex)


@pytest.fixture(params=EXECUTORS)
async def anyone(request: pytest.FixtureRequest, grounds: Grounds) -> AnyExecutor:
    if request.param == "fake":
        world = World()
        return AnyExecutor(FakeExecutor(world, scripted), lambda: FakeExecutor(world, scripted))
    ground = await grounds(request.param)
    return AnyExecutor(ground.executor, ground.make)


def scripted(spec: object) -> Seen:
    """The life of a fake job, by its command: what the real ones make of it."""
    assert isinstance(spec, TaskSpec)
    match spec.steps[0].command[0]:
        case "true":
            return Observation(State.COMPLETE, report=TaskReport())
        case "false":
            return Observation(State.EXECUTOR_ERROR, "step 0 exited with code 1", TaskReport())
        case _:
            return Observation(State.RUNNING, report=TaskReport())
