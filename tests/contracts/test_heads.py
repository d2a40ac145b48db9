"""A head that is forked is to its worker, and to itself, what one is that was executed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.contracts.ground import Ground, Seen, said
from tests.contracts.test_executor import kill_worker
from tests.doubles import program
from wesgate.core.spec import Lane, Step, Store, TaskSpec
from wesgate.core.states import State
from wesgate.engines.miniwdl.head import main as head_of_runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="heads are forked where the kernel ties a child to us")

MODULE = program.__name__
ROOT = str(Path(__file__).parents[2])
SECRET = "c2VjcmV0IG9mIGEgc3RvcmU"


@pytest.fixture
async def forking(plain: Ground) -> AsyncIterator[Ground]:
    """Ground whose executor forks the program of these tests."""
    async for made in having(plain, heads=(MODULE,)):
        yield made


async def having(ground: Ground, **settings: Any) -> AsyncIterator[Ground]:
    executor = ground.make(**settings)
    await executor.start()
    yield replace(ground, executor=executor)
    await executor.close()


def head(ground: Ground, *arguments: str, lane: Lane = Lane.HEAD) -> TaskSpec:
    directory = ground.data / "run"
    directory.mkdir(exist_ok=True)
    command = (sys.executable, "-m", MODULE, *arguments)
    step = Step("", command, workdir=str(directory), env={"PYTHONPATH": ROOT, "LANG": "C.UTF-8"})
    return TaskSpec(ground.owner, (step,), lane=lane)


def code(seen: Seen) -> int | None:
    assert seen.report
    return seen.report.steps[0].exit_code


async def test_a_forked_head_finds_what_an_executed_one_finds(plain: Ground, forking: Ground) -> None:
    told = [json.loads(said(await ground.run(head(ground, "find", "a b", "ü")))) for ground in (plain, forking)]
    keys = [each["environment"].pop("WESGATE_KEY") for each in told]
    temporary = [[each.pop("temporary"), each["environment"].pop("HOME"), each["environment"].pop("TMPDIR")]
                 for each in told]  # fmt: skip
    assert told[0] == told[1]
    assert told[1]["arguments"] == ["find", "a b", "ü"]
    assert all(key in place for key, places in zip(keys, temporary, strict=True) for place in places)


async def test_only_heads_whose_module_is_loaded_are_forked(plain: Ground, forking: Ground) -> None:
    other = replace(head(forking), steps=(replace(head(forking).steps[0], command=(sys.executable, "-c", "print(0)")),))
    assert said(await forking.run(head(forking, "forked"))) == "True\n"
    assert said(await plain.run(head(plain, "forked"))) == "False\n"
    assert said(await forking.run(head(forking, "forked", lane=Lane.TASK))) == "False\n"
    assert said(await forking.run(other)) == "0\n"


async def test_the_head_of_runs_can_be_loaded() -> None:
    script = f"from wesgate.worker.warm import warm_up; print(*warm_up(['{head_of_runs.__name__}']))"
    loaded = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert (await loaded.communicate())[0].decode().split() == ["wesgate.engines.miniwdl.head.main"]


async def test_a_module_that_cannot_be_loaded_is_executed(plain: Ground) -> None:
    async for ground in having(plain, heads=("tests.doubles.not_there", "tests.builders")):
        assert said(await ground.run(head(ground, "forked"))) == "False\n"


@pytest.mark.parametrize(
    ("arguments", "expected", "words"),
    [(["exit", "0"], 0, ""), (["exit", "3"], 3, ""), (["complain"], 1, "this is why"), (["raise"], 1, "LookupError")],
)
async def test_a_forked_head_ends_as_python_ends(
    plain: Ground, forking: Ground, arguments: list[str], expected: int, words: str
) -> None:
    for ground in (plain, forking):
        seen = await ground.run(head(ground, *arguments))
        assert code(seen) == expected, seen
        assert seen.report
        assert words in seen.report.steps[0].stderr


async def test_a_signal_that_ends_a_forked_head_is_told(forking: Ground) -> None:
    handle = await forking.start(head(forking, "sleep"))
    await forking.says(handle, "up")
    own = (await forking.executor.poll([handle]))[handle]
    psutil.Process(int(said(own).split()[1])).send_signal(signal.SIGUSR1)
    assert code(await forking.end(handle)) == 128 + signal.SIGUSR1


async def test_a_forked_head_is_canceled_as_any_step(forking: Ground) -> None:
    handle = await forking.start(head(forking, "sleep"))
    await forking.says(handle, "up")
    await forking.executor.cancel(handle)
    seen = await forking.end(handle)
    assert (seen.state, code(seen)) == (State.CANCELED, 128 + signal.SIGTERM)


async def test_a_forked_head_dies_with_its_worker(forking: Ground) -> None:
    handle = await forking.start(head(forking, "sleep"))
    await forking.says(handle, "up")
    own = psutil.Process(int(said((await forking.executor.poll([handle]))[handle]).split()[1]))
    kill_worker(forking.attempt(handle), signal.SIGKILL)
    await asyncio.to_thread(own.wait, 10)
    assert (await forking.end(handle)).infrastructure


async def test_a_forked_head_knows_no_credentials_of_stores(plain: Ground) -> None:
    async for ground in having(plain, heads=(MODULE,), stores=(Store("s3://", {"secret_access_key": SECRET}),)):
        assert said(await ground.run(head(ground, "knows", SECRET[::-1]))) == "False\n"
        assert said(await ground.run(head(ground, "knows", program.WARMED[::-1]))) == "True\n"  # it can find words


async def test_no_two_forked_heads_draw_the_same_lots(forking: Ground) -> None:
    drawn = [said(await forking.run(head(forking, "chance"))) for _ in range(3)]
    assert len(set(drawn)) == 3


async def test_a_child_that_died_before_its_turn_is_replaced_by_a_program(plain: Ground) -> None:
    async for ground in having(plain, heads=(MODULE,), failpoints="worker-started=sleep:1500"):
        handle = await ground.start(head(ground, "forked"))
        while not (ground.attempt(handle) / "started").exists():
            await asyncio.sleep(0.01)
        worker = psutil.Process(json.loads((ground.attempt(handle) / "worker.json").read_text())["pid"])
        (child,) = worker.children()
        child.kill()
        assert said(await ground.end(handle)) == "False\n"


async def test_a_child_that_is_not_needed_ends_with_its_worker(plain: Ground) -> None:
    async for ground in having(plain, heads=(MODULE,), failpoints="worker-started=sleep:1500"):
        handle = await ground.start(head(ground, "forked"))
        while not (ground.attempt(handle) / "started").exists():
            await asyncio.sleep(0.01)
        worker = psutil.Process(json.loads((ground.attempt(handle) / "worker.json").read_text())["pid"])
        (child,) = worker.children()
        kill_worker(ground.attempt(handle), signal.SIGKILL)
        await asyncio.to_thread(child.wait, 10)
        assert not said_anything(ground.attempt(handle))


def said_anything(attempt: Path) -> bool:
    path = attempt / "logs" / "0.stdout"
    return path.exists() and bool(path.read_text())
