"""An image's own entry point and user: both are honored, and what such a user writes is the service's to deliver and
to remove."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contracts.conftest import CONTAINERS
from tests.contracts.ground import Ground, said
from tests.contracts.test_executor import worker_ended
from tests.podman import BUSYBOX
from wesgate.core.spec import Input, Output, Policy, Step
from wesgate.core.states import State

pytestmark = pytest.mark.parametrize("ground", CONTAINERS, indirect=True)

Made = Callable[..., str]


@pytest.fixture
def image(ground: Ground, environment: dict[str, str], tmp_path: Path) -> Iterator[Made]:
    """Makes images from the one of the tests, with changes to their configuration."""
    made: list[str] = []

    def call(*args: str) -> None:
        subprocess.run(["podman", *args], check=True, capture_output=True, env=environment)

    def make(*changes: str) -> str:
        name = f"localhost/wesgate-test/changed:{uuid.uuid4().hex}"
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        (folder / "passwd").write_text("root:x:0:0::/:/bin/sh\npolly:x:4321:4321::/:/bin/sh\n")
        lines = [f"FROM {BUSYBOX}", "COPY passwd /etc/passwd", *changes]
        (folder / "Containerfile").write_text("\n".join(lines) + "\n")
        call("build", "--quiet", "--isolation=chroot", "--tag", name, str(folder))
        made.append(name)
        return name

    yield make
    call("rmi", "--force", "--ignore", *made)


# Entry points


async def test_the_entry_point_of_an_image_gets_the_command_as_its_arguments(ground: Ground, image: Made) -> None:
    name = image('ENTRYPOINT ["/bin/echo", "entered"]', 'CMD ["not", "this"]')
    seen = await ground.run(ground.task(Step(name, ("a b", "c"))))
    assert (seen.state, said(seen)) == (State.COMPLETE, "entered a b c\n"), seen


async def test_a_task_may_leave_the_entry_point_out(ground: Ground, image: Made) -> None:
    name = image('ENTRYPOINT ["/bin/echo", "entered"]')
    seen = await ground.run(ground.task(Step(name, ("echo", "bare")), policy=Policy(image_entrypoint=False)))
    assert (seen.state, said(seen)) == (State.COMPLETE, "bare\n"), seen


# Users


@pytest.mark.parametrize("user", ["4321", "4321:4321", "polly"])
async def test_a_step_runs_as_the_user_of_its_image(ground: Ground, image: Made, user: str) -> None:
    seen = await ground.run(ground.task(ground.sh("id -u; id -g", image=image(f"USER {user}"))))
    assert (seen.state, said(seen)) == (State.COMPLETE, "4321\n4321\n"), seen


@pytest.mark.parametrize("user", ["root", "0", "0:0"])
async def test_a_step_of_root_writes_as_the_service(ground: Ground, image: Made, user: str) -> None:
    step = ground.sh("id -u; echo a > $I/a", image=image(f"USER {user}"))
    seen = await ground.run(ground.task(step, outputs=(ground.output("a"),)))
    assert said(seen) == "0\n", seen
    assert (ground.data / "a").stat().st_uid == ground.root.stat().st_uid


async def test_what_another_user_writes_is_delivered_and_nothing_is_left(ground: Ground, image: Made) -> None:
    script = "umask 077; echo a > $I/deep/er/a; mkdir $I/work/s; echo b > $I/work/s/b; echo t > $I/vol/t; cat $I/given"
    inside = ground.inside
    step = ground.sh(script, image=image("USER 4321"), stdout=f"{inside}/out/o", workdir=f"{inside}/work")
    outputs = (ground.output("deep/er/a", "a"), ground.output("out/o", "o"), ground.directory("work"))
    given = (Input(f"{inside}/given", content="given"),)
    handle = await ground.start(ground.task(step, inputs=given, outputs=outputs, volumes=(f"{inside}/vol",)))
    seen = await ground.end(handle)
    assert seen.state is State.COMPLETE, seen
    places = (ground.data / "a", ground.data / "work" / "s" / "b", ground.data / "o")
    assert [place.read_text() for place in places] == ["a\n", "b\n", "given"]
    await worker_ended(ground, handle)
    assert not list((ground.attempt(handle) / "files").rglob("*"))


async def test_a_directory_inside_one_for_writing_is_open_to_another_user(ground: Ground, image: Made) -> None:
    work = ground.directory("work")
    inner = Output(f"{ground.inside}/work/in/a", (ground.data / "a").as_uri())
    step = ground.sh("echo a > $I/work/in/a", image=image("USER 4321"))
    seen = await ground.run(ground.task(step, outputs=(work, inner)))
    assert seen.state is State.COMPLETE, seen
